"""The settings of each kind of tower. A new kind needs a model here and a member of `TowerConfig`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from ebr_core.frozen import Frozen


class _AnyTower(Frozen):
    """The settings of every kind of tower."""

    dimensions: int = Field(128, ge=2, le=2048, description="D, the length of an embedding")
    shared: bool = Field(True, description="true: one n-gram table for both towers; false: one for each")
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
        if any(not 1 <= prefix < self.dimensions for prefix in self.prefixes):
            raise ValueError(f"prefixes: got {list(self.prefixes)}; each from 1 to {self.dimensions - 1}")
        return self

    def shape(self) -> dict[str, Any]:
        """The settings that determine the parameters: all but the learning rates and the start.

        Towers of the same shape can start from each other's parameters.
        """
        excluded = {"start_weight"}
        return {
            key: value for key, value in self.model_dump().items() if not key.endswith("_rate") and key not in excluded
        }


class NgramTowerConfig(_AnyTower):
    """The two encoders f(Q) and g(D): a table or a projection for each group, and their fusion. [EBR §2.3]"""

    kind: Literal["ngram"] = "ngram"
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


# With a second kind: TowerConfig = Annotated[NgramTowerConfig | OtherConfig, Field(discriminator="kind")]
TowerConfig = NgramTowerConfig


def with_kind(towers: object) -> object:
    """The settings as written, with the default kind, ngram, filled in."""
    return {"kind": "ngram"} | towers if isinstance(towers, dict) else towers


def read_tower_config(settings: dict[str, Any]) -> TowerConfig:
    """The settings in a manifest; keys that an older version did not write take their defaults."""
    config: TowerConfig = TypeAdapter(TowerConfig).validate_python(with_kind(settings))
    return config
