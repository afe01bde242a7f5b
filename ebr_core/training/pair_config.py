"""Settings of what training is shown: positives, negatives, mining, misspelt copies, ratings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from ebr_core.frozen import Frozen as Frozen
from ebr_core.text.typos import Typos


class Positives(Frozen):
    """Which (search, document) pairs count as relevant. [EBR §2.4, §6.1]"""

    source: Literal["clicks", "impressions", "both", "none"] = Field(
        "clicks",
        description="clicked results, every shown result, every shown result with clicks counted twice, or none of "
        "these, so that hard positives stand alone",
    )
    equal_volume: bool = Field(False, description="draw only as many pairs of the source as there are clicks")
    hard_share: float = Field(
        0,
        ge=0,
        le=1,
        description="hard positives to add, as a share of the clicks: a search without a click with what the next "
        "search of its session that has one clicked [EBR §6.1]",
    )

    @model_validator(mode="after")
    def _some_pair(self) -> Positives:
        if self.source == "none" and not self.hard_share:
            raise ValueError("source: none needs hard_share above 0, or there would be no pair")
        return self


class NegativeMix(Frozen):
    """How many negatives of each kind a positive gets. A count of 0 is an array of width 0."""

    random: int = Field(100, ge=0, le=100_000, description="drawn from the corpus; one pool a batch [EBR §2.4]")
    popularity: float = Field(
        0, ge=0, le=2, description="β: random negatives are drawn by (1 + clicks)^β; 0 is uniform"
    )
    impressions: int = Field(0, ge=0, le=100, description="shown in the same search and not clicked [EBR §2.4]")
    in_batch: int | Literal["all"] = Field(0, description="documents of that many other positives of the batch")
    in_batch_hard: int = Field(0, ge=0, le=1000, description="the nearest documents of other positives [EBR §6.1]")
    offline_hard: int = Field(
        0, ge=0, le=100, description="from a rank window of an index: of the arm mine_from, or its own [EBR §6.1]"
    )
    memory: int = Field(
        0, ge=0, le=100_000, description="positives of earlier batches, as they were embedded then [CBNS 2021]"
    )

    @field_validator("in_batch", mode="before")
    @classmethod
    def _a_count(cls, in_batch: object) -> object:
        if isinstance(in_batch, bool):
            raise ValueError("a count or 'all'; for every document of the batch say all")
        return in_batch

    @model_validator(mode="after")
    def _some_kind(self) -> NegativeMix:
        if isinstance(self.in_batch, int) and self.in_batch < 0:
            raise ValueError(f"in_batch must be ≥ 0 or 'all', got {self.in_batch}")
        if not (self.random or self.in_batch or self.in_batch_hard or self.memory or self.own):
            raise ValueError("every count is 0: a positive needs at least one negative")
        return self

    @property
    def own(self) -> int:
        """How many negatives belong to one positive alone."""
        return self.impressions + self.offline_hard

    @property
    def compares_batch(self) -> bool:
        """Whether queries meet the documents of other positives."""
        return bool(self.in_batch or self.in_batch_hard)

    def towards(self, last: NegativeMix, share: float) -> NegativeMix:
        """The mix that lies that share of the way from this one to another, counts rounded.

        >>> NegativeMix(random=100).towards(NegativeMix(random=0, offline_hard=4), 0.5).offline_hard
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
    """Which documents become a query's offline hard negatives. [EBR §6.1.2]"""

    window: tuple[int | float, int | float] = Field(
        (101, 500),
        description="first and last rank, [101, 500], counted from 1 over the whole corpus before known positives are "
        "taken out [EBR: 101–500]; or shares of the corpus, [0.002, 0.01], which mean 101–500 of 50,000 documents",
    )
    keep: int = Field(20, ge=1, le=10_000, description="candidates drawn from the window for each query, all different")
    sharpness: float = Field(
        0,
        ge=0,
        le=1e6,
        description="a of the weight exp(−a (s − s⁺ − b)²) with which a candidate of similarity s is drawn, s⁺ the "
        "positive's [SimANS 2022]; 0 draws uniformly; in cosine, 100 means within .1 or so",
    )
    shift: float = Field(
        0, ge=-2, le=2, description="b of that weight: where beside the positive's similarity it peaks"
    )
    below_positive: float | None = Field(
        None,
        gt=0,
        le=2,
        description="p: drop candidates whose similarity exceeds p × the positive's, as they may be right answers "
        "[NV-Retriever 2024: .95]; null keeps all",
    )
    shard: float = Field(
        1,
        gt=0,
        le=1,
        description="share of the corpus that is searched, one random shard for all queries; the window is scaled "
        "by it [EBR §6.1.2: a shard is enough]",
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

    share: float = Field(0, ge=0, le=1, description="of the pairs of a batch, that many with a misspelt query")
    teaching: float = Field(
        0, ge=0, le=100, description="weight of 1 − cosine between a misspelt copy and its query, added to the loss"
    )
    copies: int = Field(4, ge=1, le=64, description="different misspelt copies of each training query")
    mix: Typos = Field(Typos(rate=1), description="which mistakes, and how often")

    @model_validator(mode="after")
    def _teaching_needs_copies(self) -> TypoCopies:
        if self.teaching and not self.share:
            raise ValueError("teaching needs share above 0: without copies there is nobody to teach")
        return self


class Ratings(Frozen):
    """What people said of retrieved results that no log has judged, as training data. [EBR §5.2]"""

    of: tuple[str, ...] = Field(
        min_length=1,
        description="the arms whose rated results it learns from: [softmax] is a first round, [softmax, round-one] a "
        "second",
    )
    positives: bool = Field(True, description="results rated good are positives of their search, beside the others")
    negatives: bool = Field(
        True, description="results rated bad are offline hard negatives of their search's positives"
    )
    shuffled: bool = Field(False, description="a control: the same results, their grades dealt out among them")

    @model_validator(mode="after")
    def _of_use(self) -> Ratings:
        if not (self.positives or self.negatives):
            raise ValueError("positives and negatives are both false: the ratings would be of no use; leave them out")
        if len(set(self.of)) < len(self.of):
            raise ValueError(f"of: got {list(self.of)}; an arm stands twice, name each once")
        return self
