"""A night renews what reorders the lists of its arm, and serves what wins on the validation days."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from data.experiment.experiment_file import load_experiment
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.search_query import SearchQuery
from flows.night_bundle import serving_of
from flows.nightly import retrain
from tasks.nights.champion_service import roll_back
from tasks.nights.night_records import Night
from tasks.served_models import bundle_of, models_of

pytestmark = pytest.mark.more

WORLD = World(searches=4000, documents=500, days=6, seed=1)
DAYS = [date(2026, 1, 5 + at) for at in range(6)]
ARM: dict[str, Any] = {
    "loss": {"kind": "softmax"},
    "negatives": {"random": 0, "in_batch": "all"},
    "training": {"batch_size": 256, "epochs": 2, "patience": None},
}


@pytest.fixture(scope="module")
def experiment(own_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An arm that has learned nothing, and what reorders its lists: a cascade with an arm that knows the places, one
    with an ensemble, and a ranker."""
    folder = tmp_path_factory.mktemp("world")
    for _ in simulate(WORLD, folder / "log"):
        pass
    place = {"kind": "values", "searches": ["city"], "documents": ["city"]}
    log = folder / "log"
    content = {
        "logs": {
            "layout": "tables",
            "searches": str(log / "searches" / "*" / "*.parquet"),
            "results": str(log / "results" / "*" / "*.parquet"),
            "documents": str(log / "documents.parquet"),
        },
        "evaluation": {"resamples": 200, "ks": [1, 10]},
        "arms": {
            "untrained": ARM | {"training": {"epochs": 0}, "towers": {"dimensions": 8}},
            "trained": ARM | {"groups": {"place": place}, "towers": {"dimensions": 32}},
            "other": ARM,
        },
        "ensembles": {"joined": {"parts": ["trained", "other"]}},
        "cascades": {
            "joint": {"first": "untrained", "then": "joined"},
            "again": {"first": "untrained", "then": "trained", "depth": 400},
            "elsewhere": {"first": "other", "then": "trained"},
        },
        "rankers": {"ranked": {"of": "untrained", "depth": 50}},
        "nightly": {"checks": {"fewest": 3}, "arm": "untrained"},
    }
    path = folder / "reordered.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def nights(experiment: Path) -> list[Night]:
    """Two nights."""
    result: list[Night] = retrain(str(experiment), first=DAYS[3], last=DAYS[4])
    return result


def test_what_wins_on_the_validation_days_is_served(own_home: Path, nights: list[Night]) -> None:
    night = nights[0]
    assert night.champion is not None
    bundle = open_bundle(night.champion.bundle.folder)
    unrenewed = "joint was not renewed: nights do not train the ensemble joined"
    assert (night.decision, night.unrenewed) == ("promoted", unrenewed)
    assert (bundle.mode, bundle.name) == ("reranked", "again")  # an untrained arm finds nothing by itself
    hits = answer(bundle, SearchQuery(query="anna", k=10))
    assert len({hit.document_id for hit in hits}) == 10
    recalls = [json.loads(file.read_text())["recalls"] for file in own_home.glob("artifacts/choose_mode-*/mode.json")]
    reranked = [recall["reranked"] for recall in recalls if "reranked" in recall]
    assert len(reranked) >= 2  # the cascade and the ranker of a night


def test_the_renewed_cascade_answers_and_is_taken_back(nights: list[Night]) -> None:
    promoted = [night for night in nights if night.decision == "promoted"]
    model = open_bundle(bundle_of(models_of("reordered"), None))
    assert model.mode == open_bundle(promoted[-1].champion.bundle.folder).mode  # type: ignore[union-attr]
    if len(promoted) > 1:
        roll_back("reordered")
        assert bundle_of(models_of("reordered"), None) == promoted[0].champion.bundle.folder  # type: ignore[union-attr]


def test_a_night_serves_its_arm_and_what_reorders_its_lists(experiment: Path) -> None:
    spec = load_experiment(experiment)
    served = serving_of(spec, "untrained")
    assert [*served.arms] == ["untrained", "trained"]
    assert ([*served.cascades], [*served.rankers]) == (["again"], ["ranked"])
    assert [*serving_of(spec, "trained").combined_lists] == []
