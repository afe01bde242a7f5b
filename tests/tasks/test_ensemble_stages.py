"""The stages of ensembles and cascades on small vectors: weights, concatenated vectors, lists, and errors."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.rerank.cascade import Cascade
from ebr_core.search.ensemble_vectors import concat_documents, concat_queries
from ebr_core.search.index_specs import Exact
from ebr_core.search.nearest import search_exact
from tasks.artifacts import Artifact
from tasks.ensemble_stages import choose_weights, concat_vectors, read_weights, retrieve_cascade
from tasks.retrieval_stages import build_index, retrieve

SEARCHES, DOCUMENTS = 60, 200


def units(n: int, d: int, seed: int) -> Float32:
    """Vectors (n, D) of unit length in all directions."""
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _artifact(stage: str, digest: str) -> Artifact:
    artifact = Artifact(stage=stage, digest=digest)
    artifact.folder.mkdir(parents=True, exist_ok=True)
    return artifact


def _vectors(digest: str, documents: Float32, queries: Float32) -> Artifact:
    artifact = _artifact("embed_texts", digest)
    np.save(artifact.folder / "documents.npy", documents)
    np.save(artifact.folder / "queries.npy", queries)
    return artifact


def _towers(digest: str, seconds: float) -> Artifact:
    artifact = _artifact("train_arm", digest)
    costs = {"train_s": seconds, "pairs": 100, "pairs_per_s": 9, "table_rows": 7}
    (artifact.folder / "costs.json").write_text(json.dumps(costs))
    return artifact


@pytest.fixture(scope="module")
def eval_set() -> Artifact:
    """An evaluation set in which each search has one target, and every second document is alive."""
    artifact = _artifact("sample", "ensembles")
    rows = np.arange(SEARCHES, dtype=np.int32)
    searches = {"search_row": rows, "query_row": rows, "searcher_row": rows, "session_row": rows}
    pq.write_table(pa.table(searches), artifact.folder / "searches.parquet")
    candidates = np.arange(0, DOCUMENTS, 2, dtype=np.int32)
    pq.write_table(
        pa.table({"document_row": candidates, "clicks": np.zeros(len(candidates), np.int64)}),
        artifact.folder / "candidates.parquet",
    )
    owners = {"targets": ["clicked"] * SEARCHES, "search_row": rows, "document_row": candidates[rows]}
    pq.write_table(pa.table(owners | {"grade": np.ones(SEARCHES, np.float32)}), artifact.folder / "targets.parquet")
    pq.write_table(pa.table({"targets": owners["targets"], "search_row": rows}), artifact.folder / "slices.parquet")
    return artifact


@pytest.fixture(scope="module")
def parts() -> list[Artifact]:
    """Two arms, each with noise of its own about the same documents."""
    arms = []
    for at, (d, noise) in enumerate(((8, 1.2), (6, 0.8))):
        documents = units(DOCUMENTS, d, at)
        offsets = noise * np.random.default_rng(at).standard_normal((SEARCHES, d)).astype(np.float32)
        queries = documents[0 : 2 * SEARCHES : 2] + offsets
        arms.append(_vectors(f"part{at}", documents, queries / np.linalg.norm(queries, axis=1, keepdims=True)))
    return arms


def _load(vectors: Artifact) -> tuple[Float32, Float32]:
    return np.load(vectors.folder / "documents.npy"), np.load(vectors.folder / "queries.npy")


def test_an_ensemble_is_searched_like_an_arm_and_has_the_recall_of_its_summary(
    eval_set: Artifact, parts: list[Artifact]
) -> None:
    weights = choose_weights.fn([_towers("a", 2.0), _towers("b", 3.0)], parts, eval_set, None, 1)
    summary = read_weights(weights)
    assert summary["chosen"]
    assert summary["recall"] >= max(summary["equal"], summary["alone"][0])
    assert json.loads((weights.folder / "costs.json").read_text())["train_s"] == 5
    concatenated = concat_vectors.fn(parts, weights)
    documents, queries = _load(concatenated)
    part_vectors = [_load(part) for part in parts]
    np.testing.assert_array_equal(documents, concat_documents([vectors[0] for vectors in part_vectors]))
    np.testing.assert_array_equal(queries, concat_queries([vectors[1] for vectors in part_vectors], summary["weights"]))
    index = build_index.fn(concatenated, eval_set, Exact(), 1)
    rows = np.load(retrieve.fn(concatenated, index, eval_set, 10, 1).folder / "retrieved.npy")
    recall = (rows == 2 * np.arange(SEARCHES)[:, None]).any(1).mean()
    assert recall == pytest.approx(summary["recall"])


def test_given_weights_are_kept(eval_set: Artifact, parts: list[Artifact]) -> None:
    summary = read_weights(choose_weights.fn([_towers("a", 2.0), _towers("b", 3.0)], parts, eval_set, (1.0, 0.3), 1))
    assert (summary["weights"], summary["chosen"]) == ([1.0, 0.3], False)
    assert 0.3 in dict(summary["lines"][0])


@pytest.mark.parametrize("depth", [1, 7, 30, 5000])
def test_a_cascade_reorders_the_list_of_the_first_model_by_the_second(
    eval_set: Artifact, parts: list[Artifact], depth: int
) -> None:
    first, second = parts
    index = build_index.fn(first, eval_set, Exact(), 1)
    cascade = Cascade(first="a", then="b", depth=depth)
    result = retrieve_cascade.fn(eval_set, cascade, 20, 1, first, index, second)
    rows, (documents, queries) = np.load(result.folder / "retrieved.npy"), _load(second)
    alive = np.arange(0, DOCUMENTS, 2)
    list_of_first = alive[search_exact(_load(first)[0][alive], _load(first)[1], len(alive))[0]]
    for search in range(SEARCHES):
        head = list_of_first[search][:depth]
        reordered = head[np.argsort(-(documents[head] @ queries[search]), kind="stable")]
        assert rows[search].tolist() == [*reordered, *list_of_first[search][depth:]][:20]
    scanned = np.load(result.folder / "scanned.npy")
    assert (scanned == len(alive) + min(depth, len(alive))).all()


def test_parts_of_different_corpora_are_refused(eval_set: Artifact, parts: list[Artifact]) -> None:
    documents, queries = _load(parts[1])
    shorter = _vectors("other", documents[:-1], queries)
    with pytest.raises(InputError, match="have 200, 199 documents: different corpora"):
        choose_weights.fn([_towers("a", 1), _towers("b", 1)], [parts[0], shorter], eval_set, None, 1)


def test_without_clicks_weights_are_required(eval_set: Artifact, parts: list[Artifact]) -> None:
    judged = _artifact("sample", "judged")
    for name in ("searches", "candidates", "slices"):
        pq.write_table(pq.read_table(eval_set.folder / f"{name}.parquet"), judged.folder / f"{name}.parquet")
    targets = pq.read_table(eval_set.folder / "targets.parquet")
    targets = targets.set_column(0, "targets", pa.array(["judged"] * targets.num_rows))
    pq.write_table(targets, judged.folder / "targets.parquet")
    with pytest.raises(InputError, match=r"no validation search has a clicked document .* weights: \[1, …\]"):
        choose_weights.fn([_towers("a", 1), _towers("b", 1)], parts, judged, None, 1)
