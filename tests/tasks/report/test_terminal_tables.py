"""The tables of a terminal, from hand-written rows and from a small run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from small_results import a_difference, a_level
from test_report_stage import a_run

from data.experiment.experiment_spec import Comparison, Evaluation, Experiment
from data.experiment.log_config import Simulated
from ebr_core.training.arm_config import Arm
from flows.app.results_table import show, show_advice
from tasks.artifacts import Artifact
from tasks.report.page import Grid
from tasks.report.result import ResultRow
from tasks.report.terminal_tables import question_grid, recall_grid
from tasks.tracking.runs import Outcome

COUNTS = {"targets": "clicked", "searches": 500, "with_target": 500, "sampled": 500, "targets_not_alive": 0}
QUESTIONS = {
    "Z9": Comparison(title="the first in the file", baseline="old", arms=("new",), claim="gain"),
    "A1": Comparison(title="against BM25", baseline="bm25", arms=("new", "old")),
    "B2": Comparison(title="the last in the file", baseline="new", arms=("old",)),
}
SPEC = Experiment(
    logs=Simulated(layout="simulated"),
    evaluation=Evaluation(ks=(10,)),
    seeds=(0, 1),
    arms={"new": Arm(), "old": Arm()},
    questions=QUESTIONS,
)
LEVELS = [
    a_level("new", 0.6, seed=0, low=0.55, high=0.65),
    a_level("new", 0.7, seed=1, low=0.65, high=0.75),
    a_level("new", 0.5, seed=0, index="tuned"),
    a_level("old", 0.5, seed=0),
    a_level("old", 0.5, seed=1),
    a_level("bm25", 0.55, seed=None, index="none", low=0.5, high=0.6),
]
ROWS = [
    *LEVELS,
    a_difference(0.1, 0.05, 0.15, "better", question="A1", baseline="bm25", value=0.65, low=0.6, high=0.7),
    a_difference(-0.05, -0.08, -0.02, "worse", question="A1", baseline="bm25", arm="old"),
    a_difference(-0.15, -0.2, -0.1, "worse", question="B2", baseline="new", arm="old"),
    a_difference(0.15, 0.1, 0.2, "unclear", question="Z9", claim="gain", verdict="undecided", open_because="the cap"),
]


def _grid(rows: list[ResultRow], validation: list[ResultRow] | None = None, **checks: Any) -> Grid:
    empty: dict[str, Any] = {
        "leaks": {},
        "unavailable": {},
        "undecidable": {},
        "ceilings": {"clicked": {"recall@10": 1.0}},
    }
    return recall_grid(rows, COUNTS, empty | checks, SPEC, validation or [])


def test_an_arm_is_one_line_over_its_seeds_beside_its_difference_to_bm25() -> None:
    grid = _grid(ROWS)
    cells = [dict(zip(grid.headers, row, strict=True)) for row in grid.rows]
    assert [(row["arm"], row["index"]) for row in cells] == [
        *(("new", "exact"), ("", "tuned"), ("bm25", "none"), ("old", "exact"), ("ceiling", ""))
    ]
    assert [row["recall@10"] for row in cells] == [
        *("0.650 [0.600, 0.700]", "0.500", "0.550 [0.500, 0.600]", "0.500", "1.000")
    ]
    assert [row["against bm25"] for row in cells] == [
        *("+.100 [+.050, +.150]; better", "", "", "−.050 [−.080, −.020]; worse", "")
    ]
    assert "Means over 2 seeds" in grid.caption


def test_validation_recall_is_a_column_where_rows_have_it() -> None:
    assert "validation recall@10" not in _grid(ROWS).headers
    validation = [a_level("new", 0.9, seed=seed, split="validation") for seed in (0, 1)]
    grid = _grid(ROWS, validation)
    at = grid.headers.index("validation recall@10")
    assert [row[at] for row in grid.rows] == ["0.900", "", "", "", ""]


def test_a_reason_is_a_footnote() -> None:
    grid = _grid(ROWS, undecidable={"new": {"*": "it hit the cap"}, "old": {"judged": "of another set"}})
    assert "new: nothing is decided; it hit the cap." in grid.caption
    assert "of another set" not in grid.caption
    questions = question_grid(ROWS, SPEC)
    assert questions is not None
    assert "Not decided (new − old): the cap." in questions.caption


def test_a_list_that_was_clicked_in_stands_apart_behind_all_rivals() -> None:
    """It is right by construction, and heads no table; among targets that it did not make it is a rival."""
    logged = a_level("logged", 1.0, seed=None, index="none")
    grid = _grid([*ROWS, logged], undecidable={"logged": {"clicked": "it is the list that was shown"}})
    assert [row[0] for row in grid.rows] == ["new", "", "bm25", "old", "logged (no rival)", "ceiling"]
    assert grid.breaks == {4}
    assert "logged: nothing is decided; it is the list that was shown." in grid.caption
    elsewhere = _grid([*ROWS, logged], undecidable={"logged": {"judged": "it is the list that was shown"}})
    assert [row[0] for row in elsewhere.rows] == ["logged", "new", "", "bm25", "old", "ceiling"]


def test_questions_are_in_the_order_of_the_file_by_title_and_codes_are_last() -> None:
    grid = question_grid(ROWS, SPEC)
    assert grid is not None
    assert grid.headers == ["question", "claimed", "arm − baseline", "clicked", "code"]
    assert grid.rows == [
        ["the first in the file", "a gain", "new − old", "+.150 [+.100, +.200];\nunclear", "Z9"],
        ["the last in the file", "", "old − new", "−.150 [−.200, −.100];\nworse", "B2"],
    ]  # those to BM25 stand beside the levels
    assert question_grid(ROWS, SPEC.model_copy(update={"questions": {"A1": QUESTIONS["A1"]}})) is None


@pytest.mark.parametrize("searches", [400, 20])
def test_a_run_is_printed_with_its_advice_at_the_end(searches: int) -> None:
    from tasks.home import artifacts

    name = f"printed{searches}"
    folder: Path = a_run(artifacts(), name, 0.3)
    if searches == 20:
        _shrink(folder, searches)
    outcome = _outcome(name)
    console = Console(record=True, width=200)
    spec = Experiment(logs=Simulated(layout="simulated"), evaluation=Evaluation(ks=(1, 10)))
    show(outcome, spec, console)
    show_advice(outcome, console)
    text = console.export_text()
    assert "targets: clicked documents" in text  # the main set is shown, however few its searches
    assert text.rstrip().splitlines()[-1].startswith("Use other: it finds .7")


def _shrink(folder: Path, searches: int) -> None:
    file = folder / "results.parquet"
    table = pq.read_table(file)
    at = table.column_names.index("n")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array([searches] * len(table), pa.int32())), file)


def _outcome(digest: str) -> Outcome:
    report = Artifact(stage="report", digest=digest)
    return Outcome(
        experiment=digest,
        log=report,
        sample=report,
        results=report,
        report=report,
        mlflow_experiment_id="0",
        mlflow_run_id="0",
        failures={},
        served=None,
        looks=1,
    )
