"""The filter's threshold against all others, and its classifier on a rule that it can learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.errors import InputError
from ebr_core.rerank.relevance_filter import best_threshold, fit, held_out_mask, probabilities


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9]), st.booleans()), min_size=1, max_size=12).filter(
        lambda pairs: any(good for _, good in pairs)
    ),
    st.sampled_from([0.5, 1, 2, 5]),
)
def test_no_other_threshold_has_a_better_f_measure(pairs: list[tuple[float, bool]], weight: float) -> None:
    def measure(threshold: float) -> tuple[float, float, float]:
        kept_good = [good for score, good in pairs if score >= threshold]
        precision, recall = sum(kept_good) / len(kept_good), sum(kept_good) / sum(good for _, good in pairs)
        f = (1 + weight**2) * precision * recall / (weight**2 * precision + recall) if precision else 0.0
        return f, precision, recall

    scores, good = (np.array(column) for column in zip(*pairs, strict=True))
    threshold, measures = best_threshold(scores, good, weight)
    f_measures = {score: measure(score)[0] for score, _ in pairs}
    best = max(f_measures.values())
    assert f_measures[threshold] == pytest.approx(best)
    assert threshold == min(score for score, f in f_measures.items() if f == pytest.approx(best, abs=1e-12))
    assert (measures["precision"], measures["recall"]) == pytest.approx(measure(threshold)[1:])


def test_a_rule_is_learned_and_a_quarter_of_the_searches_is_held_out() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((4000, 2)).astype(np.float32)
    good = features[:, 0] > 1
    searches = np.repeat(np.arange(800, dtype=np.int32), 5)
    is_held_out = held_out_mask(searches)
    assert abs(is_held_out.mean() - 0.25) < 0.06
    assert all(len(set(is_held_out[searches == search])) == 1 for search in range(0, 800, 50))
    relevance_filter = fit(["cosine", "kind"], features, good, is_held_out, 2, 1, 0)
    is_kept = probabilities(relevance_filter.model, features[is_held_out], 1) >= relevance_filter.threshold
    assert (is_kept == good[is_held_out]).mean() > 0.98
    refitted = fit(["cosine", "kind"], features, good, is_held_out, 2, 1, 0)
    assert refitted.model.model_to_string() == relevance_filter.model.model_to_string()
    assert relevance_filter.held_out["good"] == pytest.approx(good[is_held_out].mean())


def test_ratings_without_good_ones_are_refused() -> None:
    features, searches = np.zeros((40, 1), np.float32), np.arange(40, dtype=np.int32)
    with pytest.raises(InputError, match=r"of the .* ratings to learn from, 0 are good: .* rate more results"):
        fit(["cosine"], features, np.zeros(40, bool), held_out_mask(searches), 2, 1, 0)
