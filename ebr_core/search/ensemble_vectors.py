"""Weighted ensembles: the concatenated vectors of several models, searched as one. [EBR §6.2]"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen

Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


class Ensemble(Frozen):
    """Two to four arms whose weighted cosines are added."""

    parts: tuple[str, ...] = Field(
        min_length=2,
        max_length=4,
        description="the arms; a repeated arm is trained again with another seed, so [random, random] shows the gain "
        "of averaging alone",
    )
    weights: tuple[Weight, ...] | None = Field(
        None,
        description="one weight for each part, with 1 for the first; default: the weights with the best validation "
        "recall",
    )

    @model_validator(mode="after")
    def _check_weights(self) -> Ensemble:
        if self.weights is None:
            return self
        if len(self.weights) != len(self.parts):
            raise ValueError(f"got {len(self.weights)} weights for {len(self.parts)} parts; give one for each")
        if self.weights[0] != 1:
            raise ValueError(
                f"weights: the first is {self.weights[0]:g}; it is always 1, and the others are relative to it"
            )
        return self

    def runs(self, seed: int, seeds: Sequence[int]) -> list[tuple[str, int]]:
        """The (arm, seed) of each part. A repeated arm takes seeds that the experiment does not use.

        >>> Ensemble(parts=("random", "hard", "random")).runs(1, [0, 1])
        [('random', 1), ('hard', 1), ('random', 3)]
        """
        repeats = [self.parts[:i].count(part) for i, part in enumerate(self.parts)]
        return [(part, seed + repeat * (1 + max(seeds))) for part, repeat in zip(self.parts, repeats, strict=True)]


def concat_documents(parts: Sequence[Float32]) -> Float32:
    """(N, ΣD): E_D = (Û₁, …, Ûₙ) / √n of unit vectors (N, Dᵢ). [EBR §6.2]

    The rows have unit length, unless a part has the zero vector for a document: that part then adds nothing.
    """
    _check_shapes(parts, "documents")
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def concat_queries(parts: Sequence[Float32], weights: Sequence[float]) -> Float32:
    """(Q, ΣD): E_Q = (α₁V̂₁, …, αₙV̂ₙ), normalised, of unit vectors (Q, Dᵢ). [EBR §6.2]

    E_Q · E_D = Σ αᵢ cos(Vᵢ, Uᵢ) / (√Σαᵢ² · √n), where Σαᵢ² is over the parts whose query vector is not zero. If all
    parts have the zero vector, so does the ensemble.
    """
    _check_shapes(parts, "queries")
    concatenated = np.concatenate(
        [np.float32(weight) * part for weight, part in zip(weights, parts, strict=True)], axis=1
    )
    lengths = np.linalg.norm(concatenated, axis=1, keepdims=True)
    return np.asarray(np.divide(concatenated, lengths, out=np.zeros_like(concatenated), where=lengths > 0))


def _check_shapes(parts: Sequence[Float32], side: str) -> None:
    shapes = [part.shape for part in parts]
    if any(len(shape) != 2 for shape in shapes):
        raise InputError(f"{side} of shapes {shapes}: each part of an ensemble must give one vector per row, (n, D)")
    if len({shape[0] for shape in shapes}) > 1:
        counts = ", ".join(str(shape[0]) for shape in shapes)
        raise InputError(
            f"the parts have {counts} {side}: they belong to different corpora; embed the same ones with each part"
        )
