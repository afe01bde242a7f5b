"""The measurement of an engine before it may answer: its recall against exact search, and its latency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.arrays import Float32, Float64
from ebr_core.errors import InputError
from ebr_core.search.nearest import TIE_TOLERANCE, search_exact
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_towers import embed_query_table
from tasks.engines.search_engine import Effort, SearchEngine, Version
from tasks.home import artifacts
from tasks.progress import show_progress

TARGET, AT = 0.95, 10  # unless the model's own index has others
SAMPLE, WARM_UP = 1000, 5  # test searches; queries before the clock starts


class Questions(NamedTuple):
    """Query vectors, and the documents that exact search finds."""

    queries: Float32  # (Q, D), canaries first
    canaries: int
    nearest: Float32  # (Q,) the similarity of the K-th nearest document
    k: int


class Answers(NamedTuple):
    """Of each query, the share of the K nearest that the engine finds, and the time that it took."""

    recalls: Float64  # (Q,)
    seconds: Float64  # (Q,)


class Verification(NamedTuple):
    """What a version of an engine answers, by the cheapest search setting that reaches the target or the last one."""

    effort: Effort
    answers: Answers
    questions: Questions
    target: float


def index_target(bundle: Bundle) -> tuple[float, int]:
    """(the recall that the model's own index was tuned to, its K); .95 at 10 without a target."""
    index = bundle.manifest.get("index") or {}
    target = index.get("target")
    return (TARGET, AT) if target is None else (float(target), int(index.get("at", AT)))


def questions_of(bundle: Bundle, folder: Path, k: int) -> Questions:
    """The canaries of a bundle and up to 1,000 searches of its run's test, without those that have no known word.

    Raises InputError if the model gives a query several vectors. A bundle whose run is not in this home has canaries
    alone.
    """
    canaries = embed_query_table(bundle.towers, pq.read_table(folder / "canaries.parquet"))
    if canaries.ndim == 3:
        raise InputError(
            f"{bundle.name} gives a query {len(canaries)} vectors, and an engine searches by one; choose another model "
            "with --model"
        )
    canaries = canaries[canaries.any(axis=1)]
    queries = np.concatenate([canaries, _test_queries(bundle)])
    k = min(k, len(bundle.vectors))
    _, similarities = search_exact(np.asarray(bundle.vectors), queries, k)
    return Questions(queries, len(canaries), similarities[:, -1], k)


def _test_queries(bundle: Bundle) -> Float32:
    """(S, D) vectors of test searches with a known word, spread evenly over them."""
    none = np.empty((0, bundle.vectors.shape[1]), np.float32)
    files = [path / "queries.npy" for path in artifacts().glob(f"*-{bundle.manifest.get('vectors', '?')}")]
    if not files or not files[0].exists():
        return none
    queries = np.load(files[0], mmap_mode="r")
    known = np.flatnonzero(queries.any(axis=1))
    rows = known[np.unique(np.linspace(0, len(known) - 1, min(SAMPLE, len(known))).astype(np.int64))]
    chosen: Float32 = np.ascontiguousarray(queries[rows], np.float32)
    return chosen


def ask(engine: SearchEngine, version: Version, bundle: Bundle, questions: Questions, effort: Effort) -> Answers:
    """What the engine answers to each query by this setting, after a few that warm it up."""
    found, seconds = [], np.empty(len(questions.queries))
    for query in questions.queries[:WARM_UP]:
        engine.search(version, query, questions.k, effort)
    with show_progress(f"ask {version.name}", len(questions.queries)) as advance:
        for i, query in enumerate(questions.queries):
            began = perf_counter()
            found.append(engine.search(version, query, questions.k, effort))
            seconds[i] = perf_counter() - began
            advance(i + 1, "")
    return Answers(recalls_of(found, bundle, questions), seconds)


def recalls_of(found: Sequence[Sequence[str]], bundle: Bundle, questions: Questions) -> Float64:
    """(Q,) the share of the K nearest documents among those found for each query, by document_id.

    A document that is as near as the K-th nearest counts as one of them, because equal documents are interchangeable;
    one that is found twice counts once.
    """
    distinct = [list(dict.fromkeys(names)) for names in found]
    owners = np.repeat(np.arange(len(found)), [len(names) for names in distinct])
    names = pa.array([name for names in distinct for name in names], pa.string())
    rows = pc.fill_null(pc.index_in(names, bundle.documents["document_id"]), -1).to_numpy(zero_copy_only=False)
    similarities = np.einsum("nd,nd->n", bundle.vectors[rows], questions.queries[owners])
    is_near = (rows >= 0) & (similarities >= questions.nearest[owners] - TIE_TOLERANCE)
    recalls: Float64 = np.minimum(np.bincount(owners, is_near, len(found)), questions.k) / questions.k
    return recalls


def measure_engine(
    engine: SearchEngine, version: Version, bundle: Bundle, folder: Path, target: float | None
) -> Verification:
    """What the version answers. target: by default that of the model's own index. Raises InputError without queries."""
    own_target, k = index_target(bundle)
    target = own_target if target is None else target
    questions = questions_of(bundle, folder, k)
    if not len(questions.queries):
        raise InputError(
            f"{bundle.name} has neither canaries nor test searches with a known word: nothing to verify by"
        )
    for effort in engine.efforts:
        answers = ask(engine, version, bundle, questions, effort)
        if answers.recalls.mean() >= target:
            break
    return Verification(effort, answers, questions, target)
