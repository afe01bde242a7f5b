"""The reasons for a document's rank, in words."""

from __future__ import annotations

from typing import NamedTuple, assert_never

from ebr_core.search.hybrid_search import Radius
from ebr_core.serving.search_query import AnswerMode

SUFFIXES = {1: "st", 2: "nd", 3: "rd"}


class RankFacts(NamedTuple):
    """What decides the rank of a document in an answer."""

    mode: AnswerMode
    rank: int
    near_rank: int | None  # by the embedding alone
    terms_rank: int | None  # by BM25 alone
    depth: int  # of either list
    cosine: float
    shared_words: list[str]  # words of the query that the document holds
    query_words: list[str]


def ordinal(number: int) -> str:
    """The number as a place in an order.

    >>> [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 103, 111, 1002)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '13th', '21st', '22nd', '103rd', '111th', '1,002nd']
    """
    suffix = "th" if number % 100 in (11, 12, 13) else SUFFIXES.get(number % 10, "th")
    return f"{number:,}{suffix}"


def reasons_for(facts: RankFacts, radius: Radius | None) -> str:
    """4th by embedding, 11th by words; has anna, lacks smith: why a document has its rank.

    radius: the distances of the model's targets, if it was calibrated.
    """
    parts = [_of_mode(facts), _of_words(facts)]
    if radius is not None and facts.near_rank is not None and 1 - facts.cosine > radius.model:
        parts.append("farther from the query than 95% of what searchers chose")
    return "; ".join(filter(None, parts))


def _of_mode(facts: RankFacts) -> str:
    """The places in the lists that the mode reads."""
    match facts.mode:
        case "ebr":
            return f"{_nearest(facts.rank)} by embedding"
        case "bm25":
            return f"{ordinal(facts.rank)} by words (BM25)"
        case "boolean":
            return f"has every word of the query; {ordinal(facts.rank)} by words (BM25)"
        case "logged":
            return f"shown {ordinal(facts.rank)} by today's engine"
        case "reranked":
            return _moved(facts.rank, facts.near_rank)
        case "hybrid" | "weighted":
            return _of_both(facts)
        case _:
            assert_never(facts.mode)


def _nearest(rank: int) -> str:
    return "nearest" if rank == 1 else f"{ordinal(rank)} nearest"


def _moved(rank: int, near_rank: int | None) -> str:
    """The place that a second stage gave a document, beside that of the embedding."""
    if near_rank is None or near_rank == rank:
        return f"{ordinal(rank)} by embedding, and kept there by the second stage"
    way = "up" if near_rank > rank else "down"
    return f"moved {way} to {ordinal(rank)} by the second stage, {ordinal(near_rank)} by embedding"


def _of_both(facts: RankFacts) -> str:
    """The places by the embedding and by words, or that one of them has not found the document."""
    near = f"{ordinal(facts.near_rank)} by embedding" if facts.near_rank else ""
    words = f"{ordinal(facts.terms_rank)} by words" if facts.terms_rank else ""
    if near and words:
        return f"{near}, {words}"
    beyond = f"not among the first {facts.depth:,} by {'embedding' if words else 'words'}"
    return f"{near or words}, {beyond}" if words or facts.shared_words else near


def _of_words(facts: RankFacts) -> str:
    """The words of the query that the document holds, and those that it lacks."""
    if facts.mode == "boolean" or not facts.query_words:
        return ""
    lacking = [word for word in facts.query_words if word not in facts.shared_words]
    if not facts.shared_words:
        return "has no word of the query"
    if not lacking:
        return "has every word of the query" if len(facts.shared_words) > 1 else f"has {facts.shared_words[0]}"
    return f"has {', '.join(facts.shared_words)}, lacks {', '.join(lacking)}"
