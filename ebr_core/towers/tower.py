"""A tower as everything outside it sees it: rows in, unit vectors out; a gradient in, a step.

Training, mining, validation, embedding and saving use nothing else of a tower. How a tower is made, and how it comes
back from disk, is decided in `tower_kinds`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.scratch import Array
from ebr_core.towers.fitted_features import Fitted
from ebr_core.towers.tower_inputs import Inputs

BLOCK = 16_384  # rows embedded at a time


class Forward(Protocol):
    """The unit vectors of some rows, with whatever the tower that made them needs for the way back."""

    @property
    def vectors(self) -> Float32:
        """(n, D) of unit length; the zero vector where nothing of a row is known."""


class Tower(Protocol):
    """Both towers f(Q) and g(D) over some inputs: the embedding of every row, and how it learns. [EBR §2.3]

    Rows are the searches of the inputs, then their documents, then added ones. All arrays of vectors are (n, D).
    """

    @property
    def dimensions(self) -> int:
        """D, the length of an embedding."""

    def over(self, inputs: Inputs) -> Self:
        """The same parameters, not a copy, over other inputs with the same groups. Cheap: it is called per query."""

    def encode(self, rows: Int32) -> Float32:
        """(n, D) unit vectors of any number of rows (n,), made in blocks; nothing else is kept."""

    def forward(self, rows: Int32) -> Forward:
        """The unit vectors of the rows (n,) of one batch, and what `step` needs."""

    def step(self, forward: Any, gradient: Float32, rate: float) -> None:
        """Moves the parameters in place, one step of the optimiser.

        forward: what `forward` returned, used once. gradient (n, D): ∂L/∂vectors, used up. rate: the step size that
        the arm's training sets; rates of single parts are settings of the tower.
        """

    def state(self) -> dict[str, Array]:
        """All that is kept on disk, the optimiser's state included, by name. The arrays are the tower's own."""

    def counts(self) -> dict[str, int]:
        """How large the tower is, such as table_rows, by the names that the arm's costs give it."""

    def weights(self) -> dict[str, float]:
        """What each side leans on, by name, for a person to read; empty where that has no meaning."""

    def warm_start(self, old: Self, before: Fitted, after: Fitted) -> Self:
        """This tower, which has learned nothing, with what `old` learned on an earlier log; its arrays are written to.

        before and after: what the training windows of the earlier log and of this one decided.
        """


def encode_in_blocks(forward: Callable[[Int32], Forward], rows: Int32, dimensions: int) -> Float32:
    """(n, D) the vectors of the rows (n,), a block of them at a time."""
    vectors = np.empty((len(rows), dimensions), np.float32)
    for first in range(0, len(rows), BLOCK):
        vectors[first : first + BLOCK] = forward(rows[first : first + BLOCK]).vectors
    return vectors


def query_vectors(tower: Tower, inputs: Inputs, searches: Int32) -> Float32:
    """(n, D) the embeddings of those searches, or (h, n, D) where each has several. tower: over these inputs."""
    vectors = tower.encode(inputs.queries_of(searches))
    return vectors if len(inputs.views) == 1 else vectors.reshape(len(inputs.views), len(searches), -1)


def copied_state(tower: Tower) -> dict[str, Array]:
    """A copy of the tower's state, which later steps leave as it is."""
    return {name: array.copy() for name, array in tower.state().items()}
