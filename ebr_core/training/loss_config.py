"""The settings of each loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.frozen import Frozen


class Triplet(Frozen):
    """The triplet loss, max(0, D(q, d⁺) − D(q, d⁻) + margin) with D = 1 − cosine. [EBR §2.2]"""

    kind: Literal["triplet"] = "triplet"
    margin: float = Field(0.2, gt=0, le=2, description="margin in cosine distance")


class Distillation(Frozen):
    """The scores of a pretrained encoder as a soft target in addition to the clicks. [Hinton et al. 2015]

    Only training needs the encoder: the towers that learn from it answer without it.
    """

    encoder: Annotated[str, Field(min_length=1)] | EncoderConfig = Field(
        description="the encoder, as its folder or its settings; each text is encoded once for all arms"
    )
    weight: float = Field(
        0.5, ge=0, le=1, description="λ: a pair's target is 1 − λ times its click plus λ times the encoder's softmax"
    )
    temperature: float = Field(
        0.05, ge=1e-3, le=10, description="temperature of the encoder's softmax over the candidates of the pair"
    )

    @property
    def settings(self) -> EncoderConfig:
        """The settings of the encoder."""
        return EncoderConfig(model=self.encoder) if isinstance(self.encoder, str) else self.encoder


class Softmax(Frozen):
    """The cross-entropy of the positive among its negatives, with the logits cosine / temperature.

    [MGDSPR 2021; Que2Search 2021]
    """

    kind: Literal["softmax"] = "softmax"
    temperature: float = Field(0.05, ge=1e-3, le=10, description="divisor of the cosines: the lower, the sharper")
    logq: float = Field(
        0,
        ge=0,
        le=2,
        description="α in logit − α · log q, where q is the probability of the document in a batch [Yi et al. 2019]",
    )
    logq_form: Literal["plain", "refined", "shuffled"] = Field(
        "plain",
        description="plain: the correction applies to all logits; refined: to the negatives only, since the positive "
        "is not drawn; shuffled: q is permuted among the documents, a control [refined: arXiv 2507.09331]",
    )
    distillation: Distillation | None = Field(
        None, description="a pretrained encoder whose scores are a soft target in addition to the clicks"
    )


class ThreePart(Frozen):
    """Squared hinges on the cosine: the positive above a high bound, impressions below a middle bound, other negatives
    below a low bound. [Amazon semantic product search 2019]"""

    kind: Literal["three_part"] = "three_part"
    positive: float = Field(0.9, ge=-1, le=1, description="bound above which the loss pushes a positive's cosine")
    impression: float = Field(
        0.55, ge=-1, le=1, description="bound below which the loss pushes a not-clicked impression's cosine"
    )
    negative: float = Field(
        0.2, ge=-1, le=1, description="bound below which the loss pushes any other negative's cosine"
    )

    @model_validator(mode="after")
    def _in_order(self) -> ThreePart:
        if not self.negative <= self.impression < self.positive:
            raise ValueError(
                f"expected negative ≤ impression < positive, got {self.negative}, {self.impression}, {self.positive}"
            )
        return self


Loss = Annotated[Triplet | Softmax | ThreePart, Field(discriminator="kind")]
