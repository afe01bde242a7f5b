"""The report of a run, made from its result files: one HTML page, and the same in Markdown."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.schemas import COSTS
from ebr_core.encoders.pretrained import choose_device
from ebr_core.serving.model_bundle import model_digest
from tasks.artifacts import LIBRARIES, stage
from tasks.engines.engine_recalls import EngineRecall, read_recalls
from tasks.ensemble_stages import read_weights
from tasks.feedback_stages import read_summary
from tasks.finished_run import CostSource, FinishedRun
from tasks.home import home
from tasks.kinds import EvalSet, Log, RunAudit, RunReport, RunResults
from tasks.ranker_stages import read_ranker_summary
from tasks.report.examples import find_examples
from tasks.report.page import as_html, as_markdown
from tasks.report.result import read
from tasks.report.sections import blocks, pictures
from tasks.retrieval_stages import FILTERS, finer_code_of

RESULTS = ("results.parquet", "per_search.parquet", "checks.json")
MORE_LIBRARIES = ("matplotlib", "mlflow", "prefect", "pydantic", "scipy")


@stage(RunReport)
def report(folder: Path, run: FinishedRun, results: RunResults, run_audit: RunAudit) -> None:
    """Write the folder of a run, complete in itself: all its result files, and the report of them."""
    for name in RESULTS:
        shutil.copyfile(results.folder / name, folder / name)
    shutil.copyfile(run_audit.folder / "audit.json", folder / "audit.json")
    shutil.copyfile(run.log.folder / "report.json", folder / "data.json")
    shutil.copyfile(run.searches.folder / "counts.json", folder / "counts.json")
    shutil.copyfile(run.bm25.folder / "bm25.json", folder / "bm25.json")
    pq.write_table(_searches(run.log, run.searches), folder / "searches.parquet")
    pq.write_table(_costs(run.costs), folder / "costs.parquet")
    (folder / "experiment.yaml").write_text(run.spec.to_yaml())
    run_facts = {
        "experiment": run.experiment,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "log": run.log.folder.name,
        "sample": run.searches.folder.name,
        "results": results.folder.name,
        "champion": run.champion,
        "failures": run.failures,
        "finer_codes": _finer_codes(run),
        "filters": list(_filters(run)),
        "looks": run.looks,
        "served": run.served.model_dump() if run.served else None,
        "models": {name: model_digest(bundle.folder) for name, bundle in sorted(run.bundles.items())},
        "versions": _versions(),
    }
    summaries = {
        "ensembles": [{"arm": part.arm, "seed": part.seed} | read_weights(part.weights) for part in run.ensembles],
        "rankers": [{"arm": part.arm, "seed": part.seed} | read_ranker_summary(part.ranker) for part in run.rankers],
        "feedback": [read_summary(part) for part in run.feedback],
    }
    examples = find_examples(run, results)
    for name, content in {"run": run_facts, "courses": _courses(run), "examples": examples, **summaries}.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1))
    write(folder, folder)


def write_again(run: Path, target: Path | None = None) -> Path:
    """The page of a run, written again with the engines that hold its models; by default in EBR_HOME/reports."""
    target = target or home() / "reports" / run.resolve().name
    models: dict[str, str] = json.loads((run / "run.json").read_text()).get("models", {})  # earlier versions: none
    write(run, target, [measured for model in models.values() for measured in read_recalls(model)])
    return target / "report.html"


def write(run: Path, target: Path, engines: Sequence[EngineRecall] = ()) -> None:
    """Write report.html, report.md and its pictures, from the result files of a run, and what was measured of engines
    after it."""
    result = replace(read(run), engines=list(engines))
    title = f"{result.run['experiment']}: which arm retrieves best"
    page = blocks(result)
    target.mkdir(parents=True, exist_ok=True)
    (target / "report.html").write_text(as_html(title, page), encoding="utf-8")
    (target / "report.md").write_text(as_markdown(title, page), encoding="utf-8")
    for picture in pictures(page):
        (target / f"{picture.name}.svg").write_text(picture.svg, encoding="utf-8")


def _searches(log: Log, eval_set: EvalSet) -> pa.Table:
    """The sampled searches with the identities by which `ebr compare` matches and clusters them."""
    columns = ["search_row", "search_id", "query_row", "searcher_row", "session_row"]
    table = pq.read_table(eval_set.folder / "searches.parquet", columns=columns)
    queries = pq.read_table(log.folder / "queries.parquet")["query"]
    return table.append_column("query", queries.take(table["query_row"]))


def _courses(run: FinishedRun) -> list[dict[str, Any]]:
    """The validation recall by epoch of each arm and seed of the experiment, and what ended the training."""
    courses = []
    for trained in run.trained:
        if trained.towers and trained.seed in run.spec.seeds:
            epochs = json.loads((trained.towers.folder / "epochs.json").read_text())
            trials = json.loads((trained.towers.folder / "trials.json").read_text())
            recalls = [{name: epoch[name] for name in ("epoch", "validation_recall")} for epoch in epochs]
            ended = trials["ended"]
            courses.append({"arm": trained.arm, "seed": trained.seed, "ended": ended, "epochs": recalls})
    return courses


def _filters(run: FinishedRun) -> Iterator[dict[str, Any]]:
    """The recall of each index under conditions, of the first seed."""
    for listed in run.lists:
        file = listed.rows.folder / FILTERS
        if listed.seed == run.spec.seeds[0] and file.exists():
            yield from ({"arm": listed.arm, "index": listed.index} | point for point in json.loads(file.read_text()))


def _finer_codes(run: FinishedRun) -> dict[str, str]:
    """Index of an arm and seed → the code that tuning took in place of the experiment's, and why."""
    codes = {
        f"{name} of {run_name}": finer_code_of(index)
        for run_name, by_name in run.indexes.items()
        for name, index in by_name.items()
    }
    return {name: words for name, words in codes.items() if words}


def _costs(sources: Sequence[CostSource]) -> pa.Table:
    """A row for each number in a costs.json."""
    rows: list[dict[str, Any]] = []
    for source in sources:
        file = source.artifact.folder / "costs.json"
        numbers = json.loads(file.read_text()) if file.exists() else {}
        labels = {"arm": source.arm, "seed": source.seed, "index": source.index, "stage": source.artifact.stage}
        rows += [labels | {"cost": name, "value": float(value)} for name, value in numbers.items()]
    return pa.Table.from_pylist(rows, COSTS)


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in sorted({*LIBRARIES, *MORE_LIBRARIES}, key=str.lower)}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, device {choose_device('auto').type}"
    return {
        "ebr": importlib.metadata.version("ebr"),
        "python": platform.python_version(),
        **versions,
        "machine": machine,
    }
