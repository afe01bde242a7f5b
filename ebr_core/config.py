"""What an arm is: one frozen value that says what is trained and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ebr_core.features import Features, Group, GroupName, TextFeatures, Towers, refuse_text, without_removed
from ebr_core.frozen import Frozen as Frozen


class Positives(Frozen):
    """Which (search, document) pairs count as relevant. [EBR §2.4]"""

    source: Literal["clicks", "impressions", "both"] = Field(
        "clicks", description="clicked results, every shown result, or every shown result with clicks counted twice"
    )
    equal_volume: bool = Field(False, description="draw only as many pairs as there are clicks")


class NegativeMix(Frozen):
    """How many negatives of each kind a positive gets. A count of 0 is an array of width 0."""

    random: int = Field(100, ge=0, le=100_000, description="uniform over the corpus; one pool a batch [EBR §2.4]")
    impressions: int = Field(0, ge=0, le=100, description="shown in the same search and not clicked [EBR §2.4]")
    in_batch: int | Literal["all"] = Field(0, description="documents of that many other positives of the batch")
    in_batch_hard: int = Field(0, ge=0, le=1000, description="the nearest documents of other positives [EBR §6.1]")

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
        if not (self.random or self.impressions or self.in_batch or self.in_batch_hard):
            raise ValueError("every count is 0: a positive needs at least one negative")
        return self


class Triplet(Frozen):
    """max(0, D(q, d⁺) − D(q, d⁻) + margin), D = 1 − cosine. [EBR §2.2]"""

    kind: Literal["triplet"] = "triplet"
    margin: float = Field(0.2, gt=0, le=2, description="in cosine distance")


class Softmax(Frozen):
    """Cross-entropy of the positive among its negatives, logits cosine / temperature. [MGDSPR 2021; Que2Search 2021]"""

    kind: Literal["softmax"] = "softmax"
    temperature: float = Field(0.05, ge=1e-3, le=10)


Loss = Annotated[Triplet | Softmax, Field(discriminator="kind")]


class Training(Frozen):
    """How long and how fast an arm learns."""

    batch_size: int = Field(1024, ge=2, le=65_536)
    epochs: int = Field(10, ge=0, le=10_000, description="0: the untrained model, a control")
    patience: int = Field(3, ge=1, description="epochs without a better validation recall before it stops")
    learning_rate: float = Field(0.1, gt=0, le=100, description="of the row-wise Adagrad over the n-gram tables")
    threads: int = Field(1, ge=1, le=256, description="fixed for an arm, so that a seed gives the same bytes")


class Arm(Frozen):
    """One thing to train: positives, negatives, features, loss."""

    positives: Positives = Positives()
    negatives: NegativeMix = NegativeMix()
    mask: Literal["pair", "query", "document", "none"] = Field(
        "pair",
        description="which known positives are kept from serving as negatives: those of the same (query, searcher), "
        "of the same query text, the same document only, or none",
    )
    text: TextFeatures = TextFeatures()
    groups: dict[GroupName, Group] = Field(
        default_factory=dict,
        description="what the towers read beside the text: place, friends, any column; null removes one",
    )
    towers: Towers = Towers()
    loss: Loss = Triplet()
    training: Training = Training()

    @field_validator("loss", mode="before")
    @classmethod
    def _kind_of(cls, loss: object) -> object:
        """A loss without its kind is the triplet loss, as it is without a word."""
        return {"kind": "triplet"} | loss if isinstance(loss, dict) else loss

    _removed = field_validator("groups", mode="before")(without_removed)
    _reserved = field_validator("groups")(refuse_text)

    @property
    def reads(self) -> Features:
        """All that its towers read."""
        return Features(text=self.text, groups=self.groups)


class InputError(ValueError):
    """What the user brought cannot be used. The message says what was got, what was expected, and the way out."""
