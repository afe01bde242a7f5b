"""Two nights on the ubi layout, with clicks and purchases in NDJSON files for each day; the second night reads only the
files of its day."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from data.experiment.log_config import Split, Ubi
from data.extract import extract
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.serving.model_bundle import open_bundle
from flows.nightly import retrain
from tasks.home import artifacts, home
from tasks.nights.night_records import Night, champions_of, read_nights

pytestmark = pytest.mark.more

WORLD = World(searches=900, documents=150, days=5, seed=2)
DAYS = [date(2026, 1, 5 + at) for at in range(5)]
WEIGHTS = {"click": 1, "purchase": 5}
PATHS = {"queries": "queries-*.ndjson", "events": "events-*.ndjson", "documents": "documents.parquet"}


def simulate_as_ubi(folder: Path) -> None:
    """Simulate a tiny world and write its searches and results as queries and events, a file for each day."""
    for _ in simulate(WORLD, folder / "world"):
        pass
    shutil.copy(folder / "world" / "documents.parquet", folder / "documents.parquet")
    for day in DAYS:
        searches, results = (
            pq.read_table(folder / "world" / table / f"day={day}" / "part.parquet", partitioning=None).to_pylist()
            for table in ("searches", "results")
        )
        shown: dict[int, list[str]] = {}
        for row in results:
            shown.setdefault(row["search_id"], []).append(row["document_id"])
        write(folder / f"queries-{day}.ndjson", (query(row, shown.get(row["search_id"], [])) for row in searches))
        sessions = {row["search_id"]: row["session_id"] for row in searches}
        clicks = [event(row, sessions[row["search_id"]]) for row in results if row["clicked"]]
        bought = [click | {"action_name": "purchase"} for click in clicks[::3]]
        write(folder / f"events-{day}.ndjson", [*clicks, *bought])


def query(search: dict[str, Any], shown: list[str]) -> dict[str, Any]:
    return {
        "query_id": str(search["search_id"]),
        "client_id": search["searcher_id"],
        "user_query": search["query"],
        "timestamp": f"{search['searched_at'].isoformat()}Z",
        "query_response_hit_ids": shown,
    }


def event(result: dict[str, Any], session: int) -> dict[str, Any]:
    attributes = {"object": {"object_id": result["document_id"]}, "position": {"ordinal": result["position"]}}
    ids = {"query_id": str(result["search_id"]), "session_id": str(session)}
    return {"action_name": "click", **ids, "event_attributes": attributes}


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def spoil(path: Path) -> None:
    """Overwrite the bytes of a file but keep its size, inode and time of change."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"\0" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_ino) == (before.st_size, before.st_ino)


@pytest.fixture(scope="module")
def nights(own_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Night]]:
    """(the intact log, the experiment, two nights on a copy of the log). The files of the first night are spoilt before
    the second."""
    whole, folder = (tmp_path_factory.mktemp(name) for name in ("whole", "log"))
    simulate_as_ubi(whole)
    content = {
        "logs": {"layout": "ubi", "actions": WEIGHTS} | {table: str(folder / name) for table, name in PATHS.items()},
        "evaluation": {"resamples": 100, "ks": [1, 10]},
        "arms": {
            "softmax": {
                "loss": {"kind": "softmax"},
                "negatives": {"random": 0, "in_batch": "all"},
                "towers": {"dimensions": 16},
                "training": {"batch_size": 128, "epochs": 1},
            }
        },
    }
    (folder / "shop.yaml").write_text(yaml.safe_dump(content))
    nights: list[Night] = []
    first_files = [path for path in sorted(whole.glob("*.*")) if str(DAYS[4]) not in path.name]
    for path in first_files:
        shutil.copy(path, folder)
        os.utime(folder / path.name, (time.time() - 100,) * 2)
    nights += retrain(str(folder / "shop.yaml"), return_state=True).result(raise_on_failure=False)
    for path in folder.glob("*.ndjson"):
        spoil(path)
    for path in whole.glob(f"*-{DAYS[4]}.ndjson"):
        shutil.copy(path, folder)
    nights += retrain(str(folder / "shop.yaml"), return_state=True).result(raise_on_failure=False)
    return whole, folder / "shop.yaml", nights


def test_two_nights_on_ubi(nights: tuple[Path, Path, list[Night]]) -> None:
    first, second = nights[2]
    assert (first.day, first.decision, first.training) == (DAYS[3], "promoted", "full")
    assert (second.day, second.training) == (DAYS[4], "warm")
    assert second.decision in ("promoted", "kept")
    assert read_nights("shop") == [first, second]
    assert open_bundle(champions_of([first, second])[-1].bundle.folder).name == "softmax"


def test_the_second_night_reads_only_its_own_day(nights: tuple[Path, Path, list[Night]], tmp_path: Path) -> None:
    """Its log has the same bytes as the log before the old files were spoilt."""
    whole, _, (_, second) = nights
    logs = Ubi(layout="ubi", actions=WEIGHTS, **{table: str(whole / name) for table, name in PATHS.items()})
    split = Split(validation_from=str(DAYS[3]), test_from=str(DAYS[4]), until="2026-01-10")
    extract(logs, split, tmp_path)
    assert second.log is not None
    assert len(list(tmp_path.iterdir())) == 9
    for path in tmp_path.iterdir():
        assert (second.log.folder / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(list(artifacts().glob("partition-*"))) == 2 * len(DAYS)


def test_running_the_same_day_again_changes_nothing(nights: tuple[Path, Path, list[Night]]) -> None:
    _, experiment, nights_before = nights
    before = {path: path.stat().st_mtime_ns for folder in ("artifacts", "nights", "models") for path in _files(folder)}
    assert retrain(str(experiment)) == [nights_before[1]]
    assert before == {
        path: path.stat().st_mtime_ns for folder in ("artifacts", "nights", "models") for path in _files(folder)
    }


def _files(folder: str) -> list[Path]:
    return [path for path in (home() / folder).rglob("*") if path.is_file() and path.name != ".lock"]
