"""What an arm is: one frozen value that says what is trained and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ebr_core.features import Features, Group, GroupName, TextFeatures, refuse_text, without_removed
from ebr_core.frozen import Frozen as Frozen
from ebr_core.tower_config import NgramTowerConfig, TowerConfig, with_kind
from ebr_core.typos import Typos


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


class Triplet(Frozen):
    """max(0, D(q, d⁺) − D(q, d⁻) + margin), D = 1 − cosine. [EBR §2.2]"""

    kind: Literal["triplet"] = "triplet"
    margin: float = Field(0.2, gt=0, le=2, description="in cosine distance")


class Softmax(Frozen):
    """Cross-entropy of the positive among its negatives, logits cosine / temperature. [MGDSPR 2021; Que2Search 2021]"""

    kind: Literal["softmax"] = "softmax"
    temperature: float = Field(0.05, ge=1e-3, le=10)
    logq: float = Field(
        0, ge=0, le=2, description="α of logit − α · log q, q how often a batch draws the document [Yi et al. 2019]"
    )
    logq_form: Literal["plain", "refined", "shuffled"] = Field(
        "plain",
        description="the correction of all logits; of the negatives alone, since the positive is not drawn [arXiv "
        "2507.09331]; or with q dealt out to other documents, a control",
    )


class ThreePart(Frozen):
    """Hinges on the cosine: the positive above one bound, impressions below a middle one, other negatives below a low
    one. [Amazon semantic product search 2019]"""

    kind: Literal["three_part"] = "three_part"
    positive: float = Field(0.9, ge=-1, le=1, description="a positive's cosine is pushed up to it")
    impression: float = Field(0.55, ge=-1, le=1, description="a not-clicked impression's is pushed down to it")
    negative: float = Field(0.2, ge=-1, le=1, description="any other negative's is pushed down to it")

    @model_validator(mode="after")
    def _in_order(self) -> ThreePart:
        if not self.negative <= self.impression < self.positive:
            raise ValueError(
                f"expected negative ≤ impression < positive, got {self.negative}, {self.impression}, {self.positive}"
            )
        return self


Loss = Annotated[Triplet | Softmax | ThreePart, Field(discriminator="kind")]


class Training(Frozen):
    """How long and how fast an arm learns. An epoch is as many pairs as the training window has clicks, in any arm."""

    batch_size: int = Field(1024, ge=2, le=65_536)
    epochs: int = Field(10, ge=0, le=10_000, description="0: the untrained model, a control")
    patience: int = Field(3, ge=1, description="epochs without a better validation recall before it stops")
    learning_rate: float = Field(0.1, gt=0, le=100, description="of the row-wise Adagrad over the n-gram tables")
    threads: int = Field(1, ge=1, le=256, description="fixed for an arm, so that a seed gives the same bytes")
    window: int | None = Field(
        None,
        ge=65_536,
        description="pairs that are shuffled together, in place of all: a log larger than memory is then read block by "
        "block and not pair by pair",
    )


class Arm(Frozen):
    """One thing to train: positives, negatives, features, loss, start."""

    positives: Positives = Positives()
    negatives: NegativeMix = NegativeMix()
    negatives_at_end: NegativeMix | None = Field(
        None, description="a curriculum: the counts move in straight lines from negatives to these, epoch by epoch"
    )
    mining: Mining = Mining()
    mine_from: str | None = Field(None, description="the arm whose index gives the offline hard negatives")
    remine_every: int = Field(
        0, ge=0, description="epochs after which offline hard negatives are mined anew from the arm itself [ANCE 2021]"
    )
    ratings: Ratings | None = Field(None, description="ratings of retrieved results that re-enter as training data")
    start_from: str | None = Field(None, description="the arm whose weights it starts from, in place of random ones")
    mask: Literal["pair", "query", "document", "none"] = Field(
        "pair",
        description="which known positives are kept from serving as negatives: those of the same (query, searcher), "
        "of the same query text, the same document only, or none",
    )
    typos: TypoCopies = TypoCopies()
    text: TextFeatures = TextFeatures()
    groups: dict[GroupName, Group] = Field(
        default_factory=dict,
        description="what the towers read beside the text: place, friends, any column; null removes one of the base",
    )
    towers: TowerConfig = NgramTowerConfig()
    loss: Loss = Triplet()
    training: Training = Training()
    trials: tuple[dict[Literal["loss", "training"], dict[str, Any]], ...] = Field(
        (),
        description="settings of loss and training laid over the arm's; each is tried with the first seed, and the one "
        "with the best validation recall is kept. Arms of a question need equally many",
    )

    @field_validator("loss", mode="before")
    @classmethod
    def _kind_of(cls, loss: object) -> object:
        """A loss without its kind is the triplet loss, as it is without a word."""
        return {"kind": "triplet"} | loss if isinstance(loss, dict) else loss

    _kind_of_tower = field_validator("towers", mode="before")(with_kind)
    _removed = field_validator("groups", mode="before")(without_removed)
    _reserved = field_validator("groups")(refuse_text)

    @property
    def reads(self) -> Features:
        """All that its towers read."""
        return Features(text=self.text, groups=self.groups)

    @property
    def sources(self) -> tuple[str, ...]:
        """The arms that have to be trained before it: those that it mines, starts or takes ratings from."""
        rated = self.ratings.of if self.ratings else ()
        return tuple(dict.fromkeys(name for name in (self.mine_from, self.start_from, *rated) if name))

    @model_validator(mode="after")
    def _trials_are_arms(self) -> Arm:
        for number, trial in enumerate(self.trials):
            if "threads" in trial.get("training", {}):
                raise ValueError(f"trials.{number}.training.threads: leave it to the arm")
            try:
                Arm.model_validate(laid_over(self._own(), trial))
            except ValidationError as error:
                told = [
                    f"trials.{number}.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                    for problem in error.errors()
                ]
                raise ValueError("; ".join(told)) from error
        return self

    def _own(self) -> dict[str, Any]:
        """What was set of it, its trials aside."""
        return self.model_dump(exclude={"trials"}, exclude_unset=True)

    @property
    def tried(self) -> list[Arm]:
        """The arms that its trials make of it, or itself alone."""
        tried = [Arm.model_validate(laid_over(self._own(), trial)) for trial in self.trials]
        return tried or [self.model_copy(update={"trials": ()})]

    @model_validator(mode="after")
    def _mines_from_something(self) -> Arm:
        mixes = [self.negatives, self.negatives_at_end or self.negatives]
        mines = any(mix.offline_hard for mix in mixes)
        rated = self.ratings is not None and self.ratings.negatives
        if mines and not (self.mine_from or self.remine_every or rated):
            raise ValueError(
                "negatives.offline_hard needs mine_from, an arm, or remine_every, a number of epochs; both together "
                "mine from that arm first; or ratings"
            )
        if rated and not mines:
            raise ValueError(
                "ratings.negatives needs negatives.offline_hard above 0, which says how many of them a positive gets"
            )
        if rated and self.remine_every:
            raise ValueError("ratings.negatives and remine_every do not go together yet: mining anew drops the rated")
        if not mines and (self.mine_from or self.remine_every):
            raise ValueError("mine_from and remine_every need negatives.offline_hard above 0")
        if self.typos.share and self.towers.query_vectors > 1:
            raise ValueError("typos.share and towers.query_vectors above 1 do not go together yet; use one of them")
        if isinstance(mixes[0].in_batch, int) != isinstance(mixes[1].in_batch, int):
            raise ValueError("negatives_at_end: in_batch cannot move between a count and 'all'")
        return self


def laid_over(base: Any, own: Any) -> Any:
    """own laid over base, key by key; where own names another kind of thing, it replaces the whole.

    >>> laid_over({"loss": {"kind": "triplet", "margin": 0.1}}, {"loss": {"margin": 0.3}})
    {'loss': {'kind': 'triplet', 'margin': 0.3}}
    """
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    if "kind" in own and own["kind"] != base.get("kind", own["kind"]):
        return own
    return base | {key: laid_over(base.get(key), value) for key, value in own.items()}
