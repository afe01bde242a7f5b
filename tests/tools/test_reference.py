"""The generated pages of reference are those of this code, and say something of every setting and command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
import typer
import yaml
from pydantic import TypeAdapter, ValidationError

from data import schemas
from data.experiment.experiment_file import json_schema
from ebr_core.frozen import Frozen
from flows.app.cli import app
from tasks.report.result import FILES
from tools.reference.allowed_values import allowed, models_in
from tools.reference.commands_page import walk
from tools.reference.pages import FOLDER, pages
from tools.reference.results_page import JSON_FILES, TABLES, comments_of
from tools.reference.setting_examples import WRITTEN, examples, paper_values


def _settings(model: type[Frozen]) -> Iterator[type[Frozen]]:
    """A model and all models derived from it."""
    yield model
    for derived in model.__subclasses__():
        yield from _settings(derived)


PAGES, SCHEMA = pages(), json_schema()
EXAMPLES = examples(SCHEMA)
NAMES = {"Experiment", *SCHEMA["$defs"]}
MODELS = {model.__name__: model for model in _settings(Frozen) if model.__name__ in NAMES}


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name], "run make reference"


def test_every_setting_has_a_meaning_and_an_example() -> None:
    unexplained, without = [], []
    for name, body in [("Experiment", SCHEMA), *SCHEMA["$defs"].items()]:
        for key, part in body["properties"].items():
            if key in ("kind", "layout"):  # they choose the section
                continue
            if not part.get("description") and "$ref" not in part:
                unexplained.append(f"{name}.{key}")
            if f"{name}.{key}" not in EXAMPLES and not list(models_in(part)):
                without.append(f"{name}.{key}")
    assert (unexplained, without) == ([], [])


def test_every_example_is_allowed() -> None:
    refused = []
    for name, value in EXAMPLES.items():
        model, _, key = name.partition(".")
        field = MODELS[model].model_fields[key]
        try:
            TypeAdapter(Annotated[field.annotation, None, *field.metadata]).validate_python(value)
        except ValidationError as error:
            refused.append(f"{name}: {value}: {error.errors()[0]['msg']}")
    assert refused == []


def test_examples_and_values_of_the_paper_are_of_settings() -> None:
    settings = {f"{name}.{key}" for name, model in MODELS.items() for key in model.model_fields}
    by_hand = {name for name in yaml.safe_load(WRITTEN.read_text()) if not name.startswith("*.")}
    assert by_hand <= settings
    assert set(paper_values()) <= settings


def test_every_command_has_a_section() -> None:
    names = [name for name, _ in walk(typer.main.get_command(app), "ebr")]
    assert len(names) > 15
    assert re.findall(r"^## (ebr .*)$", PAGES["commands.md"], re.MULTILINE) == names


def test_every_column_and_file_of_a_run_has_a_meaning() -> None:
    assert set(JSON_FILES) == set(FILES)
    for schema, _ in TABLES.values():
        columns = {field.name for field in getattr(schemas, schema)}
        assert columns - {"value"} <= set(comments_of(schema)), schema
    assert comments_of("RESULTS_OF_RUN")["low"].startswith("95% interval")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 1000}, "a whole number from 1 to 1,000"),
        ({"type": "number", "exclusiveMinimum": 0}, "a number above 0"),
        ({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, "`a`, `b` or `null`"),
        ({"type": "array", "minItems": 1, "items": {"type": "string"}}, "a list of at least 1: text"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "NAME: a number"),
        ({"$ref": "#/$defs/Arm"}, "see Arm"),
    ],
)
def test_what_a_schema_allows_in_words(part: dict[str, Any], words: str) -> None:
    assert allowed(part, {"Arm": "see Arm"}) == words
