"""The interface of a tower: rows in, unit vectors out; a gradient in, a step taken.

Training, mining, validation, embedding and saving use nothing else of a tower. `tower_kinds` makes towers and restores
them from disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np

from ebr_core.arrays import Float32, Int32
from ebr_core.scratch import Array
from ebr_core.towers.fitted_features import FittedFeatures
from ebr_core.towers.tower_inputs import Inputs

BLOCK = 16_384  # rows embedded at a time


class Forward(Protocol):
    """The unit vectors of some rows, with the intermediate results that the tower's `step` needs."""

    @property
    def vectors(self) -> Float32:
        """(n, D) of unit length; the zero vector for a row without known features."""


class Tower(Protocol):
    """Both towers f(Q) and g(D) over some inputs: the embedding of every row, and its training step. [EBR §2.3]

    Rows are the searches of the inputs, then their documents, then added rows. All arrays of vectors are (n, D).
    """

    @property
    def dimensions(self) -> int:
        """D, the length of an embedding."""

    def over(self, inputs: Inputs) -> Self:
        """The same parameters, not a copy, over other inputs with the same groups. Cheap: it is called per query."""

    def encode(self, rows: Int32) -> Float32:
        """(n, D) unit vectors of any number of rows (n,), computed in blocks; no intermediate results are kept."""

    def forward(self, rows: Int32) -> Forward:
        """The unit vectors of the rows (n,) of one batch, with the intermediate results that `step` needs."""

    def step(self, forward: Any, gradient: Float32, rate: float) -> None:
        """Take one step of the optimiser, changing the parameters in place.

        forward: the return value of `forward`, used once. gradient (n, D): ∂L/∂vectors, overwritten. rate: the arm's
        learning rate; the rates of single parts are settings of the tower.
        """

    @property
    def weighs_groups(self) -> bool:
        """True if the tower learns how much each of its groups counts, by `step_weights`."""

    def step_weights(self, forward: Any, gradient: Float32) -> None:
        """Take one step on the groups' weights alone, after the `step` of the same batch, if its pairs are new.

        The arguments are those of `step`, with the gradient as it was before.
        """

    def state(self) -> dict[str, Array]:
        """Everything that is saved to disk, by name, the optimiser's state included. The arrays are not copies."""

    def counts(self) -> dict[str, int]:
        """The sizes of the tower, such as table_rows, under their names in the arm's costs."""

    def weights(self) -> dict[str, float]:
        """The weight of each part on each side, by name, for people to read; empty if the tower has no such weights."""

    def warm_start(self, old: Self, before: FittedFeatures, after: FittedFeatures) -> Self:
        """This untrained tower with the parameters that `old` learned on an earlier log; its arrays are overwritten.

        before and after: the fitted features of the earlier log and of this one.
        """


def encode_in_blocks(forward: Callable[[Int32], Forward], rows: Int32, dimensions: int) -> Float32:
    """(n, D) the vectors of the rows (n,), computed a block at a time."""
    vectors = np.empty((len(rows), dimensions), np.float32)
    for first in range(0, len(rows), BLOCK):
        vectors[first : first + BLOCK] = forward(rows[first : first + BLOCK]).vectors
    return vectors


def query_vectors(tower: Tower, inputs: Inputs, searches: Int32) -> Float32:
    """(n, D) the embeddings of the searches, or (h, n, D) if each has several. tower: over these inputs."""
    vectors = tower.encode(inputs.queries_of(searches))
    return vectors if len(inputs.views) == 1 else vectors.reshape(len(inputs.views), len(searches), -1)


def copied_state(tower: Tower) -> dict[str, Array]:
    """A copy of the tower's state, which later steps do not change."""
    return {name: array.copy() for name, array in tower.state().items()}
