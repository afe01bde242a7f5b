"""`ebr compare` on the files of small runs: two runs, two rows, the verdict with its exit code, and JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from test_report_stage import SEARCHES, a_run
from typer.testing import CliRunner

from ebr_core.errors import InputError
from flows.app.cli import app
from flows.app.comparison_gate import EXIT_CODES, decide
from tasks.home import artifacts
from tasks.report.comparison import ArmComparison, compare_rows
from tasks.report.run_folders import read_run_arm, with_champion
from tests.documented_keys import PAGE, refuse_undocumented


@pytest.fixture(scope="module")
def runs() -> tuple[Path, Path]:
    return (
        a_run(artifacts(), "comparedone", 0.3),
        a_run(artifacts(), "comparedtwo", 0.3, undecidable={"clicked": "training ended at the cap"}),
    )


def _compare(*arguments: str) -> tuple[int, str, list[str]]:
    """(the exit code, standard output, the lines of both outputs)."""
    done = CliRunner().invoke(app, ["compare", *arguments])
    if isinstance(done.exception, InputError):
        raise done.exception
    return done.exit_code, done.stdout, done.output.splitlines()


@pytest.mark.parametrize(
    ("a", "b", "word", "code"),
    [
        ("comparedone/bm25", "comparedone/other", "better", 0),
        ("comparedone/other", "comparedone/bm25", "worse", 1),
        ("comparedone/bm25", "comparedtwo/bm25", "tie", 3),
        ("comparedone/bm25", "comparedtwo/other", "unclear", 4),
        ("report-comparedone/bm25", "comparedone/@champion", "better", 0),
        ("comparedtwo/plain", "comparedone", "better", 0),
    ],
)
def test_the_exit_code_is_the_verdict(runs: tuple[Path, Path], a: str, b: str, word: str, code: int) -> None:
    exit_code, _, lines = _compare(a, b, "--gate")
    assert exit_code == code == EXIT_CODES[word]
    assert re.fullmatch(
        rf"VERDICT: {word} \(B − A: [+−]\.\d+ \[.*\] in recall@10, what was clicked, {SEARCHES} searches.*\)", lines[-1]
    )
    assert ("comparedtwo" in b and word == "unclear") == ("other: training ended at the cap" in lines[-1])
    assert _compare(a, b)[0] == 0  # without the gate the verdict decides nothing


def test_runs_without_an_arm_are_compared_arm_by_arm_and_their_champions_by_the_gate(runs: tuple[Path, Path]) -> None:
    code, text, _ = _compare("comparedone", str(runs[1]))
    assert code == 0
    assert all(f"│ {arm} " in text for arm in ("plain", "other", "bm25"))
    assert "A: comparedone (" in text
    _, text, _ = _compare("comparedone", "comparedtwo", "--gate")
    assert "A: comparedone/other (" in text
    assert "│ plain " not in text


def test_json_is_all_that_standard_output_has_and_its_keys_are_documented(
    runs: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, lines = _compare("comparedone/bm25", "comparedone/other", "--gate", "--json")
    found = json.loads(out)
    refuse_undocumented(found)
    assert (code, found["gate"]["verdict"], found["gate"]["exit_code"]) == (0, "better", 0)
    assert found["a"] == {"experiment": "comparedone", "run": "report-comparedone", "row": "bm25"}
    (row,) = found["rows"]
    assert (row["row"], row["targets"], row["metric"], row["searches"]) == ("other", "clicked", "recall@10", SEARCHES)
    assert row["difference"] == pytest.approx(row["b"] - row["a"])
    assert found["gate"]["line"] in lines
    assert _compare("comparedone/bm25", "comparedone/other", "--json", "--metric", "mrr")[1].count('"gate": null') == 1


def test_rows_and_metrics_that_are_not_there_are_refused(runs: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="no row 'nothing'; there are bm25, other, plain"):
        _compare("comparedone/nothing", "comparedone/bm25")
    with pytest.raises(InputError, match="--metric: got recall@7; both runs have mrr, recall@1, recall@10"):
        _compare("comparedone", "comparedtwo", "--metric", "recall@7")


def test_few_searchers_leave_it_unclear_and_the_margin_makes_a_tie() -> None:
    row = ArmComparison("clicked", "a", "recall@10", 9, 0.5, 0.52, 0.02, -0.01, 0.05, False)
    few = row._replace(low=float("nan"), high=float("nan"))
    assert [decide(row, margin, "").word for margin in (0.01, 0.06)] == ["unclear", "tie"]
    assert decide(few, 0.06, "").exit_code == EXIT_CODES["unclear"]
    assert "too few to say" in decide(few, 0.06, "").line
    assert decide(row, 0.06, "because").line.endswith("; because)")


def test_the_served_row_has_its_mode_and_its_index(runs: tuple[Path, Path]) -> None:
    file = runs[0] / "run.json"
    facts = json.loads(file.read_text())
    served = {"arm": "other", "mode": "hybrid", "index": "tuned", "recall": 0.5}
    try:
        file.write_text(json.dumps(facts | {"served": served}))
        assert with_champion(read_run_arm("comparedone")).row == "other+bm25@tuned"
        file.write_text(json.dumps(facts | {"served": served | {"mode": "reranked"}}))
        assert with_champion(read_run_arm("comparedone/@champion")).row == "other"
        file.write_text(json.dumps(facts | {"champion": None}))
        with pytest.raises(InputError, match="has no champion"):
            with_champion(read_run_arm("comparedone"))
    finally:
        file.write_text(json.dumps(facts))


def test_rows_of_one_trained_arm_are_compared_seed_by_seed(runs: tuple[Path, Path]) -> None:
    """The difference of an arm to itself is 0, and no noise of training is in it."""
    seeds = a_run(artifacts(), "comparedseeds", 0.3, seeds=2)
    same = {(row.targets, row.metric): row for row in compare_rows(seeds, "other", seeds, "other")}
    row = same["clicked", "recall@10"]
    assert (row.difference, row.low, row.high) == (0, 0, 0)
    apart = {row.metric: row for row in compare_rows(seeds, "other", seeds, "plain")}["recall@10"]
    assert apart.high - apart.low > 0


def test_exit_codes_are_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| {code} | `{word}` |" in text for word, code in EXIT_CODES.items())
