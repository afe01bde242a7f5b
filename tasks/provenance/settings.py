"""Inputs of stages as plain JSON values, from which artifacts are named; settings at their first default are left out.

`first_defaults.json` holds the first default of each field of a frozen value. A field with that value is left out of
names, so that a new field changes no name. A changed default differs from the first, so it is in the name. Entries are
added and never changed: a value that an entry leaves out of names is left out for good. A field that is not in the file
yet counts as if its current default were in it. `python -m tasks.provenance.ledger` adds the missing entries; the tests
require them.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from ebr_core.frozen import Frozen

FROZEN = (Frozen.__module__, Frozen.__qualname__)
LEDGER = Path(__file__).parent / "first_defaults.json"


def plain(value: Any) -> Any:
    """The value as JSON, first defaults left out. Raises TypeError for a value without such a form."""
    if hasattr(value, "identity_settings"):  # a value with fields that do not affect the artifact
        return plain(value.identity_settings())
    if isinstance(value, BaseModel):
        parts = {name: plain(_as_typed(type(value), name, getattr(value, name))) for name in type(value).model_fields}
        firsts = _firsts(type(value))
        named = {name: part for name, part in parts.items() if firsts.get(name) != _text(part)}
        if hasattr(value, "content_identity"):  # what lies at a path counts, and not the path
            named |= plain(value.content_identity())
        return {"is": type(value).__name__, **named}
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"an artifact cannot be named by a {type(value).__name__}: {value!r}")


def _as_typed(model: type[BaseModel], field: str, value: Any) -> Any:
    """The value as the type of its field has it: a default of 0 is the 0.0 that a file would give a number field."""
    return _type_of(model, field).validate_python(value)


@functools.cache
def _type_of(model: type[BaseModel], field: str) -> TypeAdapter[Any]:
    annotation: Any = model.model_fields[field].annotation
    return TypeAdapter(annotation)


def _text(part: Any) -> str:
    return json.dumps(part, sort_keys=True)  # 1, 1.0 and true are equal as values, but not as texts


@functools.cache
def first_defaults() -> dict[str, Any]:
    """The ledger: "Class.field" → its first default, plain."""
    ledger: dict[str, Any] = json.loads(LEDGER.read_text(encoding="utf-8"))
    return ledger


@functools.cache
def _firsts(model: type[BaseModel]) -> dict[str, str]:
    """The first default of each field that has one, as text."""
    ledger, current = first_defaults(), defaults_of(model)
    keys = {name: f"{model.__name__}.{name}" for name in model.model_fields}
    firsts = {name: ledger[key] for name, key in keys.items() if key in ledger}
    return {name: _text(first) for name, first in (current | firsts).items()}


def defaults_of(model: type[BaseModel]) -> dict[str, Any]:
    """The current default of each field that has one, plain."""
    defaults = {name: field.get_default(call_default_factory=True) for name, field in model.model_fields.items()}
    return {
        name: plain(_as_typed(model, name, value)) for name, value in defaults.items() if value is not PydanticUndefined
    }


def changed_defaults(
    classes: Collection[tuple[str, str]], created: Collection[tuple[str, str]], words: Collection[str]
) -> dict[str, Any]:
    """Defaults that code may use although no input holds them: "Class.field" → the default, plain.

    For classes of which the code may create values (created), these are the defaults that are not the first. For all
    classes that it uses, these are the defaults of fields that are not in the ledger yet, if the name of the field is
    among the words of the code.
    """
    changed: dict[str, Any] = {}
    for module, name in {*classes, *created}:
        model = getattr(importlib.import_module(module), name)
        for field, default in defaults_of(model).items():
            key = f"{name}.{field}"
            is_known = key in first_defaults()
            if (is_known and (module, name) in created and _text(default) != _text(first_defaults()[key])) or (
                not is_known and field in words
            ):
                changed[key] = default
    return changed
