"""The settings of each kind of tower. A new kind needs a model here and a member of `TowerConfig`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, TypeAdapter, model_validator

from ebr_core.encoders.encoder_config import Device, EncoderConfig, Pooling
from ebr_core.encoders.lora_config import Lora
from ebr_core.encoders.model_folder import open_folder
from ebr_core.encoders.static_config import StaticStart
from ebr_core.encoders.token_config import TokenConfig, weights_identity
from ebr_core.frozen import Frozen


class _AnyTower(Frozen):
    """The settings of every kind of tower."""

    dimensions: int | None
    shared: bool = Field(True, description="true: one n-gram table, or encoder, for both towers; false: one for each")
    query_vectors: int = Field(
        1, ge=1, le=16, description="h embeddings of a query; the score of a document is the largest of h [DPSR 2020]"
    )
    prefixes: tuple[int, ...] = Field(
        (),
        description="lengths of prefixes of the embedding: the loss of each prefix, scaled to unit length, counts as "
        "much as that of the whole embedding, so that a prefix can be searched by itself [Matryoshka 2022]",
    )

    @model_validator(mode="after")
    def _prefixes_are_shorter(self) -> _AnyTower:
        if any(prefix < 1 or (self.dimensions and prefix >= self.dimensions) for prefix in self.prefixes):
            most = f"to {self.dimensions - 1}" if self.dimensions else "on"
            raise ValueError(f"prefixes: got {list(self.prefixes)}; each from 1 {most}")
        return self

    def shape(self) -> dict[str, Any]:
        """The settings that determine the parameters: all but the learning rates and the start.

        Towers of the same shape can start from each other's parameters.
        """
        excluded = {"start_weight", "static"}
        return {
            key: value for key, value in self.model_dump().items() if not key.endswith("_rate") and key not in excluded
        }


class NgramTowerConfig(_AnyTower):
    """The two encoders f(Q) and g(D): a table or a projection for each group, and their fusion. [EBR §2.3]"""

    kind: Literal["ngram"] = "ngram"
    dimensions: int = Field(128, ge=2, le=2048, description="D, the length of an embedding")
    fusion: Literal["additive", "mlp"] = Field(
        "additive",
        description="how the groups become one embedding: each scaled to unit length and summed with learned weights, "
        "or passed through one network over all of them",
    )
    hidden: int = Field(256, ge=2, le=8192, description="units of the hidden layer of fusion: mlp")
    projection_rate: float = Field(
        0.01, gt=0, le=100, description="learning rate of the row-wise Adagrad over the projections of given vectors"
    )
    start_weight: float = Field(
        1,
        gt=0,
        le=10,
        description="weight at which a group besides the text, which starts at 1, starts in fusion: additive",
    )
    weight_rate: float = Field(
        0.5,
        gt=0,
        le=100,
        description="learning rate of the Adagrad over the groups' weights of fusion: additive, which learn from each "
        "pair once, while it is new to the tables",
    )
    network_rate: float = Field(1e-3, gt=0, le=100, description="learning rate of the Adam of fusion: mlp")
    static: StaticStart | None = Field(
        None,
        description="a pretrained encoder whose vectors of words are the start of the n-gram table, in place of random "
        "ones",
    )


class TransformerTowerConfig(_AnyTower):
    """A pretrained encoder for the text, trained further; all other groups are added as in the n-gram towers."""

    kind: Literal["transformer"] = "transformer"
    model: str = Field(
        min_length=1,
        description="a folder with the model, from the folder of this file, or its name in the local cache of Hugging "
        "Face",
    )
    dimensions: int | None = Field(
        None, ge=2, le=16_384, description="D: the first of the encoder's dimensions, scaled to unit length; null: all"
    )
    query_prompt: str | None = Field(None, description="text before each query; null: the model's own; '' for none")
    document_prompt: str | None = Field(
        None, description="text before each document; null: the model's own; '' for none"
    )
    pooling: Pooling | None = Field(
        None, description="mean of the tokens, the first (cls) or the last; null: as the model says, else mean"
    )
    max_tokens: int = Field(64, ge=3, le=32_768, description="tokens after which a text is cut")
    lora: Lora | None = Field(None, description="train adapters of low rank alone; null: all weights")
    encoder_rate: float | None = Field(
        None, gt=0, le=1, description="learning rate of AdamW over the encoder; null: 2e-5, or 2e-4 with lora"
    )
    weight_decay: float = Field(0.01, ge=0, le=1, description="of AdamW; biases and norms have none")
    warm_up: float = Field(
        0.1, ge=0, le=100, description="the share of the first epoch's steps in which encoder_rate rises from 0"
    )
    clip: float = Field(1.0, gt=0, le=1000, description="the longest gradient; a longer one is scaled to that")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the units that a training step leaves out")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of the products in training; auto: bfloat16 on a GPU that has it, else float32. Vectors that are "
        "searched are always computed in float32",
    )
    device: Device = Field("auto", description="auto: cuda, else mps, else cpu")
    memory_tokens: int = Field(
        8192,
        ge=1,
        description="tokens, padding included, whose intermediate results are kept at a time. A larger batch is "
        "computed twice, in parts, with the same gradient; all its negatives count",
    )
    download: bool = Field(
        False, description="true: get a model that is in no local cache from Hugging Face before the run begins"
    )
    projection_rate: float = Field(
        0.01, gt=0, le=100, description="learning rate of the row-wise Adagrad over the projections of given vectors"
    )
    start_weight: float = Field(
        1, gt=0, le=10, description="weight at which a group besides the text, which starts at 1, starts"
    )
    weight_rate: float = Field(
        0.5,
        gt=0,
        le=100,
        description="learning rate of the Adagrad over the groups' weights, which learn from each pair once",
    )

    @model_validator(mode="after")
    def _one_query_vector(self) -> TransformerTowerConfig:
        if self.query_vectors > 1:
            raise ValueError("query_vectors above 1 needs kind: ngram; a transformer gives a query one vector")
        return self

    @property
    def encoder(self) -> EncoderConfig:
        """The encoder that training starts from."""
        own = {"pooling": self.pooling, "dimensions": self.dimensions, "device": self.device}
        return EncoderConfig.model_validate(self.tokens.model_dump() | own)

    @property
    def tokens(self) -> TokenConfig:
        """How texts are cut into tokens."""
        names = ("model", "query_prompt", "document_prompt", "max_tokens", "download")
        return TokenConfig.model_validate({name: getattr(self, name) for name in names})

    @property
    def first_rate(self) -> float:
        """The learning rate of the encoder."""
        return self.encoder_rate or (2e-5 if self.lora is None else 2e-4)

    def shape(self) -> dict[str, Any]:
        """The settings that determine the parameters."""
        excluded = {"weight_decay", "warm_up", "clip", "dropout", "precision", "device", "memory_tokens", "download"}
        return {key: value for key, value in super().shape().items() if key not in excluded}

    def content_identity(self) -> dict[str, str]:
        """The digest of the model, which stands for its path in the names of artifacts."""
        return {"model": weights_identity(self.encoder)}


TowerConfig = Annotated[NgramTowerConfig | TransformerTowerConfig, Field(discriminator="kind")]


def dimensions_of(towers: NgramTowerConfig | TransformerTowerConfig) -> int:
    """D, the length of an embedding."""
    match towers:
        case NgramTowerConfig():
            return towers.dimensions
        case TransformerTowerConfig():
            return towers.dimensions or open_folder(towers.encoder).dimensions
        case _:
            assert_never(towers)


def with_kind(towers: object) -> object:
    """The settings as written, with the default kind, ngram, filled in."""
    return {"kind": "ngram"} | towers if isinstance(towers, dict) else towers


def read_tower_config(settings: dict[str, Any]) -> TowerConfig:
    """The settings in a manifest; keys that an older version did not write take their defaults."""
    config: TowerConfig = TypeAdapter(TowerConfig).validate_python(with_kind(settings))
    return config
