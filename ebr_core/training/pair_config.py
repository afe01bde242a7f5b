"""The settings of the training data: positives, negatives, mining, misspelt copies, ratings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from ebr_core.frozen import Frozen
from ebr_core.text.typos import Typos


class Positives(Frozen):
    """The (search, document) pairs that count as relevant. [EBR §2.4, §6.1]"""

    source: Literal["clicks", "impressions", "both", "none"] = Field(
        "clicks",
        description="clicked results, every shown result, every shown result with clicks counted twice, or none of "
        "these, which leaves only the hard positives",
    )
    actions: tuple[str, ...] = Field(
        (),
        description="the actions of logs.actions that make a clicked result a pair, with their weights, as in "
        "[purchase]; []: all. Results with other actions are neither pairs nor negatives of their search",
    )
    equal_volume: bool = Field(False, description="draw only as many pairs from the source as there are clicks")
    hard_share: float = Field(
        0,
        ge=0,
        le=1,
        description="hard positives to add, as a share of the clicks: a search without a click is paired with the "
        "clicks of the next search in its session that has one [EBR §6.1]",
    )

    titles: float = Field(
        0,
        ge=0,
        le=1,
        description="share of an epoch's pairs to replace with titles of documents in the training window, as queries "
        "for these documents: with words left out, the last one cut short, and misspellings; without searcher and "
        "place",
    )

    @model_validator(mode="after")
    def _some_pair(self) -> Positives:
        if self.source == "none" and not self.hard_share:
            raise ValueError("source: none needs hard_share above 0, otherwise there would be no pair")
        if self.actions and self.source != "clicks":
            raise ValueError(f"actions choose among clicked results; got source: {self.source}, expected clicks")
        return self


class NegativeMix(Frozen):
    """The number of negatives of each kind for one positive. A count of 0 is an array of width 0."""

    random: int = Field(1000, ge=0, le=100_000, description="documents drawn at random; one pool per batch [EBR §2.4]")
    popularity: float = Field(
        0, ge=0, le=2, description="β: random negatives are drawn in proportion to (1 + clicks)^β; 0: uniformly"
    )
    impressions: int = Field(
        0, ge=0, le=100, description="documents shown in the same search and not clicked [EBR §2.4]"
    )
    in_batch: int | Literal["all"] = Field(0, description="documents of this many other positives in the batch, or all")
    in_batch_hard: int = Field(
        0, ge=0, le=1000, description="the nearest documents of other positives in the batch [EBR §6.1]"
    )
    offline_hard: int = Field(
        0,
        ge=0,
        le=100,
        description="documents from a rank window in the index of the arm mine_from, or of this arm [EBR §6.1]",
    )
    memory: int = Field(
        0,
        ge=0,
        le=100_000,
        description="positives of earlier batches, with the embeddings that they had then [CBNS 2021]",
    )

    @field_validator("in_batch", mode="before")
    @classmethod
    def _a_count(cls, in_batch: object) -> object:
        if isinstance(in_batch, bool):
            raise ValueError("expected a count or 'all'; for every document of the batch set all")
        return in_batch

    @model_validator(mode="after")
    def _some_kind(self) -> NegativeMix:
        if isinstance(self.in_batch, int) and self.in_batch < 0:
            raise ValueError(f"in_batch must be ≥ 0 or 'all', got {self.in_batch}")
        if not (self.random or self.in_batch or self.in_batch_hard or self.memory or self.pair_negatives):
            raise ValueError("every count is 0: a positive needs at least one negative")
        return self

    @property
    def pair_negatives(self) -> int:
        """The number of negatives that belong to one positive alone."""
        return self.impressions + self.offline_hard

    @property
    def compares_batch(self) -> bool:
        """True if the documents of other positives of the batch are negatives."""
        return bool(self.in_batch or self.in_batch_hard)

    def interpolate(self, last: NegativeMix, share: float) -> NegativeMix:
        """The mix at `share` of the way from this one to the last, with rounded counts.

        >>> NegativeMix(random=100).interpolate(NegativeMix(random=0, offline_hard=4), 0.5).offline_hard
        2
        """
        if share in (0, 1):
            return last if share else self
        counts = {
            name: round((1 - share) * getattr(self, name) + share * getattr(last, name))
            for name in ("random", "impressions", "in_batch_hard", "offline_hard", "memory")
        }
        return self.model_copy(update=counts)


class Mining(Frozen):
    """The documents that become a query's offline hard negatives. [EBR §6.1.2]"""

    window: tuple[int | float, int | float] = Field(
        (101, 500),
        description="first and last rank, such as [101, 500], counted from 1 over all documents before known positives "
        "are removed; or shares of all documents, such as [0.002, 0.01], which are ranks 101–500 of 50,000 documents "
        "[EBR: 101–500]",
    )
    keep: int = Field(
        20, ge=1, le=10_000, description="number of distinct candidates to draw from the window for each query"
    )
    sharpness: float = Field(
        0,
        ge=0,
        le=1e6,
        description="a in exp(−a (s − s⁺ − b)²), the weight with which a candidate of similarity s is drawn, where s⁺ "
        "is the positive's similarity; 0 draws uniformly; 100 draws within a cosine of about 0.1 [SimANS 2022]",
    )
    shift: float = Field(
        0, ge=-2, le=2, description="b in that weight: the distance of its peak from the positive's similarity"
    )
    below_positive: float | None = Field(
        None,
        gt=0,
        le=2,
        description="p: drop candidates whose similarity exceeds p × the positive's, since they may be relevant; null: "
        "keep all [NV-Retriever 2024: 0.95]",
    )
    shard: float = Field(
        1,
        gt=0,
        le=1,
        description="share of the documents to search, one random shard for all queries; the window is scaled "
        "accordingly [EBR §6.1.2: a shard is enough]",
    )

    @field_validator("window")
    @classmethod
    def _ranks_or_shares(cls, window: tuple[int | float, int | float]) -> tuple[int | float, int | float]:
        ranks = all(isinstance(end, int) for end in window)
        if window[0] > window[1] or window[0] < (1 if ranks else 0) or (not ranks and window[1] > 1):
            raise ValueError(
                f"got {list(window)}; expected two ranks from 1, such as [101, 500], or two shares of the corpus, such "
                "as [0.002, 0.01], the smaller first"
            )
        return window if ranks else (float(window[0]), float(window[1]))


class TypoCopies(Frozen):
    """Misspelt copies of the training queries. [DPR with typos 2021; self-teaching, CharacterBERT-DR 2022]"""

    share: float = Field(
        0, ge=0, le=1, description="share of a batch's pairs whose query is replaced by a misspelt copy"
    )
    teaching: float = Field(
        0, ge=0, le=100, description="weight of 1 − cosine between a misspelt copy and its query, added to the loss"
    )
    copies: int = Field(4, ge=1, le=64, description="number of misspelt copies of each training query")
    mix: Typos = Field(Typos(rate=1), description="the kinds of misspellings and their rates")

    @model_validator(mode="after")
    def _teaching_needs_copies(self) -> TypoCopies:
        if self.teaching and not self.share:
            raise ValueError("teaching needs share above 0: without misspelt copies it has no effect")
        return self


class Ratings(Frozen):
    """People's ratings of retrieved results that the log has not judged, as training data. [EBR §5.2]"""

    of: tuple[str, ...] = Field(
        min_length=1,
        description="the arms whose rated results are training data: [softmax] for a first round, [softmax, round-one] "
        "for a second",
    )
    positives: bool = Field(True, description="use results rated good as additional positives of their search")
    negatives: bool = Field(
        True, description="use results rated bad as offline hard negatives of their search's positives"
    )
    shuffled: bool = Field(False, description="a control: the same results with permuted grades")

    @model_validator(mode="after")
    def _some_use(self) -> Ratings:
        if not (self.positives or self.negatives):
            raise ValueError("positives and negatives are both false: the ratings would have no effect; leave them out")
        if len(set(self.of)) < len(self.of):
            raise ValueError(f"of: got {list(self.of)}, in which an arm occurs twice; name each arm once")
        return self
