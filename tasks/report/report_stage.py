"""The report of a run: what its result files say, as one HTML page and the same in Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.experiment import Experiment
from data.schemas import COSTS
from ebr_core.frozen import Frozen
from tasks.artifacts import LIBRARIES, Artifact, stage
from tasks.ensembles import Joined, weighed
from tasks.feedback import Told, told_of
from tasks.ranking import RankerTrained, trained_of
from tasks.report.page import as_html, as_markdown
from tasks.report.result import read
from tasks.report.sections import blocks, pictures

RESULTS = ("results.parquet", "per_search.parquet", "checks.json")
MORE_LIBRARIES = ("matplotlib", "mlflow", "prefect", "pydantic", "scipy")


class Spent(Frozen):
    """Something that was made for an arm, whose folder says what it cost."""

    arm: str
    seed: int | None
    index: str | None
    made: Artifact


@stage
def report(
    folder: Path,
    experiment: str,
    asked: Experiment,
    log: Artifact,
    evaluated: Artifact,
    results: Artifact,
    audited: Artifact,
    spent: list[Spent],
    failures: dict[str, str],
    joined: list[Joined],
    rankers: list[RankerTrained],
    feedback: list[Told],
) -> None:
    """All result files of a run in one folder that needs no other, and the report of them."""
    for name in RESULTS:
        shutil.copyfile(results.folder / name, folder / name)
    shutil.copyfile(audited.folder / "audit.json", folder / "audit.json")
    shutil.copyfile(log.folder / "report.json", folder / "data.json")
    shutil.copyfile(evaluated.folder / "counts.json", folder / "counts.json")
    pq.write_table(_searches(log, evaluated), folder / "searches.parquet")
    pq.write_table(_costs(spent), folder / "costs.parquet")
    (folder / "experiment.yaml").write_text(asked.shown())
    run = {
        "experiment": experiment,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "log": log.folder.name,
        "sample": evaluated.folder.name,
        "results": results.folder.name,
        "failures": failures,
        "versions": _versions(),
    }
    (folder / "run.json").write_text(json.dumps(run, indent=1))
    told = [{"arm": each.arm, "seed": each.seed} | weighed(each.weights) for each in joined]
    (folder / "ensembles.json").write_text(json.dumps(told, indent=1))
    told = [{"arm": each.arm, "seed": each.seed} | trained_of(each.ranker) for each in rankers]
    (folder / "rankers.json").write_text(json.dumps(told, indent=1))
    (folder / "feedback.json").write_text(json.dumps([told_of(each) for each in feedback], indent=1))
    write(folder, folder)


def write(run: Path, into: Path) -> None:
    """report.html, report.md and its pictures, from the result files of a run alone."""
    result = read(run)
    title = f"{result.run['experiment']}: which arm retrieves best"
    page = blocks(result)
    into.mkdir(parents=True, exist_ok=True)
    (into / "report.html").write_text(as_html(title, page), encoding="utf-8")
    (into / "report.md").write_text(as_markdown(title, page), encoding="utf-8")
    for picture in pictures(page):
        (into / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")


def _searches(log: Artifact, evaluated: Artifact) -> pa.Table:
    """What `ebr compare` needs to know of each sampled search: who, where, and that it is the same."""
    columns = ["search_row", "search_id", "query_row", "searcher_row", "session_row"]
    table = pq.read_table(evaluated.folder / "searches.parquet", columns=columns)
    queries = pq.read_table(log.folder / "queries.parquet")["query"]
    return table.append_column("query", queries.take(table["query_row"]))


def _costs(spent: list[Spent]) -> pa.Table:
    """A row for each number in a costs.json."""
    rows: list[dict[str, Any]] = []
    for each in spent:
        file = each.made.folder / "costs.json"
        numbers = json.loads(file.read_text()) if file.exists() else {}
        who = {"arm": each.arm, "seed": each.seed, "index": each.index, "stage": each.made.stage}
        rows += [who | {"cost": name, "value": float(value)} for name, value in numbers.items()]
    return pa.Table.from_pylist(rows, COSTS)


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in sorted({*LIBRARIES, *MORE_LIBRARIES}, key=str.lower)}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return {
        "ebr": importlib.metadata.version("ebr"),
        "python": platform.python_version(),
        **versions,
        "machine": machine,
    }
