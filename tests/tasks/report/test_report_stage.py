"""The report and the comparison of runs, from result files alone: those of a small run in a folder of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data.experiment.experiment_spec import Comparison, Evaluation, Experiment
from data.experiment.log_config import Simulated
from data.schemas import COSTS
from ebr_core.errors import InputError
from tasks.artifacts import Artifact
from tasks.evaluation_stage import EvaluatedList, evaluate
from tasks.report.comparison import compare_runs
from tasks.report.report_stage import RESULTS, write
from tasks.report.run_folders import find_run

SEARCHES, DOCUMENTS = 400, 300


def a_run(home: Path, digest: str, better: float, seeds: int = 1, undecidable: dict[str, str] | None = None) -> Path:
    """The folder of a run, as the report stage writes it; `other` finds targets more often than `plain`, by better.

    undecidable: target set → the reason why nothing is decided about `other`.
    """
    rng = np.random.default_rng(7)
    sample = Artifact(stage="sample", digest=digest)
    sample.folder.mkdir(parents=True)
    rows = np.arange(SEARCHES)
    plain = {
        "search_row": pa.array(rows, pa.int32()),
        "search_id": [f"s{row}" for row in rows],
        "query_row": pa.array(rows % 50, pa.int32()),
        "searcher_row": pa.array(rows % 80, pa.int32()),
        "session_row": pa.array(rows, pa.int32()),
        "query_seen": rows % 2 == 0,
        "pair_seen": rows % 3 == 0,
        "misspelt": rows % 10 == 0,
        "attempt": pa.nulls(SEARCHES, pa.int8()),
    }
    target_rows = rng.integers(DOCUMENTS, size=SEARCHES)
    pq.write_table(pa.table(plain), sample.folder / "searches.parquet")
    owners = {"targets": ["clicked"] * SEARCHES, "search_row": plain["search_row"]}
    grade = np.ones(SEARCHES, np.float32)
    targets = pa.table(owners | {"document_row": pa.array(target_rows, pa.int32()), "grade": grade})
    pq.write_table(targets, sample.folder / "targets.parquet")
    slices = owners | {
        "document_row": pa.array(target_rows, pa.int32()),
        "kind": ["person" if row % 4 else "page" for row in rows],
        "popularity": ["head" if row % 2 else "tail" for row in rows],
        "target_new": rows % 50 == 0,
        "shares_no_word": rows % 9 == 0,
        "shares_title": rows % 4 == 0,
        "place": pa.nulls(SEARCHES, pa.string()),
        "position": pa.array(1 + rows % 5, pa.int32()),
        "outcome": ["clicked"] * SEARCHES,
    }
    pq.write_table(pa.table(slices), sample.folder / "slices.parquet")
    candidates = {"document_row": pa.array(np.arange(DOCUMENTS), pa.int32()), "clicks": np.arange(DOCUMENTS)[::-1]}
    pq.write_table(pa.table(candidates), sample.folder / "candidates.parquet")
    seen = {"query_row": np.repeat(np.arange(50), 100), "document_row": np.tile(np.arange(100), 50)}
    pq.write_table(pa.table(seen), sample.folder / "seen.parquet")
    counts = {"targets": "clicked", "searches": SEARCHES, "with_target": SEARCHES, "sampled": SEARCHES}
    (sample.folder / "counts.json").write_text(json.dumps([counts | {"targets_not_alive": 0}]))

    retrieved = []
    for arm, chance in (("plain", 0.4), ("other", 0.4 + better), ("bm25", 0.2)):
        for seed in range(seeds if arm != "bm25" else 1):
            artifact = Artifact(stage="retrieve", digest=f"{digest}{arm}{seed}")
            artifact.folder.mkdir()
            arm_rng = np.random.default_rng(seed)
            retrieved_rows = np.argsort(arm_rng.random((SEARCHES, DOCUMENTS)), axis=1)[:, :10].astype(np.int32)
            is_hit = arm_rng.random(SEARCHES) < chance
            retrieved_rows[is_hit, 0] = target_rows[is_hit]
            np.save(artifact.folder / "retrieved.npy", retrieved_rows)
            run = {"arm": arm, "seed": None if arm == "bm25" else seed, "index": "none" if arm == "bm25" else "exact"}
            reasons = (undecidable or {}) if arm == "other" else {}
            retrieved.append(EvaluatedList(**run, rows=artifact, undecidable=reasons))
    questions = {"P01": Comparison(title="a question", baseline="plain", arms=("other",), claim="gain")}
    evaluation = Evaluation(ks=(1, 10), resamples=200)
    results = evaluate.fn(sample, retrieved, questions, evaluation)
    return _as_run(home / f"report-{digest}", sample, results, questions, evaluation)


def _as_run(folder: Path, sample: Artifact, results: Artifact, questions: Any, evaluation: Any) -> Path:
    folder.mkdir(parents=True)
    for name in RESULTS:
        (folder / name).write_bytes((results.folder / name).read_bytes())
    searches = pq.read_table(sample.folder / "searches.parquet")
    query = [f"query {row}" for row in searches["query_row"].to_pylist()]
    pq.write_table(searches.append_column("query", [query]), folder / "searches.parquet")
    pq.write_table(pa.Table.from_pylist([], COSTS), folder / "costs.parquet")
    spec = Experiment(logs=Simulated(layout="simulated"), questions=questions, evaluation=evaluation)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(spec.model_dump(mode="json")))
    (folder / "counts.json").write_bytes((sample.folder / "counts.json").read_bytes())
    leaks = [{"check": "labels", "status": "clean", "says": "9 searches, 0 from after the cut-off"}]
    arms = {"plain": {"whole": 0.4, "sampled": 0.9}, "other": {"whole": 0.5, "sampled": 0.8}}
    sampled = {"k": 10, "negatives": 100, "arms": arms, "agreement": -1.0, "changed": [["other", "plain"]]}
    (folder / "audit.json").write_text(json.dumps({"leaks": leaks, "sampled": {"clicked": sampled}}))
    data = {"layout": "tables", "tables": {}, "splits": {}, "cuts": None, "cannot": []}
    (folder / "data.json").write_text(json.dumps(data))
    run = {"experiment": folder.name.removeprefix("report-"), "made_at": "2026-01-01T00:00:00+00:00", "log": "l"}
    run |= {"champion": "other"}
    courses = [{"arm": "other", "seed": 0, "ended": "cap", "epochs": [{"epoch": 1, "validation_recall": 0.5}]}]
    (folder / "courses.json").write_text(json.dumps(courses))
    run |= {"sample": sample.folder.name, "results": results.folder.name, "failures": {}, "versions": {"ebr": "1"}}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from tasks.home import artifacts

    return a_run(artifacts(), "reportone", 0.3), a_run(artifacts(), "reporttwo", 0.3, seeds=2)


def test_the_page_is_one_file_and_starts_with_the_answer(runs: tuple[Path, Path], tmp_path: Path) -> None:
    write(runs[0], tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert 'src="' not in page
    row = next(
        row
        for row in pq.read_table(runs[0] / "results.parquet").to_pylist()
        if row["question"] and row["baseline"] and row["slice"] == "all"
    )
    assert row["verdict"] == "holds"
    assert page.index("Use <code>other</code>: it finds") < page.index("No leak found")
    assert page.index("No leak found") < page.index("is better than") < page.rindex("Recall by K")
    assert page.index("<strong>a question</strong>") < page.index("<small>P01</small>") < page.rindex("Recall by K")
    assert f"+{row['difference']:.3f}".replace("0.", ".") in page
    assert "Training noise not included" in page
    text = (tmp_path / "report.md").read_text()
    for line in text.splitlines():
        if line.startswith("!["):
            ElementTree.parse(tmp_path / line[line.index("(") + 1 : -1])  # every picture exists and is well formed
    assert "**holds**" in text
    section = text[text.index("## Beside the engine of today") :].split("\n## ")[0]
    assert "favours the engine that showed the results" in section
    unseen = next(line for line in section.splitlines() if line.startswith("| bm25 |")).split("|")[2]
    assert 0.6 < float(unseen) < 0.74  # two thirds of the documents were not seen


@pytest.mark.parametrize("targets", ["*", "clicked", "judged"])
def test_a_reason_leaves_a_claim_undecided_on_its_target_set(targets: str, tmp_path: Path) -> None:
    from tasks.home import artifacts

    run = a_run(artifacts(), f"reportopen{len(targets)}", 0.3, undecidable={targets: "training ended at the cap"})
    rows = [row for row in pq.read_table(run / "results.parquet").to_pylist() if row["claim"]]
    whole = next(row for row in rows if row["arm"] == "other" and row["slice"] == "all")
    assert whole["family_low"] > 0
    if targets == "judged":
        assert (whole["verdict"], whole["finding"], whole["open_because"]) == ("holds", "better", None)
        return
    assert (whole["verdict"], whole["finding"]) == ("undecided", "unclear")
    assert whole["open_because"] == "training ended at the cap"
    write(run, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "not decided: training ended at the cap" in text
    assert "undecided" not in text
    assert ("Nothing is decided about other" in text) == (targets == "*")


def test_a_report_written_twice_is_the_same_bytes(runs: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(runs[0], tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    pictures = ["differences-arms.svg", "recall-by-k-clicked.svg", "slices-1.svg", "training.svg"]
    assert files == sorted([*pictures, "report.html", "report.md"])
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_seeds_are_in_the_interval_and_the_report_mentions_it(runs: tuple[Path, Path], tmp_path: Path) -> None:
    write(runs[1], tmp_path)
    assert "Training noise is included: 2 seeds" in (tmp_path / "report.md").read_text()


def test_a_leak_is_reported_at_the_top(runs: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "leaky"
    copy.mkdir()
    for file in runs[0].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    audit = json.loads((copy / "audit.json").read_text())
    audit["leaks"][0] |= {"status": "leak", "says": "5 searches from the future"}
    (copy / "audit.json").write_text(json.dumps(audit))
    write(copy, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert text.index("Something leaks") < text.index("5 searches from the future") < text.index("## Answers")


def test_a_run_is_found_by_name_and_compared_with_another(runs: tuple[Path, Path]) -> None:
    assert find_run("reportone") == find_run("report-reportone") == find_run(str(runs[0])) == runs[0]
    with pytest.raises(InputError, match="no such run"):
        find_run("nothing")
    by_arm_and_metric = {(row.arm, row.metric): row for row in compare_runs(*runs)}
    for arm in ("plain", "other", "bm25"):
        assert by_arm_and_metric[arm, "recall@10"].searches == SEARCHES
    same = by_arm_and_metric["bm25", "recall@1"]
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert by_arm_and_metric["plain", "recall@1"].training_noise  # of the second run's seeds
    row = by_arm_and_metric["other", "recall@1"]
    assert row.difference == pytest.approx(row.b - row.a)
    assert row.low <= row.difference <= row.high
