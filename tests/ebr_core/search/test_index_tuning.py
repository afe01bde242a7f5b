"""An index tuned to a target reaches it, and no cheaper setting does."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from oracles import near, units

from ebr_core.errors import InputError
from ebr_core.search.faiss_index import build, set_parameters
from ebr_core.search.index_specs import Hnsw, Imi, Ivf
from ebr_core.search.index_tuning import ONE_SIDED, REFINE_FACTORS, recall_of, tune
from ebr_core.search.nearest import recall_up_to_ties, search_cost, search_exact, search_index


@pytest.mark.parametrize(
    "spec",
    [
        Ivf(code="flat", target=0.9, at=5),
        Ivf(code="flat", nlist=(4, 16, 40), target=0.9, at=5),
        Ivf(code="pq8", refine=True, target=0.9, at=5),
        Imi(code="flat", bits=3, target=0.9, at=5),
        Hnsw(target=0.9, at=5),
        Hnsw(links=(4, 8, 16), target=0.9, at=5),
    ],
)
def test_the_cheapest_setting_that_reaches_the_target_is_chosen(spec: Ivf | Imi | Hnsw) -> None:
    documents = units(1200, 16, 0)
    queries = near(documents, 100)
    queries[3] = 0  # retrieves nothing, and is ignored
    tuned = tune(documents, queries, spec)
    assert tuned.chosen.recall > tuned.chosen.surely >= 0.9
    assert tuned.chosen.distances == min(point.distances for point in tuned.points if point.surely >= 0.9)
    nonzero = queries[queries.any(1)]  # the index has the chosen setting
    assert recall_of(
        search_index(tuned.built_index, nonzero, 5, slack=0)[0], search_exact(documents, nonzero, 5)[0]
    ) == pytest.approx(tuned.chosen.recall)
    assert search_cost(tuned.built_index, nonzero, 5)[1].mean() == pytest.approx(tuned.chosen.distances)


@pytest.mark.parametrize("target", [0.5, 0.8, 0.95])
def test_no_setting_left_out_is_cheaper(target: float) -> None:
    documents = units(1200, 16, 0)
    queries, spec = near(documents, 100), Ivf(code="pq4", nlist=32, refine=True, target=target, at=5)
    tuned = tune(documents, queries, spec)
    exact, index = search_exact(documents, queries, 5)[1], build(documents, spec)
    for nprobe, second_looks in product((1, 2, 4, 8, 16, 32), REFINE_FACTORS):
        set_parameters(index.index, f"nprobe={nprobe},k_factor_rf={second_looks}")
        recalls = recall_up_to_ties(documents, queries, search_index(index, queries, 5, slack=0)[0], exact)
        if recalls.mean() - ONE_SIDED * recalls.std() / 10 >= target:
            assert search_cost(index, queries, 5)[1].mean() >= tuned.chosen.distances


def test_the_mean_decides_if_no_bound_reaches_the_target() -> None:
    documents = units(1200, 16, 0)
    queries, spec = near(documents, 100), Ivf(code="pq8", nlist=4, nprobe=4)
    rows, _ = search_index(build(documents, spec), queries, 10, slack=0)
    highest = recall_up_to_ties(documents, queries, rows, search_exact(documents, queries, 10)[1]).mean()
    tuned = tune(documents, queries, spec.model_copy(update={"target": float(highest)}))
    assert tuned.chosen.surely < highest <= tuned.chosen.recall


def test_a_higher_target_computes_more_distances() -> None:
    documents = units(1200, 16, 0)
    queries = near(documents, 100)
    costs = [tune(documents, queries, Ivf(code="flat", target=target)).chosen.distances for target in (0.5, 0.8, 1)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (Ivf(code="pq2", nlist=4, target=0.99, at=5), ("pq4", "pq8", "pq16", "sq8", "flat")),
        (Ivf(code="opq2", nlist=4, pca=12, target=0.52, at=5), ("opq4", "opq6", "opq12", "sq8", "flat")),
        (Ivf(code="pq16", nlist=4, target=0.5, at=5), ("pq16",)),
        (Imi(code="pq2", bits=2, target=1.0, at=5), ("flat",)),
    ],
)
def test_a_code_that_cannot_reach_the_target_is_replaced_by_the_next_finer_one(
    spec: Ivf | Imi, code: tuple[str, ...]
) -> None:
    documents = units(600, 16, 0)
    queries = near(documents, 50)
    tuned = tune(documents, queries, spec)
    assert tuned.code in code
    assert tuned.chosen.recall >= spec.target
    if tuned.code != spec.code:  # the one that was named does not reach it, even if it scans everything
        index = build(documents, spec)
        set_parameters(index.index, f"nprobe={4 if isinstance(spec, Ivf) else 16}")
        nearest = search_exact(documents, queries, 5)[1]
        rows, _ = search_index(index, queries, 5, slack=0)
        assert recall_up_to_ties(documents, queries, rows, nearest).mean() < spec.target


def test_a_missed_target_names_the_highest_recall_and_no_setting_that_is_there() -> None:
    documents = units(600, 16, 0)
    spec = Ivf(code="pq2", pca=2, refine=True, target=0.99)
    with pytest.raises(InputError, match=r"no setting .* reaches recall@10 0.99, with any code: the highest") as error:
        tune(documents, near(documents, 50), spec)
    assert "more dimensions than 2, or a lower target" in str(error.value)
    assert "refine" not in str(error.value)


def test_a_target_missed_by_a_graph_names_graph_settings() -> None:
    documents = units(3000, 32, 0)
    spec = Hnsw(links=2, ef_construction=1, target=1.0, at=100)
    with pytest.raises(InputError, match="more links than 2, a larger ef_construction than 1, or a lower target"):
        tune(documents, near(documents, 50), spec)


def test_too_few_queries_or_documents_to_tune_on_are_refused() -> None:
    for documents, queries in ((units(9, 8, 0), units(5, 8, 1)), (units(50, 8, 0), np.zeros((3, 8), np.float32))):
        with pytest.raises(InputError, match="at least one query and 10 documents"):
            tune(documents, queries, Ivf(code="flat", target=0.9))


def test_equal_documents_are_interchangeable() -> None:
    documents = np.tile(units(50, 8, 0), (4, 1))
    queries = near(documents, 30)
    rows, nearest = search_exact(documents, queries, 6)
    other_copies = 199 - np.argsort(-(documents[::-1] @ queries.T), axis=0, kind="stable")[:6].T  # other copies
    assert recall_of(other_copies.astype(np.int32), rows) < 1
    assert np.array_equal(recall_up_to_ties(documents, queries, other_copies, nearest), np.ones(30))
    half = np.where(np.arange(6) < 3, rows, -1)
    assert np.array_equal(recall_up_to_ties(documents, queries, half, nearest), np.full(30, 0.5))
    tuned = tune(documents, queries, Ivf(code="flat", nlist=5, target=1.0, at=6))
    assert tuned.chosen.recall == 1


def test_recall_ignores_missing_rows() -> None:
    retrieved = np.array([[1, 2, -1], [5, 6, 7]], np.int32)
    nearest = np.array([[2, 3, -1], [7, 6, 5]], np.int32)
    assert recall_of(retrieved, nearest) == 4 / 5
