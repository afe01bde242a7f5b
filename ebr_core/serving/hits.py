"""The documents of an answer, each with the reasons for its rank."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ebr_core.arrays import Float32, Int32
from ebr_core.frozen import Frozen
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.rank_reasons import RankFacts, reasons_for
from ebr_core.serving.search_query import AnswerMode
from ebr_core.text.terms import QueryWord, words_in_documents

HIT_COLUMNS = ["document_id", "title", "kind", "city", "country"]


class Hit(Frozen):
    """A document of an answer, with the reasons for its rank."""

    rank: int
    document_id: str
    title: str
    score: float = Field(
        description="score that ranks it: cosine, BM25, the sum of both lists', the cascade's or ranker's; behind the "
        "depth of these, the cosine that retrieved it; of the list of the log, 1 / rank"
    )
    cosine: float = Field(description="cosine of query and document")
    near_rank: int | None = Field(description="rank by the embedding only")
    terms_rank: int | None = Field(description="rank by terms only")
    words: list[str] = Field(description="stems of the query's words that the document contains")
    why: str = Field(description="the reasons for its rank, in words")
    kind: str | None
    city: str | None
    country: str | None
    distance_km: float | None = Field(None, description="from the place of the search; none if either is unknown")
    shown: dict[str, Any] = Field(default_factory=dict, description="the columns that show names, with their values")


def hits_of(
    bundle: Bundle,
    mode: AnswerMode,
    vector: Float32,
    rows: Int32,
    score: Any,
    words: dict[str, QueryWord],
    ranks: tuple[dict[int, int], dict[int, int]],
) -> list[Hit]:
    """The hits of a list. ranks: of documents by the embedding alone, and by terms alone."""
    documents = bundle.documents.select(HIT_COLUMNS).take(rows).to_pylist()
    cosines = (bundle.vectors[rows] @ vector.reshape(-1, vector.shape[-1]).T).max(1, initial=-1)
    matching_words = words_in_documents(bundle.terms, words, rows)
    depth, query_words = max(bundle.depth, bundle.k), list(words)
    hits = []
    for i, row in enumerate(rows.tolist()):
        near_rank, terms_rank = (of_list.get(row) for of_list in ranks)
        facts = RankFacts(mode, i + 1, near_rank, terms_rank, depth, float(cosines[i]), matching_words[i], query_words)
        hits.append(
            Hit(
                rank=i + 1,
                score=float(score[i]),
                cosine=facts.cosine,
                near_rank=near_rank,
                terms_rank=terms_rank,
                words=matching_words[i],
                why=reasons_for(facts, bundle.radius),
                **documents[i],
            )
        )
    return hits
