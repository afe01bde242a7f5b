"""Thirty nights over a small drifting world: recall of the nightly champion and of a model that is never retrained.

    python -m benchmarks.thirty_nights FOLDER [nights]

FOLDER must be new; the log, EBR_HOME, nights.json and nights.png are written there. Every night is a run of the nightly
flow. On one day three quarters of the clicks are lost; later one champion is rolled back. The first night's champion
also answers each day's searches, as a model that is never retrained.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

WARMING = 6  # days before the first night
POISONED_NIGHT, ROLLED_BACK_NIGHT = 12, 20  # nights, from 0
EXPERIMENT: dict[str, Any] = {
    "evaluation": {"searches": 2000, "validation_searches": 500, "ks": [1, 10]},
    "arms": {
        "softmax": {
            "loss": {"kind": "softmax"},
            "negatives": {"random": 0, "in_batch": "all"},
            "groups": {"place": {"kind": "values", "searches": ["city"], "documents": ["city"]}},
            "towers": {"dimensions": 64},
            "training": {"batch_size": 256, "epochs": 4},
        }
    },
    "indexes": {"tuned": {"kind": "ivf", "code": "flat", "target": 0.95}},
}


def main(folder: Path, nights: int) -> None:
    """Simulate the world, run its nights, print a line for each, and write nights.json and nights.png."""
    import yaml

    from data.world.simulate import simulate
    from data.world.world_config import World
    from flows.nightly import retrain
    from tasks.nights.champion_service import roll_back
    from tasks.report.plots import freshness

    world = World(searches=800 * (WARMING + nights), documents=6000, days=WARMING + nights, seed=5, born=0.5, trend=0.4)
    for _ in simulate(world, folder / "log"):
        pass
    days = [world.start + timedelta(WARMING + number) for number in range(nights)]
    if nights > POISONED_NIGHT:
        lose_clicks(next((folder / "log" / "results").glob(f"*{days[POISONED_NIGHT]}/part.parquet")))
    tables = {table: str(folder / "log" / table / "*" / "*.parquet") for table in ("searches", "results")}
    logs = {"layout": "tables", "documents": str(folder / "log" / "documents.parquet"), **tables}
    (folder / "drift.yaml").write_text(yaml.safe_dump({"logs": logs, **EXPERIMENT}))
    lines = []
    for number, day in enumerate(days):
        if number == ROLLED_BACK_NIGHT:
            rollback = roll_back("drift")
            lines[-1]["rolled_back"] = True
            print(f"{day}  before the night: {rollback.reason}", flush=True)
        state = retrain(str(folder / "drift.yaml"), day=day, return_state=True)
        [night] = state.result(raise_on_failure=False)
        lines.append(night_line(night) | {"never": recall_of_first(folder / "drift.yaml", night)})
        print(json.dumps(lines[-1]), flush=True)
        (folder / "nights.json").write_text(json.dumps(lines, indent=1))
    freshness(lines, "recall@10").savefig(folder / "nights.png", dpi=130)
    print(summary(lines))


def lose_clicks(path: Path) -> None:
    """Remove the clicks of three quarters of a day's searches from its file."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = pq.read_table(path, partitioning=None)
    clicked = pc.and_(rows["clicked"], pc.equal(pc.bit_wise_and(rows["search_id"], 3), 0))
    pq.write_table(rows.set_column(rows.column_names.index("clicked"), "clicked", clicked), path)


def night_line(night: Any) -> dict[str, Any]:
    """A night as a line of the plot: the recall of that day's champion and of the challenger, and the decision."""
    champion_recall = night.champion_recall if night.champion_recall is not None else night.recall
    return {
        "day": str(night.day),
        "decision": night.decision,
        "reason": night.reason,
        "training": night.training,
        "champion": champion_recall,
        "challenger": night.recall,
        "bound": night.against[0].bound if night.against else None,
        "rolled_back": False,
    }


def recall_of_first(experiment: Path, night: Any) -> float | None:
    """The recall of the first night's champion on the same searches; None if the night has no recall."""
    import numpy as np

    from data.experiment.experiment_file import load_experiment
    from flows.challenger import NightPlan, measure_champion
    from flows.sources import Source
    from tasks.log_stages import files_of, sample
    from tasks.nights.night_records import champions_of, read_nights

    if night.recall is None:
        return None
    spec = load_experiment(experiment)
    evaluation, judged_from = spec.evaluation, spec.logs.judged_from
    test = sample.fn(night.log, "test", evaluation.searches, judged_from)
    source = Source(night.log, None, files_of(spec.logs, None))
    champion = champions_of(read_nights(experiment.stem))[0]
    plan = NightPlan(experiment.stem, spec, None, night.day, [], {}, False)
    artifact = measure_champion(plan, source, test, champion)
    return float(np.load(artifact.folder / "recall.npy").mean())


def summary(lines: list[dict[str, Any]]) -> str:
    """The numbers of decisions, and the mean recalls of the first and the last third of the judged nights."""
    judged = [line for line in lines[1:] if line["never"] is not None]
    third = max(len(judged) // 3, 1)
    counts = {
        name: sum(line["decision"] == name for line in lines) for name in ("promoted", "kept", "refused", "failed")
    }
    summary_lines = [str(counts)]
    for name, nights in (("first", judged[:third]), ("last", judged[-third:])):
        means = {key: sum(line[key] for line in nights) / len(nights) for key in ("champion", "challenger", "never")}
        summary_lines.append(
            f"{name} {len(nights)} judged nights: " + ", ".join(f"{key} {value:.4f}" for key, value in means.items())
        )
    return "\n".join(summary_lines)


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    place.mkdir(parents=True)
    os.environ["EBR_HOME"] = str(place / "home")
    from tasks.home import prepare_environment

    prepare_environment()  # before prefect is imported
    main(place, int(sys.argv[2]) if len(sys.argv) > 2 else 30)
