"""The settings of each loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.frozen import Frozen


class Triplet(Frozen):
    """max(0, D(q, d⁺) − D(q, d⁻) + margin), D = 1 − cosine. [EBR §2.2]"""

    kind: Literal["triplet"] = "triplet"
    margin: float = Field(0.2, gt=0, le=2, description="in cosine distance")


class Distillation(Frozen):
    """The scores of a pretrained encoder as a soft target beside the clicks. [Hinton et al. 2015]

    It is needed in training alone: the towers that learn from it answer without it.
    """

    encoder: Annotated[str, Field(min_length=1)] | EncoderConfig = Field(
        description="the encoder, its folder or its settings; each text is encoded once for all arms"
    )
    weight: float = Field(
        0.5, ge=0, le=1, description="λ: a pair's target is 1 − λ times its click and λ times the encoder's softmax"
    )
    temperature: float = Field(
        0.05, ge=1e-3, le=10, description="of the encoder's softmax over the candidates of the pair"
    )

    @property
    def settings(self) -> EncoderConfig:
        """The settings of the encoder."""
        return EncoderConfig(model=self.encoder) if isinstance(self.encoder, str) else self.encoder


class Softmax(Frozen):
    """Cross-entropy of the positive among its negatives, logits cosine / temperature. [MGDSPR 2021; Que2Search 2021]"""

    kind: Literal["softmax"] = "softmax"
    temperature: float = Field(0.05, ge=1e-3, le=10, description="by which cosines are divided: the lower, the sharper")
    logq: float = Field(
        0,
        ge=0,
        le=2,
        description="α of logit − α · log q, q the probability of the document in a batch [Yi et al. 2019]",
    )
    logq_form: Literal["plain", "refined", "shuffled"] = Field(
        "plain",
        description="the correction of all logits; of the negatives only, since the positive is not drawn [arXiv "
        "2507.09331]; or with q permuted among the documents, a control",
    )
    distillation: Distillation | None = Field(
        None, description="a pretrained encoder whose scores are a soft target beside the clicks"
    )


class ThreePart(Frozen):
    """Squared hinges on the cosine: the positive above a high bound, impressions below a middle bound, other negatives
    below a low bound. [Amazon semantic product search 2019]"""

    kind: Literal["three_part"] = "three_part"
    positive: float = Field(0.9, ge=-1, le=1, description="bound up to which a positive's cosine is pushed")
    impression: float = Field(
        0.55, ge=-1, le=1, description="bound down to which a not-clicked impression's cosine is pushed"
    )
    negative: float = Field(0.2, ge=-1, le=1, description="bound down to which any other negative's cosine is pushed")

    @model_validator(mode="after")
    def _in_order(self) -> ThreePart:
        if not self.negative <= self.impression < self.positive:
            raise ValueError(
                f"expected negative ≤ impression < positive, got {self.negative}, {self.impression}, {self.positive}"
            )
        return self


Loss = Annotated[Triplet | Softmax | ThreePart, Field(discriminator="kind")]
