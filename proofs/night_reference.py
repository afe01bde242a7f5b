"""Undisturbed nights over a small simulated world, which killed nights are compared with."""

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
from proofs.night_outcomes import NAME, digests_of, night_state, steps_done

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
    """The outcome after each undisturbed night, and the seconds that the night spent at each step."""

    experiment: Path
    outcomes: dict[date, dict[str, Any]]
    stages: dict[date, int]
    step_seconds: dict[date, dict[int, float]]
    files: dict[str, set[str]]


def write_world(folder: Path, nights: int) -> tuple[Path, list[date]]:
    """Simulate a small world; return its experiment file and the days of its nights."""
    from data.world.simulate import simulate
    from data.world.world_config import World

    world_ = World(searches=500 * (WARMING + nights), documents=500, days=WARMING + nights, seed=1)
    for _ in simulate(world_, folder / "log"):
        pass
    tables = {table: str(folder / "log" / table / "*" / "*.parquet") for table in ("searches", "results")}
    path = folder / f"{NAME}.yaml"
    logs = {"layout": "tables", "documents": str(folder / "log" / "documents.parquet"), **tables}
    path.write_text(yaml.safe_dump({"logs": logs, **EXPERIMENT}))
    return path, [world_.start + timedelta(WARMING + night) for night in range(nights)]


def run_reference_nights(home: Path, experiment: Path, days: list[date]) -> NightReference:
    """Run the nights by one command; return their outcomes and the times of their steps."""
    reference, earlier_folders = NightReference(experiment, {}, {}, {}, {}), set[str]()
    (home / "artifacts").mkdir(parents=True)
    process, step_start = (
        start(home, "nightly", str(experiment), "--from", str(days[0]), "--to", str(days[-1])),
        time.time(),
    )
    for day in days:
        reference.step_seconds[day], step, record = {}, 0, home / "nights" / NAME / f"{day}.json"
        while True:
            assert process.poll() in (None, 0), f"nights ended with code {process.returncode}: {log_of(home)}"
            if (current := steps_done(home, day, len(earlier_folders))) > step:
                reference.step_seconds[day][step] = time.time() - step_start
                step, step_start = current, time.time()
            if record.exists():
                break
            time.sleep(PAUSE_S)
        reference.step_seconds[day][step] = PAUSE_S
        reference.outcomes[day] = night_state(home)
        folders_so_far = {
            name for name, path in folders(home).items() if path.stat().st_mtime <= record.stat().st_mtime
        }
        reference.stages[day], earlier_folders = len(folders_so_far - earlier_folders), folders_so_far
        reference.outcomes[day]["bytes"] = folders_so_far
    assert process.wait() == 0, f"nights ended with code {process.returncode}: {log_of(home)}"
    reference.files.update({name: files_of(path) for name, path in folders(home).items()})
    digests = digests_of(home)
    for outcome in reference.outcomes.values():
        outcome["bytes"] = {file: digest for file, digest in digests.items() if file.split("/")[0] in outcome["bytes"]}
    return reference
