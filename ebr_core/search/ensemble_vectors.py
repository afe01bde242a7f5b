"""Weighted ensembles: several models' vectors one behind the other, searched as one. [EBR §6.2]"""

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
        description="arms; one that stands again is trained again with another seed, so that [random, random] tells "
        "what averaging alone is worth",
    )
    weights: tuple[Weight, ...] | None = Field(
        None,
        description="one for each part, the first 1; without them, those with the best recall@10 on the validation",
    )

    @model_validator(mode="after")
    def _a_weight_each(self) -> Ensemble:
        if self.weights is None:
            return self
        if len(self.weights) != len(self.parts):
            raise ValueError(f"got {len(self.weights)} weights for {len(self.parts)} parts; give one for each")
        if self.weights[0] != 1:
            raise ValueError(f"weights: the first is {self.weights[0]:g}; it is always 1, the others are beside it")
        return self

    def runs(self, seed: int, seeds: Sequence[int]) -> list[tuple[str, int]]:
        """The (arm, seed) of each part; an arm that stands again takes seeds that the experiment does not use.

        >>> Ensemble(parts=("random", "hard", "random")).runs(1, [0, 1])
        [('random', 1), ('hard', 1), ('random', 3)]
        """
        again = [self.parts[:at].count(part) for at, part in enumerate(self.parts)]
        return [(part, seed + times * (1 + max(seeds))) for part, times in zip(self.parts, again, strict=True)]


def concat_documents(parts: Sequence[Float32]) -> Float32:
    """(N, ΣD): E_D = (Û₁, …, Ûₙ) / √n of unit vectors (N, Dᵢ). [EBR §6.2]

    Of unit length, but where a part knows nothing of a document: its zero vector adds nothing, and stays as it is.
    """
    _refuse_unlike(parts, "documents")
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))


def concat_queries(parts: Sequence[Float32], weights: Sequence[float]) -> Float32:
    """(Q, ΣD): E_Q = (α₁V̂₁, …, αₙV̂ₙ) at unit length, of unit vectors (Q, Dᵢ). [EBR §6.2]

    With E_D, E_Q · E_D = Σ αᵢ cos(Vᵢ, Uᵢ) / (√Σαᵢ² · √n), the sum of squares over the parts that know the query. Where
    none does, the zero vector.
    """
    _refuse_unlike(parts, "queries")
    joined = np.concatenate([np.float32(weight) * part for weight, part in zip(weights, parts, strict=True)], axis=1)
    lengths = np.linalg.norm(joined, axis=1, keepdims=True)
    return np.asarray(np.divide(joined, lengths, out=np.zeros_like(joined), where=lengths > 0))


def _refuse_unlike(parts: Sequence[Float32], side: str) -> None:
    shapes = [part.shape for part in parts]
    if any(len(shape) != 2 for shape in shapes):
        raise InputError(f"{side} of shapes {shapes}: a part of an ensemble gives one vector each, (n, D)")
    if len({shape[0] for shape in shapes}) > 1:
        counts = ", ".join(str(shape[0]) for shape in shapes)
        raise InputError(f"the parts have {counts} {side}: they belong to different corpora; embed the same with each")
