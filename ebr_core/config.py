"""What an arm is: one frozen value that says what is trained and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Frozen(BaseModel):
    """A value that cannot change and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TextFeatures(Frozen):
    """Which n-grams a text becomes, on both sides alike. [EBR §3.1]"""

    char_ngrams: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(
        (3,), description="lengths of the character n-grams of each word, counted with its two boundary marks"
    )
    word_ngrams: tuple[Annotated[int, Field(ge=1, le=3)], ...] = Field(
        (1,), description="lengths of the word n-grams; [] for none"
    )
    body: bool = Field(False, description="whether a document's body is read as well as its title")
    buckets: int = Field(
        2**20, ge=2**8, le=2**26, description="hash space of all n-grams; only buckets seen in training cost memory"
    )

    @model_validator(mode="after")
    def _some_unit(self) -> TextFeatures:
        if not self.char_ngrams and not self.word_ngrams:
            raise ValueError("char_ngrams and word_ngrams are both empty: a text would have no units")
        return self


class Towers(Frozen):
    """The two encoders f(Q) and g(D). [EBR §2.3]"""

    dimensions: int = Field(128, ge=2, le=2048, description="D, the length of an embedding")
    shared: bool = Field(True, description="one n-gram table for both towers, or one each")


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
    towers: Towers = Towers()
    loss: Loss = Triplet()
    training: Training = Training()

    @field_validator("loss", mode="before")
    @classmethod
    def _kind_of(cls, loss: object) -> object:
        """A loss without its kind is the triplet loss, as it is without a word."""
        return {"kind": "triplet"} | loss if isinstance(loss, dict) else loss


class InputError(ValueError):
    """What the user brought cannot be used. The message says what was got, what was expected, and the way out."""
