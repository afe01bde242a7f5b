"""The choice of BM25's k1 and b on validation searches."""

from __future__ import annotations

from itertools import product

from ebr_core.arrays import Int64
from ebr_core.frozen import Frozen
from ebr_core.measure.metrics import Targets, hits, recall_at_k
from ebr_core.text.bm25_config import K1, B, Bm25, Language
from ebr_core.text.terms import Postings, rank_documents, weigh

K1_GRID = (0.4, 0.8, 1.2, 2.0, 4.0)
B_GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


class TriedBm25(Frozen):
    """Parameters with their recall on the validation."""

    k1: float
    b: float
    recall: float


class ChosenBm25(Frozen):
    """The parameters in use, and how they came about."""

    language: Language | None
    k1: float
    b: float
    reason: str  # a clause for the report
    tried: tuple[TriedBm25, ...]


def points(settings: Bm25) -> list[tuple[float, float]]:
    """The (k1, b) to try, the one that wins ties first: the grid around Lucene's defaults, or what the file sets."""
    first = K1 if settings.k1 is None else settings.k1, B if settings.b is None else settings.b
    k1s, bs = K1_GRID if settings.k1 is None else (settings.k1,), B_GRID if settings.b is None else (settings.b,)
    return list(dict.fromkeys([first, *product(k1s, bs)]))


def untuned(settings: Bm25, reason: str) -> ChosenBm25:
    """The parameters that the file sets, and Lucene's k1 = 1.2 and b = 0.75 in place of null."""
    k1, b = points(settings)[0]
    return ChosenBm25(language=settings.language, k1=k1, b=b, reason=reason, tried=())


def choose_bm25(
    settings: Bm25, postings: Postings, queries: list[str], query_of: Int64, targets: Targets, k: int
) -> ChosenBm25:
    """The parameters with the highest mean recall@K over the searches, the first of them on ties.

    queries: the distinct ones; query_of (S,): the query of each search; targets: of each search, as rows of the
    postings. What the file sets is not varied.
    """
    if not len(query_of):
        return untuned(settings, "untuned, because no validation search has a clicked target")
    tried = []
    for k1, b in points(settings):
        rows, _ = rank_documents(weigh(postings, k1, b), queries, k, all_words=False)
        recall = recall_at_k(hits(rows[query_of], targets), targets, k).mean()
        tried.append(TriedBm25(k1=k1, b=b, recall=float(recall)))
    best = max(tried, key=lambda point: point.recall)
    reason = f"the best of {len(tried)} settings on {len(query_of):,} validation searches by recall@{k}"
    return ChosenBm25(language=settings.language, k1=best.k1, b=best.b, reason=reason, tried=tuple(tried))
