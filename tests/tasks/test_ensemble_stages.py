"""The stages of ensembles and cascades on vectors made by hand: weights, joined vectors, lists, and what is refused."""

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
from tasks.ensemble_stages import choose_weights, concat_vectors, read_weights, retrieve_cascade, weighted_recall
from tasks.retrieval_stages import build_index, retrieve

SEARCHES, DOCUMENTS = 60, 200


def units(n: int, d: int, seed: int) -> Float32:
    """Vectors (n, D) of unit length in all directions."""
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _artifact(stage: str, digest: str) -> Artifact:
    made = Artifact(stage=stage, digest=digest)
    made.folder.mkdir(parents=True, exist_ok=True)
    return made


def _vectors(digest: str, documents: Float32, queries: Float32) -> Artifact:
    made = _artifact("embed_texts", digest)
    np.save(made.folder / "documents.npy", documents)
    np.save(made.folder / "queries.npy", queries)
    return made


def _towers(digest: str, seconds: float) -> Artifact:
    made = _artifact("train_arm", digest)
    costs = {"train_s": seconds, "pairs": 100, "pairs_per_s": 9, "table_rows": 7}
    (made.folder / "costs.json").write_text(json.dumps(costs))
    return made


@pytest.fixture(scope="module")
def evaluated() -> Artifact:
    """Each search wants one document; every other document is alive, in a shuffled order of rows."""
    made = _artifact("sample", "ensembles")
    rows = np.arange(SEARCHES, dtype=np.int32)
    searches = {"search_row": rows, "query_row": rows, "searcher_row": rows, "session_row": rows}
    pq.write_table(pa.table(searches), made.folder / "searches.parquet")
    candidates = np.arange(0, DOCUMENTS, 2, dtype=np.int32)
    pq.write_table(
        pa.table({"document_row": candidates, "clicks": np.zeros(len(candidates), np.int64)}),
        made.folder / "candidates.parquet",
    )
    owners = {"targets": ["clicked"] * SEARCHES, "search_row": rows, "document_row": candidates[rows]}
    pq.write_table(pa.table(owners | {"grade": np.ones(SEARCHES, np.float32)}), made.folder / "targets.parquet")
    pq.write_table(pa.table({"targets": owners["targets"], "search_row": rows}), made.folder / "slices.parquet")
    return made


@pytest.fixture(scope="module")
def parts() -> list[Artifact]:
    """Two arms, each with noise of its own about the same documents."""
    made = []
    for at, (d, noise) in enumerate(((8, 1.2), (6, 0.8))):
        documents = units(DOCUMENTS, d, at)
        off = noise * np.random.default_rng(at).standard_normal((SEARCHES, d)).astype(np.float32)
        queries = documents[0 : 2 * SEARCHES : 2] + off
        made.append(_vectors(f"part{at}", documents, queries / np.linalg.norm(queries, axis=1, keepdims=True)))
    return made


def _load(vectors: Artifact) -> tuple[Float32, Float32]:
    return np.load(vectors.folder / "documents.npy"), np.load(vectors.folder / "queries.npy")


def test_an_ensemble_is_searched_as_an_arm_and_its_recall_is_what_was_told(
    evaluated: Artifact, parts: list[Artifact]
) -> None:
    weights = choose_weights.fn([_towers("a", 2.0), _towers("b", 3.0)], parts, evaluated, None, 1)
    told = read_weights(weights)
    assert told["chosen"]
    assert told["recall"] == weighted_recall(weights) >= max(told["equal"], told["alone"][0])
    assert json.loads((weights.folder / "costs.json").read_text())["train_s"] == 5
    joined = concat_vectors.fn(parts, weights)
    documents, queries = _load(joined)
    ours = [_load(part) for part in parts]
    np.testing.assert_array_equal(documents, concat_documents([of[0] for of in ours]))
    np.testing.assert_array_equal(queries, concat_queries([of[1] for of in ours], told["weights"]))
    index = build_index.fn(joined, evaluated, Exact(), 1)
    found = np.load(retrieve.fn(joined, index, evaluated, 10, 1).folder / "retrieved.npy")
    recall = (found == 2 * np.arange(SEARCHES)[:, None]).any(1).mean()
    assert recall == pytest.approx(told["recall"])


def test_given_weights_are_kept(evaluated: Artifact, parts: list[Artifact]) -> None:
    told = read_weights(choose_weights.fn([_towers("a", 2.0), _towers("b", 3.0)], parts, evaluated, (1.0, 0.3), 1))
    assert (told["weights"], told["chosen"]) == ([1.0, 0.3], False)
    assert 0.3 in dict(told["lines"][0])


@pytest.mark.parametrize("depth", [1, 7, 30, 5000])
def test_a_cascade_is_the_second_model_over_the_firsts_list(
    evaluated: Artifact, parts: list[Artifact], depth: int
) -> None:
    first, then = parts
    index = build_index.fn(first, evaluated, Exact(), 1)
    its = Cascade(first="a", then="b", depth=depth)
    made = retrieve_cascade.fn(evaluated, its, 20, 1, first, index, then)
    found, (documents, queries) = np.load(made.folder / "retrieved.npy"), _load(then)
    alive = np.arange(0, DOCUMENTS, 2)
    list_of_first = alive[search_exact(_load(first)[0][alive], _load(first)[1], len(alive))[0]]
    for search in range(SEARCHES):
        kept = list_of_first[search][:depth]
        wanted = kept[np.argsort(-(documents[kept] @ queries[search]), kind="stable")]
        assert found[search].tolist() == [*wanted, *list_of_first[search][depth:]][:20]
    scanned = np.load(made.folder / "scanned.npy")
    assert (scanned == len(alive) + min(depth, len(alive))).all()


def test_parts_of_different_corpora_are_refused(evaluated: Artifact, parts: list[Artifact]) -> None:
    documents, queries = _load(parts[1])
    other = _vectors("other", documents[:-1], queries)
    with pytest.raises(InputError, match="have 200, 199 documents: different corpora"):
        choose_weights.fn([_towers("a", 1), _towers("b", 1)], [parts[0], other], evaluated, None, 1)


def test_without_clicks_weights_have_to_be_given(evaluated: Artifact, parts: list[Artifact]) -> None:
    judged = _artifact("sample", "judged")
    for name in ("searches", "candidates", "slices"):
        pq.write_table(pq.read_table(evaluated.folder / f"{name}.parquet"), judged.folder / f"{name}.parquet")
    targets = pq.read_table(evaluated.folder / "targets.parquet")
    targets = targets.set_column(0, "targets", pa.array(["judged"] * targets.num_rows))
    pq.write_table(targets, judged.folder / "targets.parquet")
    with pytest.raises(InputError, match=r"no validation search has a clicked document .* weights: \[1, …\]"):
        choose_weights.fn([_towers("a", 1), _towers("b", 1)], parts, judged, None, 1)
