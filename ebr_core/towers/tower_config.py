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
    shared: bool = Field(True, description="true: one n-gram table or encoder for both towers; false: one for each")
    query_vectors: int = Field(
        1,
        ge=1,
        le=16,
        description="h, the number of embeddings of a query; the score of a document is its highest with any of them "
        "[DPSR 2020]",
    )
    prefixes: tuple[int, ...] = Field(
        (),
        description="lengths of prefixes of the embedding that can be searched by themselves: the loss of each prefix, "
        "scaled to unit length, counts as much as the loss of the whole embedding [Matryoshka 2022]",
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
    """The two towers f(Q) and g(D): a table or a projection for each group, and their fusion. [EBR §2.3]"""

    kind: Literal["ngram"] = "ngram"
    dimensions: int = Field(128, ge=2, le=2048, description="D, the length of an embedding")
    fusion: Literal["additive", "mlp"] = Field(
        "additive",
        description="how the groups become one embedding: additive scales each to unit length and sums them with "
        "learned weights; mlp passes all of them through one network",
    )
    hidden: int = Field(256, ge=2, le=8192, description="units of the hidden layer of fusion: mlp")
    projection_rate: float = Field(
        0.01, gt=0, le=100, description="learning rate of row-wise Adagrad for the projections of given vectors"
    )
    start_weight: float = Field(
        1, gt=0, le=10, description="initial weight of each group in fusion: additive; the text starts at 1"
    )
    weight_rate: float = Field(
        0.5,
        gt=0,
        le=100,
        description="learning rate of Adagrad for the group weights of fusion: additive, which learn from each pair "
        "once, while it is new to the tables",
    )
    network_rate: float = Field(1e-3, gt=0, le=100, description="learning rate of Adam for fusion: mlp")
    static: StaticStart | None = Field(
        None,
        description="a pretrained encoder whose word vectors initialise the n-gram table, instead of random vectors",
    )


class TransformerTowerConfig(_AnyTower):
    """A pretrained encoder for the text, trained further; the groups are added as in the n-gram towers."""

    kind: Literal["transformer"] = "transformer"
    model: str = Field(
        min_length=1,
        description="a folder with the model, relative to the folder of this file, or its name in the local Hugging "
        "Face cache",
    )
    dimensions: int | None = Field(
        None,
        ge=2,
        le=16_384,
        description="D, the number of leading dimensions of the encoder to keep, scaled to unit length; null: all",
    )
    query_prompt: str | None = Field(None, description="text before each query; null: the model's own; '': none")
    document_prompt: str | None = Field(None, description="text before each document; null: the model's own; '': none")
    pooling: Pooling | None = Field(
        None, description="mean of the tokens, the first token (cls) or the last; null: as the model says, else mean"
    )
    max_tokens: int = Field(64, ge=3, le=32_768, description="number of tokens after which a text is cut")
    lora: Lora | None = Field(None, description="train only adapters of low rank; null: all weights")
    encoder_rate: float | None = Field(
        None, gt=0, le=1, description="learning rate of AdamW for the encoder; null: 2e-5, or 2e-4 with lora"
    )
    weight_decay: float = Field(0.01, ge=0, le=1, description="weight decay of AdamW; biases and norms have none")
    warm_up: float = Field(
        0.1, ge=0, le=100, description="share of the first epoch's steps in which encoder_rate rises from 0"
    )
    clip: float = Field(
        1.0, gt=0, le=1000, description="largest norm of a gradient; a larger gradient is scaled down to it"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="share of units that a training step leaves out")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="precision of the products in training; auto: bfloat16 on a GPU that supports it, else float32. "
        "The vectors to search are always computed in float32",
    )
    device: Device = Field("auto", description="auto: cuda, else mps, else cpu")
    memory_tokens: int = Field(
        8192,
        ge=1,
        description="number of tokens, padding included, whose intermediate results are kept at a time. A larger batch "
        "is computed twice, in parts, with the same gradient; all its negatives count",
    )
    download: bool = Field(
        False, description="true: download the model from Hugging Face before the run begins if no local cache has it"
    )
    projection_rate: float = Field(
        0.01, gt=0, le=100, description="learning rate of row-wise Adagrad for the projections of given vectors"
    )
    start_weight: float = Field(1, gt=0, le=10, description="initial weight of each group; the text starts at 1")
    weight_rate: float = Field(
        0.5, gt=0, le=100, description="learning rate of Adagrad for the group weights, which learn from each pair once"
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
