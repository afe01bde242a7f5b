"""An example of each setting: one that an experiment of this project uses or, where none does, another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from data.experiment.experiment_file import read_content
from data.experiment.experiment_spec import Experiment
from tasks.home import ROOT

WRITTEN = Path(__file__).with_name("setting_examples.yaml")
PAPER = Path(__file__).with_name("paper_values.yaml")
LONGEST = 70  # characters of an example


def examples(schema: dict[str, Any]) -> dict[str, Any]:
    """Model.key → a value that is not the default, as a file would have it. schema: of experiment files.

    It is one that an experiment of this project sets; else the one in setting_examples.yaml; else one that follows from
    what the schema allows.
    """
    by_hand: dict[str, Any] = yaml.safe_load(WRITTEN.read_text(encoding="utf-8"))
    used = _used()
    found: dict[str, Any] = {}
    for model, body in [("Experiment", schema), *schema["$defs"].items()]:
        for key, part in body["properties"].items():
            name = f"{model}.{key}"
            for values, known in ((by_hand, name), (used, name), (by_hand, f"*.{key}")):
                if known in values:
                    found.setdefault(name, values[known])
            if name not in found and (derived := _another(part)) is not None:
                found[name] = derived
    return found


def _used() -> dict[str, Any]:
    """Model.key → the first value that an experiment of this project sets, and that is short."""
    found: dict[str, Any] = {}
    for file in sorted((ROOT / "experiments").glob("*.yaml")):
        for name, value in _values(Experiment.model_validate(read_content(file))):
            if len(str(value)) <= LONGEST:
                found.setdefault(name, value)
    return found


def _another(part: dict[str, Any]) -> Any:
    """A value that a part of a schema allows and that is not its default; None if none follows from it."""
    default = part.get("default")
    if "const" in part:
        return part["const"]
    if "enum" in part:
        return next((value for value in part["enum"] if value != default), None)
    if part.get("type") == "boolean":
        return not default
    if part.get("type") in ("integer", "number") and isinstance(default, int | float):
        return next((value for value in (default * 2, default / 2, default + 1) if _fits(value, default, part)), None)
    alternatives = (_another({"default": default} | alternative) for alternative in part.get("anyOf", ()))
    return next((value for value in alternatives if value is not None), None)


def _fits(value: float, default: float, part: dict[str, Any]) -> bool:
    """True for a number within the bounds that is not the default, and whole where it has to be."""
    if value == default or (part["type"] == "integer" and not isinstance(value, int)):
        return False
    low, high = part.get("minimum", part.get("exclusiveMinimum")), part.get("maximum", part.get("exclusiveMaximum"))
    return (low is None or value > low) and (high is None or value < high)


def paper_values() -> dict[str, str]:
    """Model.key → the value that the paper states, with its section."""
    values: dict[str, str] = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    return values


def _values(model: BaseModel) -> Iterator[tuple[str, Any]]:
    """(Model.key, its value) of all that was set in a model and in those inside it, defaults left out."""
    for key in type(model).model_fields:
        value = getattr(model, key)
        if key in model.model_fields_set and value != type(model).model_fields[key].get_default(
            call_default_factory=True
        ):
            yield f"{type(model).__name__}.{key}", model.model_dump(mode="json", exclude_unset=True)[key]
        yield from _inside(value)


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, BaseModel):
        yield from _values(value)
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _inside(part)
