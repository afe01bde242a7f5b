"""An index tuned to a target: the promise it makes, and that nothing cheaper among its settings keeps it."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import near, units

from ebr_core.errors import InputError
from ebr_core.search.faiss_index import build
from ebr_core.search.index_specs import Hnsw, Imi, Ivf
from ebr_core.search.index_tuning import recall_of, tune
from ebr_core.search.nearest import recall_up_to_ties, scanned, search_exact, search_index


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
def test_the_setting_with_the_fewest_distances_that_reaches_the_target_is_chosen(spec: Ivf | Imi | Hnsw) -> None:
    documents = units(1200, 16, 0)
    queries = near(documents, 100)
    queries[3] = 0  # finds nothing, and counts for nothing
    tuned = tune(documents, queries, spec)
    assert tuned.chosen.recall > tuned.chosen.surely >= 0.9
    assert tuned.chosen.distances == min(point.distances for point in tuned.tried if point.surely >= 0.9)
    told = queries[queries.any(1)]  # the index comes with its setting
    assert recall_of(
        search_index(tuned.made, told, 5, slack=0)[0], search_exact(documents, told, 5)[0]
    ) == pytest.approx(tuned.chosen.recall)
    assert scanned(tuned.made, told, 5)[1].mean() == pytest.approx(tuned.chosen.distances)


def test_where_no_bound_reaches_the_target_the_mean_decides() -> None:
    documents = units(1200, 16, 0)
    queries, spec = near(documents, 100), Ivf(code="pq8", nlist=4, nprobe=4)
    rows, _ = search_index(build(documents, spec), queries, 10, slack=0)
    most = recall_up_to_ties(documents, queries, rows, search_exact(documents, queries, 10)[1]).mean()
    tuned = tune(documents, queries, spec.model_copy(update={"target": float(most)}))
    assert tuned.chosen.surely < most <= tuned.chosen.recall


def test_a_higher_target_scans_more() -> None:
    documents = units(1200, 16, 0)
    queries = near(documents, 100)
    costs = [tune(documents, queries, Ivf(code="flat", target=target)).chosen.distances for target in (0.5, 0.8, 1)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_a_code_too_short_for_the_target_is_told_with_what_it_reaches() -> None:
    documents = units(600, 16, 0)
    with pytest.raises(InputError, match=r"no setting .* reaches recall@10 0.99: the highest is 0\.\d+ .*refine: true"):
        tune(documents, near(documents, 50), Ivf(code="pq2", target=0.99))


def test_a_graph_that_misses_its_target_is_told_what_graphs_need() -> None:
    documents = units(3000, 32, 0)
    spec = Hnsw(links=2, ef_construction=1, target=1.0, at=100)
    with pytest.raises(InputError, match="more links than 2, a larger ef_construction than 1, or a lower target"):
        tune(documents, near(documents, 50), spec)


def test_too_little_to_tune_on_is_told() -> None:
    for documents, queries in ((units(9, 8, 0), units(5, 8, 1)), (units(50, 8, 0), np.zeros((3, 8), np.float32))):
        with pytest.raises(InputError, match="at least one query and 10 documents"):
            tune(documents, queries, Ivf(code="flat", target=0.9))


def test_equal_documents_stand_for_each_other() -> None:
    documents = np.tile(units(50, 8, 0), (4, 1))
    queries = near(documents, 30)
    rows, nearest = search_exact(documents, queries, 6)
    mirrored = 199 - np.argsort(-(documents[::-1] @ queries.T), axis=0, kind="stable")[:6].T  # others of the equal ones
    assert recall_of(mirrored.astype(np.int32), rows) < 1
    assert np.array_equal(recall_up_to_ties(documents, queries, mirrored, nearest), np.ones(30))
    half = np.where(np.arange(6) < 3, rows, -1)
    assert np.array_equal(recall_up_to_ties(documents, queries, half, nearest), np.full(30, 0.5))
    tuned = tune(documents, queries, Ivf(code="flat", nlist=5, target=1.0, at=6))
    assert tuned.chosen.recall == 1


def test_recall_counts_what_is_there() -> None:
    found = np.array([[1, 2, -1], [5, 6, 7]], np.int32)
    nearest = np.array([[2, 3, -1], [7, 6, 5]], np.int32)
    assert recall_of(found, nearest) == 4 / 5
