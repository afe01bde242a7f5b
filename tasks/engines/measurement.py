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
SAMPLE = 1000  # test searches


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
    """(S, D) vectors of the test searches, spread evenly over them."""
    none = np.empty((0, bundle.vectors.shape[1]), np.float32)
    files = [path / "queries.npy" for path in artifacts().glob(f"*-{bundle.manifest.get('vectors', '?')}")]
    if not files or not files[0].exists():
        return none
    queries = np.load(files[0], mmap_mode="r")
    rows = np.unique(np.linspace(0, len(queries) - 1, min(SAMPLE, len(queries))).astype(np.int64))
    chosen: Float32 = np.ascontiguousarray(queries[rows], np.float32)
    return chosen[chosen.any(axis=1)]


def ask(engine: SearchEngine, version: Version, bundle: Bundle, questions: Questions, effort: Effort) -> Answers:
    """What the engine answers to each query by this setting, after a few that warm it up.

    A document that is as near as the K-th nearest counts as one of them: equal documents are interchangeable.
    """
    identities = bundle.documents["document_id"].combine_chunks()
    found, seconds = [], np.empty(len(questions.queries))
    for query in questions.queries[:5]:
        engine.search(version, query, questions.k, effort)
    with show_progress(f"ask {version.name}", len(questions.queries)) as advance:
        for i, query in enumerate(questions.queries):
            began = perf_counter()
            found.append(engine.search(version, query, questions.k, effort))
            seconds[i] = perf_counter() - began
            advance(i + 1, "")
    recalls = np.array([_recall(bundle, questions, i, identities, found[i]) for i in range(len(found))])
    return Answers(recalls, seconds)


def _recall(bundle: Bundle, questions: Questions, i: int, identities: pa.Array, found: Sequence[str]) -> float:
    rows = pc.index_in(pa.array(dict.fromkeys(found), pa.string()), identities).drop_null().to_numpy()
    similarities = bundle.vectors[rows] @ questions.queries[i]
    near = int((similarities >= questions.nearest[i] - TIE_TOLERANCE).sum())
    return min(near, questions.k) / questions.k


def measure_engine(
    engine: SearchEngine, version: Version, bundle: Bundle, folder: Path, target: float | None
) -> tuple[Effort, Answers, Questions, float]:
    """(the cheapest search setting that reaches the target, or the most thorough one, what it answers, the queries, the
    target). target: by default that of the model's own index."""
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
    return effort, answers, questions, target
