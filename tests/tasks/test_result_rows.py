"""Differences between lists of the same trained models are taken seed by seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.experiment.experiment_spec import Comparison, Evaluation
from tasks.list_measures import EvaluatedRun, MetricsByRun
from tasks.result_rows import ListNotes, rows_of_targets

SEARCHES = 120


def searches() -> dict[str, Any]:
    """Searches without anything that divides them into slices, each of a searcher of its own."""
    zeros, words = np.zeros(SEARCHES, np.int64), np.full(SEARCHES, "")
    fields = ("target_new", "query_seen", "pair_seen", "misspelt", "shares_no_word", "shares_title")
    return {
        "at": np.arange(SEARCHES),
        "searcher_row": np.arange(SEARCHES),
        "session_row": np.arange(SEARCHES),
        "query_row": zeros,
        "position": zeros - 1,
        "attempt": zeros,
        **dict.fromkeys(("kind", "popularity", "place", "outcome"), words),
        **dict.fromkeys(fields, zeros.astype(bool)),
    }


@pytest.mark.parametrize("is_same_model", [True, False])
def test_a_list_of_the_same_models_is_compared_with_them_seed_by_seed(is_same_model: bool) -> None:
    """Both lists are .3 better with seed 1; the second of both is .01 better with either seed."""
    rng = np.random.default_rng(0)
    base = np.stack([0.3 + 0.1 * rng.random(SEARCHES), 0.6 + 0.1 * rng.random(SEARCHES)])
    runs = {EvaluatedRun(arm, seed, "exact"): base[seed] for arm in ("first", "reordered") for seed in (0, 1)}
    measured: MetricsByRun = {
        run: {"recall@10": values + 0.01 * (run.arm == "reordered")} for run, values in runs.items()
    }
    trainings = {run: (f"{'first' if is_same_model else run.arm}, seed {run.seed}",) for run in measured}
    questions = {"q": Comparison(baseline="first", arms=("reordered",))}
    rows = rows_of_targets(
        "clicked", searches(), measured, questions, Evaluation(resamples=200), ListNotes({}, trainings)
    )
    (row,) = [row for row in rows if row.get("baseline") == "first"]
    assert row["difference"] == pytest.approx(0.01)
    width = row["family_high"] - row["family_low"]
    assert width == pytest.approx(0) if is_same_model else width > 0.5
