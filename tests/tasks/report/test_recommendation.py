"""The first line of a report, from hand-written rows."""

from __future__ import annotations

import pytest
from small_results import a_difference, a_level, a_result

from tasks.report.recommendation import certainty, recommendation
from tasks.report.result import Result

LEVELS = [a_level("new", 0.871), a_level("lucky", 0.9), a_level("bm25", 0.657, seed=None, index="none")]


def _against_bm25(low: float, high: float, finding: str, reason: str | None = None) -> Result:
    row = a_difference((low + high) / 2, low, high, finding, question="bm25", baseline="bm25", open_because=reason)
    return a_result([*LEVELS, row])


FOUND = "finds .871 of what was clicked among the first ten"
WITHOUT = "(without an interval: no question compares them)"
NOT_TRAINED = "It finds .657 of what was clicked among the first ten."


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (_against_bm25(0.19, 0.238, "better"), f"Use `new`: it {FOUND}, .214 more than BM25 [+.190, +.238]."),
        (
            _against_bm25(-0.03, -0.01, "worse"),
            f"Use BM25: `new`, the best on validation, {FOUND}, .020 less than BM25 [−.030, −.010].",
        ),
        (
            _against_bm25(-0.002, 0.004, "equal"),
            f"Use BM25, which needs no training: `new` ties with it; it {FOUND}, .001 more than BM25 [−.002, +.004].",
        ),
        (
            _against_bm25(-0.02, 0.04, "unclear"),
            f"Use `new`, but BM25 may do as well: `new` {FOUND}, .010 more than BM25 [−.020, +.040]; "
            "the interval leaves open which is better.",
        ),
        (
            _against_bm25(0.01, 0.04, "unclear", "its training was ended by the cap"),
            f"Use `new`, but a gain over BM25 is not decided: `new` {FOUND}, .025 more than BM25 [+.010, +.040]; "
            "its training was ended by the cap.",
        ),
        (a_result(LEVELS), f"Use `new`: it {FOUND}, .214 more than BM25 {WITHOUT}."),
        (
            a_result([a_level("new", 0.871), a_level("bm25", 0.9)]),
            f"Use BM25: `new`, the best on validation, {FOUND}, .029 less than BM25 {WITHOUT}.",
        ),
        (a_result(LEVELS, None), f"Use BM25: no model was made that can be served. {NOT_TRAINED}"),
        (a_result(LEVELS, "bm25"), f"Use BM25: nothing did better on validation. {NOT_TRAINED}"),
        (a_result([a_level("new", 0.871)]), f"Use `new`: it {FOUND}."),
        (a_result([], None), ""),
    ],
)
def test_the_champion_of_validation_is_recommended_unless_bm25_does_as_well(result: Result, expected: str) -> None:
    assert recommendation(result) == expected


def test_the_engine_of_today_stands_beside_bm25() -> None:
    engine = a_difference(
        0.12, 0.1, 0.14, "unclear", question="E", baseline="logged", open_because="it made the clicks"
    )
    bm25 = a_difference(0.214, 0.19, 0.238, "better", question="bm25", baseline="bm25")
    rows = [*LEVELS, a_level("logged", 0.751, index="none"), bm25]
    checks = {"undecidable": {"logged": {"clicked": "it made the clicks"}}}
    result = a_result([*rows, engine], checks=checks)
    assert recommendation(result) == (
        "Use `new`: it finds .871 of what was clicked among the first ten, .214 more than BM25 [+.190, +.238] and .120 "
        "more than today's engine [+.100, +.140] (not decided: it made the clicks)."
    )
    assert "over 90 searchers" in certainty(result)
    assert recommendation(a_result(rows, checks=checks)).endswith(
        "and .120 more than today's engine (not decided: it made the clicks)."
    )


def test_a_list_through_an_index_of_its_own_can_be_the_champion() -> None:
    rows = [*LEVELS, a_level("hybrid", 0.9, index="tuned"), a_level("new", 0.7, index="tuned")]
    assert recommendation(a_result(rows, "hybrid")).startswith("Use `hybrid`: it finds .900")
    assert recommendation(a_result(rows)).startswith("Use `new`: it finds .871")  # by exact search


def test_the_figures_are_those_of_the_index_that_answers() -> None:
    run = {"champion": "new", "served": {"arm": "new", "mode": "ebr", "index": "tuned", "recall": 0.9}}
    exact = a_difference(0.214, 0.19, 0.238, "better", question="bm25", baseline="bm25")
    through = a_difference(0.203, 0.18, 0.226, "better", arm="new@tuned", question="bm25", baseline="bm25")
    rows = [*LEVELS, a_level("new", 0.86, index="tuned"), a_level("new", 0.5, index="other"), exact, through]
    assert recommendation(a_result(rows, run=run)) == (
        "Use `new` through the index `tuned`: it finds .860 of what was clicked among the first ten, .203 more than "
        "BM25 [+.180, +.226]."
    )


BETTER = "it finds .871 of what was clicked among the first ten, .214 more than BM25 [+.190, +.238]"


@pytest.mark.parametrize(
    ("memory", "finding", "expected"),
    [
        (0.6, "better", f"Use `new`: {BETTER}."),  # BM25 finds more, and is beaten
        (0.7, "better", f"Use `new`: {BETTER} and .150 more than `memory` [+.140, +.160]."),
        (
            0.7,
            "unclear",
            "Use `new`, but `memory`, the documents clicked for a query before, may do as well: "
            f"{BETTER} and .150 more than `memory` [+.140, +.160].",
        ),
    ],
)
def test_what_was_clicked_before_counts_where_it_finds_more_than_bm25(
    memory: float, finding: str, expected: str
) -> None:
    rows = [
        *LEVELS,
        a_level("memory", memory, seed=None, index="none"),
        a_difference(0.214, 0.19, 0.238, "better", question="bm25", baseline="bm25"),
        a_difference(0.15, 0.14, 0.16, finding, question="memory", baseline="memory"),
    ]
    assert recommendation(a_result(rows)) == expected


def test_memory_is_recommended_where_it_finds_more_than_the_best_model() -> None:
    rows = [
        *LEVELS,
        a_level("memory", 0.95, seed=None, index="none"),
        a_difference(0.214, 0.19, 0.238, "better", question="bm25", baseline="bm25"),
        a_difference(-0.079, -0.1, -0.06, "worse", question="memory", baseline="memory"),
    ]
    assert recommendation(a_result(rows)) == (
        "Use `memory`, the documents clicked for a query before: it finds .950 of what was clicked among the first "
        "ten. `new`, the best model on validation, finds .871 of what was clicked among the first ten, .214 more than "
        "BM25 [+.190, +.238] and .079 less than `memory` [−.100, −.060]."
    )


@pytest.mark.parametrize(("remark", "is_used"), [("leaks: answers of the test", False), ("reads undated edges", True)])
def test_no_model_that_has_seen_the_test_is_recommended(remark: str, is_used: bool) -> None:
    difference = a_difference(0.214, 0.19, 0.238, "better", question="bm25", baseline="bm25")
    advice = recommendation(a_result([*LEVELS, difference], checks={"leaks": {"new": remark}}))
    refusal = "Use no model of this run: `new`, the best on validation, leaks: answers of the test."
    assert advice == (f"Use `new`: {BETTER}." if is_used else refusal)
