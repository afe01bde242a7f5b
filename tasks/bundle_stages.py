"""From what a run made to models that can be asked: a bundle for each arm, and which of them is the champion."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from prefect import task

from data import extracted_log
from ebr_core.errors import InputError
from ebr_core.search.deduped_index import saved_as
from ebr_core.serving.model_bundle import ASKED, CONTEXT, WEIGHTS, as_rows, open_bundle, seal, write_terms
from ebr_core.text.terms import index_terms
from tasks.artifacts import stage
from tasks.eval_sets import read_sample
from tasks.home import artifacts, home
from tasks.hybrid_stages import read_documents, texts_of
from tasks.kinds import (
    BuiltIndex,
    BundleTables,
    CalibratedRadius,
    EnsembleWeights,
    EvalSet,
    Log,
    ModelBundle,
    TrainedTowers,
    Vectors,
)
from tasks.progress import showing

CANARIES = 20


@stage(BundleTables)
def tabulate(folder: Path, log: Log, evaluated: EvalSet) -> None:
    """What every bundle of a log holds: documents alive, their terms, searchers, canary queries with their context."""
    sample = read_sample(evaluated)
    documents = read_documents(log, sample.candidates)
    pq.write_table(documents, folder / "documents.parquet")
    write_terms(index_terms(texts_of(documents)), folder)
    pq.write_table(extracted_log.read(log.folder, "searchers"), folder / "searchers.parquet")
    _, first = np.unique(sample.searches["query_row"], return_index=True)
    chosen = np.sort(first)[:CANARIES]
    searches = pq.read_table(log.folder / "searches.parquet").take(sample.searches["search_row"][chosen])
    queries = pq.read_table(log.folder / "queries.parquet")["query"].take(searches["query_row"])
    searchers = pq.read_table(log.folder / "searchers.parquet")["searcher_id"].take(searches["searcher_row"])
    columns = {"query": queries, "searcher_id": searchers} | {name: searches[name] for name in CONTEXT[1:]}
    asked = pa.table([columns[name] for name in ASKED.names], ASKED)
    pq.write_table(asked.append_column("at", pa.array(chosen)), folder / "asked.parquet")


@stage(ModelBundle)
def bundle(
    folder: Path,
    tables: BundleTables,
    evaluated: EvalSet,
    towers: list[TrainedTowers],
    vectors: Vectors,
    index: BuiltIndex,
    radius: CalibratedRadius,
    weights: EnsembleWeights | None,
    arm: str,
    seed: int,
) -> None:
    """A folder that can be asked: see ebr_core.serving.model_bundle. It is opened once before it counts as made.

    towers: one, or the parts of an ensemble, which has weights.
    """
    for at, part in enumerate(towers):
        into = folder / "towers" if weights is None else folder / "towers" / str(at)
        into.mkdir(parents=True)
        for path in part.folder.iterdir():
            if path.suffix in (".safetensors", ".json", ".npy"):
                _link(path, into / path.name)
    if weights is not None:
        _link(weights.folder / WEIGHTS, folder / "towers" / WEIGHTS)
    for path in tables.folder.iterdir():
        if path.suffix in (".parquet", ".npy") and path.name != "asked.parquet":
            _link(path, folder / path.name)
    for path in saved_as(index.folder):
        _link(path, folder / path.name)
    if (radius.folder / "radius.json").exists():
        _link(radius.folder / "radius.json", folder / "radius.json")
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")[read_sample(evaluated).candidates]
    np.save(folder / "vectors.npy", documents)
    asked = pq.read_table(tables.folder / "asked.parquet")
    measured = as_rows(np.load(vectors.folder / "queries.npy")[..., asked["at"].to_numpy(), :])
    kept = pa.FixedSizeListArray.from_arrays(pa.array(measured.ravel()), measured.shape[1])
    pq.write_table(asked.drop_columns("at").append_column("vector", kept), folder / "canaries.parquet")
    its = json.loads((index.folder / "manifest.json").read_text())
    if its["vectors"] != vectors.digest:
        raise ValueError(f"this index belongs to vectors {its['vectors']}, not to {vectors.digest}")
    made_by = [part.digest for part in towers]
    told = {"arm": arm, "seed": seed, "towers": made_by, "index": its["spec"], "setting": its["setting"]}
    seal(folder, told)
    with showing(f"bundle {arm}", 1):
        open_bundle(folder)


def _link(source: Path, target: Path) -> None:
    """The same file under another name where the file system allows it: artifacts do not change."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


@task(name="publish_champion")
def publish_champion(experiment: str, bundles: dict[str, ModelBundle], recalls: dict[str, float]) -> str | None:
    """Names the arm with the highest validation recall (never the test's) champion, and says where all bundles are.

    The pages and the command line read EBR_HOME/models/<experiment>.json; it is replaced in one step.
    """
    if not bundles:
        return None
    champion = max(sorted(bundles), key=lambda arm: recalls[arm])
    told = {
        "experiment": experiment,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "champion": champion,
        "models": {
            arm: {"bundle": bundles[arm].folder.name, "validation_recall": recalls[arm]}
            for arm in sorted(bundles, key=lambda arm: -recalls[arm])
        },
    }
    publish(experiment, told)
    return champion


def publish(experiment: str, told: dict[str, Any]) -> None:
    """Replaces what is said of an experiment's models."""
    folder = home() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f".{experiment}.{os.getpid()}"
    written.write_text(json.dumps(told, indent=1))
    written.replace(folder / f"{experiment}.json")


def models_of(experiment: str | None) -> dict[str, Any]:
    """What publish_champion wrote of an experiment, by default of the one that ran last. Errors: none has run."""
    folder = home() / "models"
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if experiment is not None:
        files = [path for path in files if path.stem == experiment]
    if not files:
        there = ", ".join(sorted(path.stem for path in folder.glob("*.json"))) or "none yet"
        asked = f"no model of experiment {experiment!r}" if experiment else "no model"
        raise InputError(f"{asked} under {home()} (there are: {there}); run an experiment with arms first: ebr run …")
    told: dict[str, Any] = json.loads(files[-1].read_text())
    return told


def bundle_of(told: dict[str, Any], arm: str | None) -> Path:
    """The folder of an arm's bundle, by default the champion's. Errors: no such arm."""
    arm = arm or told["champion"]
    if arm not in told["models"]:
        raise InputError(f"no model {arm!r} of {told['experiment']}; there are {', '.join(told['models'])}")
    return artifacts() / str(told["models"][arm]["bundle"])
