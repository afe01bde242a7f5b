"""What an arm is: one frozen value that says what is trained and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ebr_core.frozen import Frozen as Frozen
from ebr_core.towers.feature_config import Features, Group, GroupName, TextFeatures, refuse_text, without_removed
from ebr_core.towers.tower_config import NgramTowerConfig, TowerConfig, with_kind
from ebr_core.training.loss_config import Loss, Triplet
from ebr_core.training.pair_config import Mining, NegativeMix, Positives, Ratings, TypoCopies


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
