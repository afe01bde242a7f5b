"""The choice of k1 and b, compared with a slow loop over the same points."""

from __future__ import annotations

import numpy as np
import oracles
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.measure.metrics import Targets
from ebr_core.search.bm25_tuning import B_GRID, K1_GRID, choose_bm25, points
from ebr_core.text.bm25_config import Bm25
from ebr_core.text.terms import count_words

WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join)


@settings(max_examples=30, deadline=None)
@given(st.lists(WORDS, min_size=4, max_size=10), st.data())
def test_the_choice_is_that_of_the_slow_loop(texts: list[str], data: st.DataObject) -> None:
    queries = ["a b", "c", "d a"]
    query_of = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=6))
    targets = [data.draw(st.sets(st.integers(0, len(texts) - 1), min_size=1, max_size=3)) for _ in query_of]
    corpus = [text.split() for text in texts]

    def recall(k1: float, b: float) -> float:
        values = []
        for query, wanted in zip(query_of, targets, strict=True):
            scores = oracles.bm25_scores(corpus, queries[query].split(), k1, b)
            ranked = sorted((-round(score, 6), row) for row, score in enumerate(scores) if score > 0)[:2]
            values.append(len({row for _, row in ranked} & wanted) / len(wanted))
        return sum(values) / len(values)

    sets = Targets(np.cumsum([0, *map(len, targets)]), np.array([d for wanted in targets for d in wanted], np.int32))
    chosen = choose_bm25(Bm25(), count_words(texts, None), queries, np.array(query_of), sets, 2)
    by_hand = {point: recall(*point) for point in [(1.2, 0.75), *((k1, b) for k1 in K1_GRID for b in B_GRID)]}
    assert {(tried.k1, tried.b): round(tried.recall, 9) for tried in chosen.tried} == {
        point: round(value, 9) for point, value in by_hand.items()
    }
    assert by_hand[chosen.k1, chosen.b] == max(by_hand.values())
    assert (chosen.k1, chosen.b) == (1.2, 0.75) or by_hand[chosen.k1, chosen.b] > by_hand[1.2, 0.75]


def test_only_what_is_null_is_varied() -> None:
    assert points(Bm25(k1=3, b=0.1)) == [(3, 0.1)]
    assert points(Bm25(k1=3)) == [(3, 0.75), (3, 0), (3, 0.25), (3, 0.5), (3, 1)]
    assert {b for _, b in points(Bm25(b=0.1))} == {0.1}


def test_without_targets_lucenes_parameters_are_taken_and_said_so() -> None:
    nothing = Targets(np.zeros(1, np.int64), np.zeros(0, np.int32))
    chosen = choose_bm25(Bm25(language="en", b=0.3), count_words(["a"], "en"), [], np.zeros(0, np.int64), nothing, 10)
    assert (chosen.language, chosen.k1, chosen.b, chosen.tried) == ("en", 1.2, 0.3, ())
    assert "no validation search has a clicked target" in chosen.reason
