"""The package `ebr`: what a notebook gets is what a run makes, and the page about it runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import ebr
from flows.ebr import ebr as run_experiment
from tasks.home import ROOT, home
from tasks.report.result import ResultRow, read_rows
from tasks.served_models import models_of

PAGE = ROOT / "docs" / "python.md"
SETTINGS: dict[str, Any] = {
    "logs": {"layout": "simulated", "world": {"searches": 3000, "documents": 600, "days": 6, "seed": 5}},
    "evaluation": {"searches": 500, "validation_searches": 200, "resamples": 200},
    "arms": {
        "base": {"towers": {"dimensions": 32}, "training": {"batch_size": 256, "patience": 2}},
        "plain": {},
        "softmax": {"loss": {"kind": "softmax"}, "negatives": {"random": 0, "in_batch": "all"}},
    },
    "indexes": {"tuned": {"kind": "ivf", "code": "pq8", "refine": True, "target": 0.9, "parameters_of": "plain"}},
}


@pytest.fixture(scope="module")
def log() -> ebr.ExperimentLog:
    """The log of SETTINGS."""
    return ebr.load_log(SETTINGS)


@pytest.fixture(scope="module")
def model(log: ebr.ExperimentLog) -> ebr.Bundle:
    """The arm softmax, whose index takes its setting from another arm."""
    return ebr.train(log, "softmax")


def test_the_import_loads_nothing_that_takes_time() -> None:
    slow = ("duckdb", "numba", "numpy", "pandas", "prefect", "pyarrow", "pydantic", "torch")
    code = f"import sys, ebr; assert 'train' in dir(ebr); print(*sorted(set({slow!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_name_is_there_and_documented() -> None:
    for name in ebr.__all__:
        assert getattr(ebr, name).__doc__, name
        assert f"ebr.{name}" in PAGE.read_text() or f"`{name}`" in PAGE.read_text(), name
    with pytest.raises(AttributeError, match="ebr has no 'fit'; it offers load_log"):
        _ = ebr.fit


@pytest.mark.more
def test_a_run_and_the_door_make_the_same(
    log: ebr.ExperimentLog, model: ebr.Bundle, tmp_path: Path, prefect_server: None
) -> None:
    path = tmp_path / "door.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    before = {folder.name: folder.stat().st_ino for folder in (home() / "artifacts").glob("train_arm-*")}
    state = run_experiment(str(path), return_state=True)
    outcome = state.result()
    after = {folder.name: folder.stat().st_ino for folder in (home() / "artifacts").glob("train_arm-*")}
    assert after == before  # the run has trained nothing
    made = models_of("door")["models"]
    assert {(home() / "artifacts" / made[arm]["bundle"]).name for arm in made} >= {_bundle_folder(log, "softmax")}
    assert ebr.open_model("door", "softmax").manifest == model.manifest
    of_run = outcome.report.folder / "results.parquet"
    for split in ("test", "validation"):
        table = ebr.evaluate(log, split=split, targets="clicked")  # type: ignore[arg-type]
        rows = read_rows(of_run, split, with_slices=False)
        levels = {row.arm: row for row in rows if _is_shown(row)}
        assert set(table.index) <= set(levels)
        assert {"softmax", "softmax+bm25", "plain+bm25-weighted", "bm25", "popularity", "memory"} <= set(table.index)
        for arm, line in table.iterrows():
            row = levels[str(arm)]
            assert (line["n"], line["recall@10"]) == (row.n, pytest.approx(row.value, abs=1e-12)), arm
            np.testing.assert_allclose([line["low"], line["high"]], [row.low, row.high], atol=1e-9)


def _bundle_folder(log: ebr.ExperimentLog, arm: str) -> str:
    from flows.arm_models import bundle_model, train_model

    return bundle_model(log.prepared, train_model(log.prepared, arm)).folder.name


def _is_shown(row: ResultRow) -> bool:
    return row.is_level and row.measure == "recall@10" and row.targets == "clicked"


def test_a_table_of_the_test_has_paired_differences_and_counts_as_a_look(log: ebr.ExperimentLog) -> None:
    looks = home() / "test-looks"
    seen = sum(len(yaml.safe_load(file.read_text())) for file in looks.glob("*.json"))
    table = ebr.evaluate(log, ["softmax"], split="test")
    assert ebr.evaluate(log, ["softmax"], split="test").equals(table)
    assert sum(len(yaml.safe_load(file.read_text())) for file in looks.glob("*.json")) == seen + 1
    line = table.loc["softmax"]
    assert line["difference"] == pytest.approx(line["recall@10"] - table.loc["bm25", "recall@10"])
    assert line["difference_low"] < line["difference"] < line["difference_high"]
    assert line["finding"] in ("better", "worse", "equal", "unclear")
    assert pd.isna(table.loc["bm25", "difference"])
    assert list(table["recall@10"]) == sorted(table["recall@10"], reverse=True)
    validation = ebr.evaluate(log, ["softmax"], metric="mrr")
    assert list(validation.columns) == ["n", "mrr", "low", "high"]


def test_vectors_are_those_by_which_the_model_ranks(model: ebr.Bundle) -> None:
    vectors = ebr.embed_queries(model, ["anna", "walking club"])
    identities, documents = ebr.embed_documents(model)
    assert (vectors.shape, documents.shape) == ((2, 32), (len(identities), 32))
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-5)
    cosines = documents @ vectors[0]
    hits = ebr.search(model, "anna", k=5, context={"mode": "ebr"})
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert hits[0].cosine == pytest.approx(cosines.max(), abs=1e-5)
    assert {hit.kind for hit in ebr.search(model, "anna", where="kind = person")} == {"person"}
    titles = model.documents["title"].to_pylist()[:3]
    named, new = ebr.embed_documents(model, titles)
    assert named == titles
    np.testing.assert_allclose(np.linalg.norm(new, axis=1), 1, atol=1e-5)


def test_an_arm_of_ones_own_is_laid_over_the_base(log: ebr.ExperimentLog) -> None:
    own = ebr.with_arm(log, "own", {"negatives": {"random": 20}})
    assert own.arms == ("plain", "softmax", "own")
    assert own.experiment.arms["own"].towers.dimensions == 32
    assert own.folder == log.folder
    assert log.arms == ("plain", "softmax")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda log: ebr.train(log, "sofmax"), "no arm 'sofmax'; there are plain, softmax"),
        (lambda log: ebr.with_arm(log, "plain", {}), "choose another name"),
        (lambda log: ebr.with_arm(log, "own", {"losses": {}}), "losses"),
        (lambda log: ebr.evaluate(log, ["plain"], targets="bought"), "targets: got 'bought'; there are clicked"),
        (lambda log: ebr.evaluate(log, ["plain"], metric="recall@7"), "metric: got 'recall@7'; there are"),
        (lambda log: ebr.load_log("absent"), "no experiment of that name comes with ebr; those are cranfield, default"),
        (lambda log: ebr.load_log("absent.yaml"), "cannot be read"),
        (lambda log: ebr.open_model("absent"), "no model of experiment 'absent'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(log: ebr.ExperimentLog, call: Any, message: str) -> None:
    with pytest.raises(ebr.InputError, match=re.escape(message)):
        call(log)


def test_bodies_go_with_titles(model: ebr.Bundle) -> None:
    with pytest.raises(ebr.InputError, match="got 1 for 2 titles"):
        ebr.embed_documents(model, ["a", "b"], ["only one"])


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    _write_log(tmp_path / "log.csv")
    text = re.sub(r"<!-- not run.*?```python.*?```", "", PAGE.read_text(), flags=re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "softmx" in printed  # the error names what was got
    assert "finding" in printed
    assert len(names["hits"]) == 5
    assert "columns" in type(names["shop"].experiment.logs).model_fields


def _write_log(path: Path) -> None:
    """A flat table of shown results, enough for a guess and a split in time."""
    lines = ["search_id,searched_at,query,document_id,title,position,clicked"]
    for at in range(600):
        for position in range(1, 4):
            document = (at * 7 + position) % 200
            when, query = f"2026-01-{1 + at // 20:02} 10:{at % 60:02}:00", f"word{(at * 7 + 1) % 200} thing"
            row = [f"s{at}", when, query, f"d{document}"]
            lines.append(",".join([*row, f"word{document} title", str(position), str(position == 1).lower()]))
    path.write_text("\n".join(lines) + "\n")
