"""The settings of BM25: the language of the words, and its two parameters."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ebr_core.frozen import Frozen

Language = Literal["da", "de", "en", "es", "fr", "it", "nl", "no", "pt", "ru", "sv", "tr"]
K1, B = 1.2, 0.75  # Lucene's defaults


class Bm25(Frozen):
    """BM25 in Lucene's variant, for the baseline, retrieval by terms, rankers, filters and served models."""

    language: Language | None = Field(
        None, description="drop the stop words of this language and stem with its Snowball stemmer; null: neither"
    )
    k1: float | None = Field(
        None, ge=0, le=100, description="weight of repeated words; null: chosen on validation by recall@main_k"
    )
    b: float | None = Field(
        None, ge=0, le=1, description="penalty on long documents; null: chosen on validation by recall@main_k"
    )

    @property
    def is_fixed(self) -> bool:
        """True if nothing is left to be chosen on validation."""
        return self.k1 is not None and self.b is not None
