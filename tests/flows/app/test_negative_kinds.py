"""What `ebr negatives` says of the kinds of negatives that an arm is trained on."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from ebr_core.training.arm_config import Arm
from flows.app.negative_kinds import kinds_of
from flows.app.negatives import show
from tasks.training_examples import TrainingExample


def _said(**settings: Any) -> dict[str, str]:
    return {kind.name: kind.words for kind in kinds_of(Arm.model_validate(settings))}


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"negatives": {"random": 20}}, "random", "20 of the corpus, one pool for a batch of 1,024"),
        ({"negatives": {"random": 0, "impressions": 2}}, "random", ""),
        ({"negatives": {"impressions": 2}}, "shown, not clicked", "2 of the same search"),
        ({"negatives": {"popularity": 0.5}}, "random", "1,000 of the corpus, one pool for a batch of 1,024, drawn in "
         "proportion to (1 + clicks)^0.5"),
        ({}, "hardest of the batch", ""),
        ({"negatives": {"in_batch": "all"}}, "hardest of the batch", "documents of all other positives of a batch of "
         "1,024"),
        ({"negatives": {"in_batch_hard": 3}}, "hardest of the batch", "the 3 nearest documents of other positives of a "
         "batch of 1,024"),
        ({"mine_from": "random", "negatives": {"offline_hard": 1}}, "mined", "1 from ranks 101 to 500 of random"),
        ({"ratings": {"of": ["a", "b"]}, "negatives": {"offline_hard": 2}}, "rated bad", "2 results of a, b that were "
         "rated bad"),
        ({"negatives": {"memory": 8}}, "positives of earlier batches", "8 (not shown)"),
        ({"negatives": {"random": 3}, "negatives_at_end": {"random": 0, "impressions": 2},
          "training": {"patience": None}}, "shown, not clicked", "0 to 2 (over the epochs) of the same search"),
        ({"training": {"epochs": 0}}, "random", ""),
    ],
)  # fmt: skip
def test_a_kind_is_said_with_its_count_or_not_trained_on(settings: dict[str, Any], kind: str, words: str) -> None:
    assert _said(**settings)[kind] == words


def test_what_is_shown_for_comparison_alone_is_marked() -> None:
    pair = TrainingExample(
        "a [b]", "s1", [("positive", "T", 0.9), ("random", "R", 0.1), ("shown, not clicked", "S", 0)]
    )
    text = io.StringIO()
    show("shop/hard", Arm.model_validate({"negatives": {"random": 0, "impressions": 2}}), [pair], Console(file=text))
    said = text.getvalue()
    assert "shop/hard is trained on these negatives of a positive:\n  shown, not clicked: 2 of the same search" in said
    assert "shown for comparison alone (dim): random and hardest of the batch." in said
    assert "│ random (not trained on) " in said
    assert "│ shown, not clicked " in said
    assert "'a [b]'" in said
