"""The ledger of first defaults: `python -m tasks.provenance.ledger` adds the fields that are not in it yet."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from ebr_core.frozen import Frozen
from tasks.home import ROOT
from tasks.provenance.modules import PACKAGES, read_module
from tasks.provenance.settings import LEDGER, defaults_of, first_defaults
from tasks.provenance.source import is_settings


def models() -> list[type[Frozen]]:
    """All classes of settings in this project, by name."""
    classes: list[type[Frozen]] = []
    for room in PACKAGES:
        for path in sorted((ROOT / room).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            names = [name for name in read_module(module).statements if is_settings((module, name))]
            classes += [getattr(importlib.import_module(module), name) for name in names]
    return sorted(classes, key=lambda model: model.__name__)


def unknown_defaults() -> dict[str, Any]:
    """The default of each field that is not in the ledger yet: "Class.field" → the default, plain."""
    current = {f"{model.__name__}.{field}": value for model in models() for field, value in defaults_of(model).items()}
    return {key: value for key, value in current.items() if key not in first_defaults()}


def main() -> None:
    """Add the missing fields to the ledger, and leave all others unchanged."""
    added = unknown_defaults()
    ledger = dict(sorted({**first_defaults(), **added}.items()))
    lines = [f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in ledger.items()]
    LEDGER.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    sys.stdout.write(f"{LEDGER.name}: {len(added)} added, {len(ledger)} in all\n")


if __name__ == "__main__":
    main()
