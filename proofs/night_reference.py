"""Nights that nobody disturbs, over a small simulated world: what killed nights are compared with."""

from __future__ import annotations

import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from proofs.home_artifacts import files_of, folders
from proofs.kill_victims import (
    log_of,
    start,
)
from proofs.night_outcomes import NAME, come, digests_of, told

PAUSE_S = 0.05


WARMING = 3  # days before the first night


EXPERIMENT: dict[str, Any] = {
    "evaluation": {"resamples": 200, "ks": [1, 10]},
    "arms": {
        "softmax": {
            "loss": {"kind": "softmax"},
            "negatives": {"random": 0, "in_batch": "all"},
            "groups": {"place": {"kind": "values", "searches": ["city"], "documents": ["city"]}},
            "towers": {"dimensions": 16},
            "training": {"batch_size": 256, "epochs": 2},
        }
    },
    "nightly": {"tolerance": 0.2, "remember": 1, "full_every": 5, "checks": {"fewest": 60, "days": 60}},
}


class NightReference(NamedTuple):
    """What undisturbed nights made: after each the outcome, and how long it stood at each of its steps."""

    experiment: Path
    outcomes: dict[date, dict[str, Any]]
    stages: dict[date, int]
    lasted: dict[date, dict[int, float]]
    files: dict[str, set[str]]


def world(folder: Path, nights: int) -> tuple[Path, list[date]]:
    """Lives a small world; its experiment file, and the days of its nights."""
    from data.world.simulate import simulate
    from data.world.world_config import World

    small = World(searches=500 * (WARMING + nights), documents=500, days=WARMING + nights, seed=1)
    for _ in simulate(small, folder / "log"):
        pass
    tables = {table: str(folder / "log" / table / "*" / "*.parquet") for table in ("searches", "results")}
    path = folder / f"{NAME}.yaml"
    logs = {"layout": "tables", "documents": str(folder / "log" / "documents.parquet"), **tables}
    path.write_text(yaml.safe_dump({"logs": logs, **EXPERIMENT}))
    return path, [small.start + timedelta(WARMING + at) for at in range(nights)]


def undisturbed(home: Path, experiment: Path, days: list[date]) -> NightReference:
    """Makes the nights by one command, and watches how far each has come when."""
    made, there = NightReference(experiment, {}, {}, {}, {}), set[str]()
    (home / "artifacts").mkdir(parents=True)
    process, since = start(home, "nightly", str(experiment), "--from", str(days[0]), "--to", str(days[-1])), time.time()
    for day in days:
        made.lasted[day], at, record = {}, 0, home / "nights" / NAME / f"{day}.json"
        while True:
            assert process.poll() in (None, 0), f"nights ended with code {process.returncode}: {log_of(home)}"
            if (now := come(home, day, len(there))) > at:
                made.lasted[day][at] = time.time() - since
                at, since = now, time.time()
            if record.exists():
                break
            time.sleep(PAUSE_S)
        made.lasted[day][at] = PAUSE_S
        made.outcomes[day] = told(home)
        until_then = {name for name, path in folders(home).items() if path.stat().st_mtime <= record.stat().st_mtime}
        made.stages[day], there = len(until_then - there), until_then
        made.outcomes[day]["bytes"] = until_then
    assert process.wait() == 0, f"nights ended with code {process.returncode}: {log_of(home)}"
    made.files.update({name: files_of(path) for name, path in folders(home).items()})
    digests = digests_of(home)
    for outcome in made.outcomes.values():
        outcome["bytes"] = {file: digest for file, digest in digests.items() if file.split("/")[0] in outcome["bytes"]}
    return made
