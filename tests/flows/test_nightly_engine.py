"""Nights whose champion answers in a search engine, too: a real LanceDB, a real Prefect server and MLflow."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from data.experiment.experiment_file import load_experiment
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import model_digest
from flows.app.status import describe_status
from flows.nightly import retrain
from tasks.home import home
from tasks.nights.champion_service import roll_back
from tasks.nights.night_records import Night, describe_night, read_nights
from tasks.served_models import models_of

pytestmark = pytest.mark.more
DAYS = [date(2026, 1, 5 + at) for at in range(6)]
SECRET = "hunter2-5d1f0c"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "log"
    for _ in simulate(World(searches=2500, documents=300, days=6, seed=2), folder):
        pass
    return folder


def write_experiment(logs: Path, path: Path, export: dict[str, str] | None) -> Path:
    """An experiment whose nights promote any challenger that is not clearly worse."""
    tables = {name: str(logs / name / "*" / "*.parquet") for name in ("searches", "results")}
    content = {
        "logs": {"layout": "tables", **tables, "documents": str(logs / "documents.parquet")},
        "evaluation": {"resamples": 200, "ks": [1, 10]},
        "arms": {"softmax": {"loss": {"kind": "softmax"}, "negatives": {"random": 0, "in_batch": "all"}}},
        "nightly": {"tolerance": 0.9} | ({"export": export} if export else {}),
    }
    content["arms"]["softmax"] |= {"towers": {"dimensions": 16}, "training": {"batch_size": 256, "epochs": 2}}
    path.write_text(yaml.safe_dump(content))
    return path


def live_model(folder: Path) -> str:
    """The digest of the model that answers in LanceDB."""
    import json

    import lancedb

    tables = lancedb.connect(str(folder))
    name = tables.open_table("ebr_shop").to_arrow()["table"][0].as_py()
    facts = json.loads(tables.open_table(name).schema.metadata[b"ebr"])
    return str(facts["ebr"]["model"])


def digest_of_night(night: Night) -> str:
    assert night.champion
    return model_digest(night.champion.bundle.folder)


def test_the_champion_of_each_night_answers_in_the_engine(
    prefect_server: None, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, engine = (
        write_experiment(logs, tmp_path / "shop.yaml", {"to": "lancedb", "url": "engine"}),
        tmp_path / "engine",
    )
    first, second = retrain(str(path), first=DAYS[2], last=DAYS[3])
    assert (first.decision, second.decision) == ("promoted", "promoted")
    assert live_model(engine) == digest_of_night(second) != digest_of_night(first)  # the folder is beside the file
    assert second.engine
    assert second.engine.measured
    assert second.engine.measured.recall >= 0.95
    assert second.engine.measured.searches > 100  # of the newest day
    assert "lancedb: the champion answers as ebr_shop: index recall@10 1.000" in describe_night(second)
    assert "lancedb: the champion answers as ebr_shop" in describe_status("shop", None)

    engine.rename(tmp_path / "aside")  # the engine is gone, and something else lies there
    engine.write_text("not a folder")
    state = retrain(str(path), DAYS[4], return_state=True)
    assert state.is_failed()
    (third,) = state.result(raise_on_failure=False)
    assert third.decision == "promoted"
    assert models_of("shop")["night"] == str(DAYS[4])  # here it answers
    assert "lancedb: the champion does not answer there as ebr_shop: lancedb: " in describe_night(third)
    assert read_nights("shop")[-1] == third
    engine.unlink()
    (tmp_path / "aside").rename(engine)
    assert live_model(engine) == digest_of_night(second)  # the champion before goes on answering

    (again,) = retrain(str(path), DAYS[4])  # the same night, once the engine is there
    assert again.number == third.number
    assert not again.is_behind
    assert live_model(engine) == digest_of_night(third)
    assert retrain(str(path), DAYS[4]) == [again]

    back = roll_back("shop")
    assert back.engine
    assert not back.engine.failure
    assert live_model(engine) == digest_of_night(second)
    first_again = roll_back("shop")  # the engine has it no more, so it is written again
    assert first_again.engine
    assert first_again.engine.measured
    assert live_model(engine) == digest_of_night(first)


def test_an_address_from_the_environment_is_kept_out_of_the_home(
    prefect_server: None, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_experiment(logs, tmp_path / "hidden.yaml", {"to": "pgvector", "url_from": "SHOP_ENGINE"})
    state = retrain(str(path), DAYS[2], return_state=True)
    (night,) = state.result(raise_on_failure=False)
    assert "the environment variable SHOP_ENGINE is not set" in describe_night(night)
    monkeypatch.setenv("SHOP_ENGINE", f"postgresql://me:{SECRET}@127.0.0.1:1/db")
    state = retrain(str(path), DAYS[2], return_state=True)
    (night,) = state.result(raise_on_failure=False)
    assert night.decision == "promoted"
    assert "Connection refused" in describe_night(night)
    holders = [file for file in home().rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]
    assert holders == []


@pytest.mark.parametrize(
    ("export", "says"),
    [
        ({"to": "lancedb"}, "give exactly one of url and url_from"),
        ({"to": "lancedb", "url": "a", "url_from": "B"}, "give exactly one of url and url_from"),
        ({"to": "pgvector", "url": f"postgresql://me:{SECRET}@h/db"}, "may hold a secret; put it into an environment"),
        ({"to": "pgvector", "url": f"postgresql://h/db?password={SECRET}"}, "may hold a secret"),
        ({"to": "redis", "url": "x"}, "pgvector"),
        ({"to": "lancedb", "url": "a", "alias": "Shop-1"}, "alias"),
    ],
)
def test_an_export_that_cannot_be_meant_is_refused(
    export: dict[str, str], says: str, logs: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says) as raised:
        load_experiment(write_experiment(logs, tmp_path / "bad.yaml", export))
    assert SECRET not in str(raised.value)
