"""How inputs of stages are named: by their values, settings that have their first default left out.

`first_defaults.json` tells the first default that each field of a frozen value had. A field with that value is left out
of names, so that a new field names nothing anew; a default that was changed is another value than the first, so it is
named. Entries are added, and never changed: what they leave out of a name, they leave out for good. A field that is not
in the file yet counts as if its default now were there. `python -m tasks.provenance.ledger` adds
what lacks; the tests demand it.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ebr_core.frozen import Frozen

FROZEN = (Frozen.__module__, Frozen.__qualname__)
LEDGER = Path(__file__).parent / "first_defaults.json"


def plain(value: Any) -> Any:
    """The value as JSON can say it, first defaults left out. Raises TypeError for what has no such form."""
    if hasattr(value, "named_by"):  # where more is said than goes into what is made
        return plain(value.named_by())
    if isinstance(value, BaseModel):
        shown = {name: plain(getattr(value, name)) for name in type(value).model_fields}
        firsts = _firsts(type(value))
        kept = {name: part for name, part in shown.items() if firsts.get(name) != _text(part)}
        return {"is": type(value).__name__, **kept}
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"an artifact cannot be named by a {type(value).__name__}: {value!r}")


def _text(part: Any) -> str:
    return json.dumps(part, sort_keys=True)  # 1, 1.0 and true are equal as values, and differ as texts


@functools.cache
def first_defaults() -> dict[str, Any]:
    """The ledger: "Class.field" → its first default, plain."""
    ledger: dict[str, Any] = json.loads(LEDGER.read_text(encoding="utf-8"))
    return ledger


@functools.cache
def _firsts(model: type[BaseModel]) -> dict[str, str]:
    """The first default of each field that has one, as text."""
    ledger, now = first_defaults(), defaults_of(model)
    keys = {name: f"{model.__name__}.{name}" for name in model.model_fields}
    firsts = {name: ledger[key] for name, key in keys.items() if key in ledger}
    return {name: _text(first) for name, first in (now | firsts).items()}


def defaults_of(model: type[BaseModel]) -> dict[str, Any]:
    """The defaults of its fields now, plain."""
    given = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    return {name: plain(value) for name, value in given.items() if value is not PydanticUndefined}


def changed_defaults(
    classes: Collection[tuple[str, str]], made: Collection[tuple[str, str]], words: Collection[str]
) -> dict[str, Any]:
    """Defaults that code may take although no input says so: "Class.field" → the default, plain.

    Of classes that the code may make values of: those that are not the first. Of all that it uses: those of fields that
    the ledger does not know yet, where their name is among the words of the code.
    """
    told: dict[str, Any] = {}
    for module, name in {*classes, *made}:
        model = getattr(importlib.import_module(module), name)
        for field, default in defaults_of(model).items():
            key = f"{name}.{field}"
            known = key in first_defaults()
            if (known and (module, name) in made and _text(default) != _text(first_defaults()[key])) or (
                not known and field in words
            ):
                told[key] = default
    return told
