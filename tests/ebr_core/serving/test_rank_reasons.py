"""The reasons for a rank in words, on facts checked by eye and on the answers of a bundle."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ebr_core.search.hybrid_search import Radius
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.rank_reasons import RankFacts, ordinal, reasons_for
from ebr_core.serving.search_query import AnswerMode, SearchQuery
from tests.bundles import make_bundle

BOTH = RankFacts("hybrid", 1, 4, 11, 100, 0.8, ["anna"], ["anna", "smith"])
REASONS = [
    (BOTH, "4th by embedding, 11th by words; has anna, lacks smith"),
    (
        BOTH._replace(terms_rank=None, shared_words=[]),
        "4th by embedding; has no word of the query",
    ),
    (BOTH._replace(near_rank=None), "11th by words, not among the first 100 by embedding; has anna, lacks smith"),
    (BOTH._replace(terms_rank=None), "4th by embedding, not among the first 100 by words; has anna, lacks smith"),
    (BOTH._replace(mode="ebr", query_words=["anna"]), "nearest by embedding; has anna"),
    (BOTH._replace(mode="ebr", rank=22), "22nd nearest by embedding; has anna, lacks smith"),
    (BOTH._replace(mode="bm25", rank=2), "2nd by words (BM25); has anna, lacks smith"),
    (BOTH._replace(mode="boolean", rank=3), "has every word of the query; 3rd by words (BM25)"),
    (
        BOTH._replace(mode="logged", shared_words=["anna", "smith"]),
        "shown 1st by today's engine; has every word of the query",
    ),
    (BOTH._replace(mode="reranked", query_words=[]), "moved up to 1st by the second stage, 4th by embedding"),
    (
        BOTH._replace(mode="reranked", query_words=[], rank=13),
        "moved down to 13th by the second stage, 4th by embedding",
    ),
    (BOTH._replace(mode="reranked", query_words=[], rank=4), "4th by embedding, and kept there by the second stage"),
]


@pytest.mark.parametrize(("facts", "words"), REASONS, ids=[words[:30] for _, words in REASONS])
def test_the_reasons_of_each_mode(facts: RankFacts, words: str) -> None:
    assert reasons_for(facts, None) == words


def test_a_document_beyond_the_calibrated_distance_is_called_far() -> None:
    near, far = Radius(model=0.3, beyond=0.1, targets=9), Radius(model=0.1, beyond=0.1, targets=9)
    assert "farther" not in reasons_for(BOTH, near)
    assert reasons_for(BOTH, far).endswith("; farther from the query than 95% of what searchers chose")
    assert "farther" not in reasons_for(BOTH._replace(near_rank=None), far)


def test_ordinals_of_a_thousand_ranks() -> None:
    """By the rule that people learn: 1st, 2nd, 3rd, then th; but 11th, 12th, 13th."""
    for number in range(1, 1001):
        teen, last = number % 100 in range(11, 14), number % 10
        expected = "th" if teen or last not in (1, 2, 3) else ["st", "nd", "rd"][last - 1]
        assert ordinal(number) == f"{number:,}{expected}"


@pytest.mark.parametrize("mode", ["ebr", "hybrid", "weighted", "boolean", "bm25"])
def test_every_hit_of_an_answer_says_why(tmp_path: Path, mode: AnswerMode) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "one"))
    hits = answer(bundle, SearchQuery(query="chess club", mode=mode, k=4))
    assert hits
    for hit in hits:
        assert hit.why
        assert not re.search(r"\d\.\d", hit.why)  # words, no raw numbers
        for word in hit.words if mode != "boolean" and len(hit.words) == 1 else []:
            assert f"has {word}, lacks" in hit.why
        if mode == "hybrid" and hit.near_rank:
            assert f"{ordinal(hit.near_rank)} by embedding" in hit.why
