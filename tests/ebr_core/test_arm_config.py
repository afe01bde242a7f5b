"""What an arm may say, and how it is told that it may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from ebr_core.config import Arm, NegativeMix, Positives, Softmax, TextFeatures, Towers, Training, Triplet

MODELS: list[type[BaseModel]] = [Arm, NegativeMix, Positives, Softmax, TextFeatures, Towers, Training, Triplet]


@pytest.mark.parametrize("model", MODELS)
def test_the_defaults_are_allowed_and_survive_json(model: type[BaseModel]) -> None:
    default = model()
    assert model.model_validate_json(default.model_dump_json()) == default


@pytest.mark.parametrize("model", MODELS)
def test_unknown_keys_are_refused_by_name(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="lerning_rate"):
        model.model_validate({"lerning_rate": 1})


@pytest.mark.parametrize("model", MODELS)
def test_values_cannot_change(model: type[BaseModel]) -> None:
    value = model()
    name = next(iter(model.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, getattr(value, name))


# Each range by its last allowed values and the first that are not.
RANGES: list[tuple[type[BaseModel], str, list[Any], list[Any]]] = [
    (TextFeatures, "char_ngrams", [[], [1], [8], [2, 3]], [[0], [9], [-1], 3, "3"]),
    (TextFeatures, "word_ngrams", [[], [1], [3]], [[0], [4]]),
    (TextFeatures, "buckets", [256, 2**26], [255, 2**26 + 1]),
    (TextFeatures, "body", [True, False], ["perhaps"]),
    (Towers, "dimensions", [2, 2048], [1, 2049, 0, -1, 3.5]),
    (Towers, "shared", [True, False], ["perhaps"]),
    (Positives, "source", ["clicks", "impressions", "both"], ["click", "", None]),
    (Positives, "equal_volume", [True, False], [2]),
    (NegativeMix, "random", [1, 100_000], [-1, 100_001, 0.5]),
    (NegativeMix, "impressions", [0, 100], [-1, 101]),
    (NegativeMix, "in_batch", [0, 1, 10_000, "all"], [-1, "some", 0.5]),
    (NegativeMix, "in_batch_hard", [0, 1000], [-1, 1001]),
    (Triplet, "margin", [1e-9, 2], [0, -0.1, 2.1, float("nan"), float("inf")]),
    (Triplet, "kind", ["triplet"], ["softmax"]),
    (Softmax, "temperature", [1e-3, 10], [0, -1, 10.1, float("nan")]),
    (Softmax, "kind", ["softmax"], ["triplet"]),
    (Training, "batch_size", [2, 65_536], [1, 65_537]),
    (Training, "epochs", [0, 10_000], [-1, 10_001]),
    (Training, "patience", [1, 10**6], [0]),
    (Training, "learning_rate", [1e-9, 100], [0, -1, 101, float("nan"), float("inf")]),
    (Training, "threads", [1, 256], [0, 257]),
    (Arm, "mask", ["pair", "query", "document", "none"], ["searcher", None]),
    (Arm, "loss", [{"kind": "softmax"}, {}, {"margin": 0.1}], [{"kind": "hinge"}, {"temperature": 0.1}]),
]


@pytest.mark.parametrize(
    ("model", "key", "allowed", "refused"), RANGES, ids=lambda value: getattr(value, "__name__", None)
)
def test_every_range_ends_where_it_says(
    model: type[BaseModel], key: str, allowed: list[Any], refused: list[Any]
) -> None:
    for value in allowed:
        assert key in model.model_validate({key: value}).model_fields_set
    for value in refused:
        with pytest.raises(ValidationError, match=key):
            model.model_validate({key: value})


def test_every_key_has_its_range_tested() -> None:
    tested = {(model, key) for model, key, _, _ in RANGES}
    nested = {(Arm, key) for key in ("positives", "negatives", "text", "towers", "training")}
    assert tested | nested == {(model, key) for model in MODELS for key in model.model_fields}


def test_a_text_needs_some_unit() -> None:
    with pytest.raises(ValidationError, match="char_ngrams and word_ngrams are both empty"):
        TextFeatures(char_ngrams=(), word_ngrams=())


def test_a_positive_needs_some_negative() -> None:
    with pytest.raises(ValidationError, match="every count is 0"):
        NegativeMix(random=0)
    with pytest.raises(ValidationError, match="in_batch must be ≥ 0 or 'all', got -3"):
        NegativeMix(in_batch=-3)
    for kind in ({"impressions": 1}, {"in_batch": 1}, {"in_batch": "all"}, {"in_batch_hard": 1}):
        assert NegativeMix.model_validate({"random": 0, **kind}).random == 0


def test_the_kind_of_a_loss_chooses_its_keys() -> None:
    assert Arm.model_validate({"loss": {"kind": "softmax", "temperature": 0.1}}).loss == Softmax(temperature=0.1)
    with pytest.raises(ValidationError, match="margin"):
        Arm.model_validate({"loss": {"kind": "softmax", "margin": 0.1}})
