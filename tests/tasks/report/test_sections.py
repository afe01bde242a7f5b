"""Sections of the report, from hand-written rows: their order, colours and what is folded away."""

from __future__ import annotations

from typing import Any

from small_results import a_difference, a_level, a_result

from tasks.report.curve_sections import course_blocks, curve_blocks
from tasks.report.difference_sections import difference_blocks
from tasks.report.level_sections import level_blocks
from tasks.report.opening_section import answer_blocks
from tasks.report.page import Bullets, Grid, Paragraph, Picture
from tasks.report.plots import GREEN, GREY, RED
from tasks.report.result import Result
from tasks.report.seed_means import over_seeds

QUESTIONS = {"Z9": {"title": "the first in the file"}, "A1": {"title": "the second"}}
SPEC: dict[str, Any] = {
    "evaluation": {"ks": [1, 10]},
    "questions": QUESTIONS,
    "arms": {"old": {}, "new": {}},
    "logs": {"layout": "tables"},
}
FEW = {"targets": "judged", "n": 12}


def _result(**files: Any) -> Result:
    levels = [a_level(arm, value, seed=seed) for arm, value in (("new", 0.7), ("old", 0.5)) for seed in (0, 1)]
    levels += [a_level(arm, 0.4, **FEW) for arm in ("new", "old")]
    differences = [
        a_difference(-0.2, -0.25, -0.15, "worse", question="A1", arm="old", baseline="new"),
        a_difference(-0.2, -0.25, -0.15, "too few", question="A1", arm="old", baseline="new", **FEW),
        a_difference(0.001, -0.002, 0.004, "equal", question="M5", baseline="memory"),
        a_difference(0.2, 0.15, 0.25, "better", question="Z9"),
    ]
    return a_result([*levels, *differences], spec=SPEC, **files)


def test_questions_are_in_the_order_of_the_file_by_title() -> None:
    (bullets,) = (block for block in answer_blocks(_result()) if isinstance(block, Bullets))
    assert [text.split(":")[0] for text in bullets.items] == [
        *("**the first in the file**", "**the second**", "**against `memory`**")
    ]
    assert [text[-4:] for text in bullets.items] == ["*Z9*", "*A1*", "*M5*"]
    shown = next(block for block in difference_blocks(_result()) if isinstance(block, Grid))
    assert [row[0] for row in shown.rows] == ["the first in the file", "the second", "against `memory`"]
    assert [row[-1] for row in shown.rows] == ["*Z9*", "*A1*", "*M5*"]


def test_target_sets_of_few_searches_are_folded_away() -> None:
    page = difference_blocks(_result())
    shown, folded = (block for block in page if isinstance(block, Grid))
    assert (shown.folded, folded.folded) == (False, True)
    assert "judged" not in shown.headers
    assert folded.caption.startswith("Target sets of fewer than 30 searches: judged (12).")
    assert [row[0] for row in folded.rows] == ["the second"]
    assert [grid.folded for grid in level_blocks(_result()) if isinstance(grid, Grid)] == [False, True, True]
    assert [block.name for block in curve_blocks(_result()) if isinstance(block, Picture)] == ["recall-by-k-clicked"]


def test_colours_are_those_of_the_findings() -> None:
    (picture,) = (block for block in difference_blocks(_result()) if isinstance(block, Picture))
    lines = {colour: picture.svg.count(colour) for colour in (GREEN, RED, GREY)}
    assert all(lines.values())
    decided = _result()
    gains = [row for row in decided.rows if row.question is None or row.finding == "better"]
    (picture,) = (block for block in difference_blocks(a_result(gains, spec=SPEC)) if isinstance(block, Picture))
    assert RED not in picture.svg


def test_one_value_for_one_quantity() -> None:
    seeds = [a_level("new", 0.6, seed=0, low=0.5, high=0.7), a_level("new", 0.7, seed=1, low=0.6, high=0.8)]
    of_question = a_difference(0.1, 0.05, 0.15, "better", value=0.65)
    rows = over_seeds([*seeds, a_level("old", 0.5, low=0.4, high=0.6), of_question])
    assert [(row.arm, round(row.value, 9), row.seeds) for row in rows] == [("new", 0.65, 2), ("old", 0.5, None)]
    grid = level_blocks(a_result([*seeds, a_level("old", 0.5)], spec=SPEC))[1]
    assert isinstance(grid, Grid)
    recall = grid.headers.index("recall@10")
    assert [(row[0], row[recall]) for row in grid.rows] == [("new", ".650"), ("old", ".500")]  # as in the first line


def test_arms_that_the_cap_ended_are_named() -> None:
    epochs = [{"epoch": 1, "validation_recall": 0.4}, {"epoch": 2, "validation_recall": 0.5}]
    courses = [{"arm": "new", "seed": 0, "ended": "cap", "epochs": epochs}]
    courses += [{"arm": "old", "seed": 0, "ended": "patience", "epochs": epochs}]
    bad = [block for block in course_blocks(_result(courses=courses)) if isinstance(block, Paragraph) and block.kind]
    assert [block.text for block in bad] == [
        "**Ended by the cap, not by convergence** (red cross): `new`. More epochs may change them."
    ]
    assert course_blocks(_result()) == []
