"""Fine-tuned arms end to end, with a tiny encoder: run, bundles, answers, names of artifacts, a killed training."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data.experiment.experiment_file import load_experiment
from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.search_query import SearchQuery
from ebr_core.towers.checkpoint import load_towers
from flows.arms import prepare_arm, train_run
from flows.ebr import ebr
from tasks.home import ROOT
from tasks.nights.day_checks import fits, warm_start
from tasks.provenance.settings import plain
from tasks.served_models import bundle_of, models_of
from tasks.tracking.runs import Outcome

pytest.importorskip("transformers", reason="the extra encoders is not installed")
pytest.importorskip("peft", reason="the extra encoders is not installed")

from tests.tiny_encoder import make_tiny_encoder

pytestmark = pytest.mark.more
COLOURS, THINGS = (
    ("red", "blue", "green", "small", "big"),
    ("shoe", "boot", "sock", "book", "film", "game", "chess", "yoga"),
)
TUNED = {"kind": "transformer", "model": "model", "max_tokens": 8, "encoder_rate": 1e-3}
ARMS: dict[str, Any] = {
    "base": {
        "loss": {"kind": "softmax"}, "negatives": {"random": 0, "in_batch": "all"}, "mask": "query",
        "towers": {"dimensions": 16}, "training": {"batch_size": 32, "epochs": 2, "patience": None},
    },
    "ngram": {},
    "static": {"towers": {"static": {"model": "model"}}},
    "distilled": {"loss": {"distillation": {"encoder": "model"}}},
    "tuned": {"towers": TUNED, "groups": {"kind": {"kind": "values", "searches": ["country"], "documents": ["kind"]}}},
    "adapted": {"towers": TUNED | {"lora": {"rank": 4}, "encoder_rate": 3e-3}, "typos": {"share": 0.3}},
    "two": {"towers": TUNED | {"shared": False, "dimensions": 8}, "positives": {"titles": 0.2}},
}  # fmt: skip


def write_experiment(folder: Path, arms: dict[str, Any] = ARMS) -> Path:
    """An experiment on 400 searches for 40 documents, beside the model."""
    rng = np.random.default_rng(0)
    titles = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    wanted = rng.integers(len(titles), size=400)
    ids = [f"s{number}" for number in range(len(wanted))]
    searches = {
        "search_id": ids,
        "query": [titles[at].split()[1] + "s " + titles[at].split()[0] for at in wanted],
        "searcher_id": [f"p{number % 40}" for number in range(len(wanted))],
        "country": ["fr" if at % 2 else "de" for at in wanted],
        "searched_at": [datetime(2026, 1, 1) + timedelta(hours=number) for number in range(len(wanted))],
    }
    results = {"search_id": ids, "document_id": [f"d{at}" for at in wanted], "clicked": [True] * len(wanted)}
    documents = {
        "document_id": [f"d{at}" for at in range(len(titles))],
        "title": titles,
        "kind": ["fr" if at % 2 else "de" for at in range(len(titles))],
    }
    for name, table in {"searches": searches, "results": results, "documents": documents}.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    if not (folder / "model").exists():
        make_tiny_encoder(folder / "model")
    file = folder / "tuned.yaml"
    logs = {"layout": "tables"} | {name: f"{name}.parquet" for name in ("searches", "results", "documents")}
    sections = {"logs": logs, "evaluation": {"main_k": 5, "ks": [5], "resamples": 100}, "arms": arms}
    file.write_text(yaml.safe_dump(sections))
    return file


def test_a_run_with_fine_tuned_arms_serves_them(own_home: Path, tmp_path: Path) -> None:
    file = write_experiment(tmp_path)
    outcome = ebr(str(file))
    assert isinstance(outcome, Outcome)
    shutil.move(tmp_path / "model", tmp_path / "elsewhere")  # what is fully tuned needs it no more
    for arm in ("tuned", "two", "static", "distilled"):
        bundle = open_bundle(bundle_of(models_of("tuned"), arm))
        hits = answer(bundle, SearchQuery(query="boots red", k=5))
        assert len(hits) == 5
        assert any(hit.title == "red boot" for hit in hits)
    shutil.move(tmp_path / "elsewhere", tmp_path / "model")
    open_bundle(bundle_of(models_of("tuned"), "adapted"))
    costs = pq.read_table(outcome.report.folder / "costs.parquet").to_pylist()
    sizes = {(row["arm"], row["cost"]): row["value"] for row in costs}
    assert sizes["adapted", "trained_parameters"] < sizes["adapted", "parameters"]
    assert sizes["two", "parameters"] == 2 * sizes["tuned", "parameters"]


def test_a_model_counts_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    arm = load_experiment(write_experiment(tmp_path)).arms["tuned"]
    (tmp_path / "other").mkdir()
    shutil.copytree(tmp_path / "model", tmp_path / "other" / "model")
    moved = load_experiment(write_experiment(tmp_path / "other")).arms["tuned"]
    assert plain(moved) == plain(arm)
    assert plain(moved.features) == plain(arm.features)
    make_tiny_encoder(tmp_path / "other" / "model", seed=1)
    other = load_experiment(tmp_path / "other" / "tuned.yaml").arms["tuned"]
    assert plain(other) != plain(arm)
    assert plain(other.features) == plain(arm.features)  # the tokenizer is the same


@pytest.mark.parametrize(
    ("towers", "message"),
    [
        ({"kind": "transformer", "model": "nowhere"}, r"arms\.a\.towers: nowhere: neither a folder nor a model"),
        ({"kind": "transformer", "model": "empty"}, r"no model: it has no config\.json\. Give the folder"),
        (TUNED | {"dimensions": 64}, r"dimensions: got 64, but the vectors of .* have 32; lower it"),
        (TUNED | {"max_tokens": 500}, r"max_tokens: got 500, but .* reads at most 64 tokens; lower it"),
        (TUNED | {"query_vectors": 2}, r"query_vectors above 1 needs kind: ngram"),
        (TUNED | {"hidden": 8}, r"hidden"),
        ({"static": {"model": "empty"}}, r"arms\.a\.towers: .*no model"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_when_the_file_is_read(
    tmp_path: Path, towers: dict[str, Any], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        load_experiment(write_experiment(tmp_path, {"a": {"towers": towers}}))


def test_a_teacher_is_named_by_its_folder_and_refused_if_it_is_not_there(tmp_path: Path) -> None:
    arms = {"base": ARMS["base"], "a": ARMS["distilled"]}
    teacher = load_experiment(write_experiment(tmp_path, arms)).arms["a"].teacher
    assert teacher is not None
    assert teacher.model == str(tmp_path / "model")
    arms["a"] = {"loss": {"distillation": {"encoder": "./nowhere"}}}
    with pytest.raises(InputError, match=r"arms\.a\.loss\.distillation: .*nowhere: no such folder"):
        load_experiment(write_experiment(tmp_path, arms))
    arms["a"] = {"loss": {"kind": "triplet", "distillation": {"encoder": "model"}}}
    with pytest.raises(InputError, match=r"arms\.a\.loss.*distillation"):
        load_experiment(write_experiment(tmp_path, arms))


def test_an_arm_of_another_kind_takes_nothing_of_the_tower_of_its_base(tmp_path: Path) -> None:
    spec = load_experiment(write_experiment(tmp_path))
    assert spec.arms["tuned"].towers.dimensions == 32  # not the 16 of the base
    assert spec.arms["ngram"].towers.dimensions == 16
    with pytest.raises(InputError, match="clicked_queries needs towers of kind ngram"):
        load_experiment(write_experiment(tmp_path, {"a": {"towers": TUNED, "text": {"clicked_queries": True}}}))


def test_a_night_and_another_arm_start_from_the_tuned_weights(own_home: Path, tmp_path: Path) -> None:
    arms = {"base": ARMS["base"], "tuned": ARMS["tuned"], "again": ARMS["tuned"] | {"start_from": "tuned"}}
    one = prepare_arm(load_experiment(write_experiment(tmp_path, arms)), "again")
    trained = train_run(one.spec, one.source, one.features, one.searches.validation, one.run).towers
    arm, tuned = one.spec.arms["tuned"], trained["tuned", 0]
    features = one.features[arm.features]
    assert fits(tuned, arm)
    assert not fits(tuned, one.spec.arms["tuned"].model_copy(update={"groups": {}}))
    moved = load_towers(warm_start.fn(features, tuned, arm, 0).folder).tower.state()
    kept = load_towers(tuned.folder).tower.state()
    assert moved.keys() == kept.keys()
    assert all(np.array_equal(moved[name], array) for name, array in kept.items())
    again = load_towers(trained["again", 0].folder).tower.state()
    assert any(not np.array_equal(again[name], array) for name, array in kept.items())


def test_a_killed_training_goes_on_at_its_epoch_with_the_same_bytes(own_home: Path, tmp_path: Path) -> None:
    training = {"batch_size": 2, "epochs": 4, "patience": None}
    file = write_experiment(tmp_path, {"tuned": ARMS["base"] | {"towers": TUNED, "training": training}})
    homes = [tmp_path / "killed", tmp_path / "whole"]
    command = [sys.executable, "-m", "tests.flows.train_one", str(file), "tuned"]

    def start(home: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"EBR_HOME": str(home)})

    killed = start(homes[0])
    while killed.poll() is None and not list((homes[0] / "artifacts").glob(".kept-*/0/epoch-00001")):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    kept = list((homes[0] / "artifacts").glob(".kept-*/0/epoch-*/facts.json"))
    done = len(json.loads(max(kept).read_text())["epochs"])
    assert 1 <= done < 4
    weights = []
    for home in homes:
        assert start(home).wait() == 0
        (folder,) = (home / "artifacts").glob("train_arm-*")
        epochs = json.loads((folder / "epochs.json").read_text())
        weights.append(((folder / "towers.safetensors").read_bytes(), epochs))
        assert not list((home / "artifacts").glob(".kept-*"))
        assert load_towers(folder).tower.dimensions == 32
    assert weights[0] == weights[1]
    assert len(weights[0][1]) == 4
