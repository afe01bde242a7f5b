"""Maps of given vectors: as they come, learned on one side, of low rank, and on the main axes; against slow oracles."""

from __future__ import annotations

import numpy as np
import pytest

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.towers.projection import new_projection, project, refuse_other_length, step_projection
from ebr_core.towers.tower_inputs import VectorGroup, vector_group
from ebr_core.towers.vector_config import Adapt, LowRank

WIDTH, SEARCHES, DOCUMENTS = 6, 5, 40
RNG = np.random.default_rng(1)
SIDE = np.repeat([0, 1], [SEARCHES, DOCUMENTS]).astype(np.int32)
ROWS = slice(SEARCHES, SEARCHES + DOCUMENTS)


def _group(adapt: Adapt | None) -> VectorGroup:
    vectors = RNG.standard_normal((SEARCHES + DOCUMENTS, WIDTH), np.float32)
    return vector_group(vectors[:SEARCHES], vectors[SEARCHES:], np.arange(SEARCHES, dtype=np.int32), adapt)


def _units(group: VectorGroup, projection: object, dimensions: int) -> Float32:
    units = np.empty((len(SIDE), dimensions), np.float32)
    project(projection, group, group.vectors, SIDE, units, np.empty(len(SIDE), np.float32))  # type: ignore[arg-type]
    return units


def _unit(vectors: Float32) -> Float32:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("adapt", ["none", "queries", "both", LowRank(rank=2), LowRank(rank=2, sides="both")])
def test_untrained_maps_leave_vectors_as_they_come(adapt: Adapt) -> None:
    group = _group(adapt)
    units = _units(group, new_projection(group, ROWS, WIDTH, np.random.default_rng(0)), WIDTH)
    np.testing.assert_allclose(units, _unit(group.vectors), atol=1e-6)


@pytest.mark.parametrize(
    ("adapt", "moves"),
    [
        ("none", (False, False)),
        ("queries", (True, False)),
        ("both", (True, True)),
        (LowRank(rank=2), (True, False)),
        (LowRank(rank=2, sides="both"), (True, True)),
    ],
)
def test_only_the_sides_that_learn_move(adapt: Adapt, moves: tuple[bool, bool]) -> None:
    group = _group(adapt)
    projection = new_projection(group, ROWS, WIDTH, np.random.default_rng(0))
    before = projection.maps.copy()
    for _ in range(3):
        gradient = RNG.standard_normal((len(SIDE), WIDTH), np.float32)
        step_projection(projection, group, group.vectors, SIDE, gradient, 0.1)
    assert tuple(bool(np.abs(projection.maps[s] - before[s]).max() > 1e-3) for s in (0, 1)) == moves


def test_a_correction_of_low_rank_stays_of_that_rank_and_falls_down_the_loss() -> None:
    group = _group(LowRank(rank=2))
    projection = new_projection(group, ROWS, WIDTH, np.random.default_rng(0))
    goal = RNG.standard_normal((WIDTH, WIDTH), np.float32)
    queries = group.vectors[:SEARCHES]
    losses = []
    for _ in range(30):
        error = queries @ (projection.maps[0] - goal).T
        losses.append(float((error**2).sum()))
        gradient = np.zeros((len(SIDE), WIDTH), np.float32)
        gradient[:SEARCHES] = 2 * error
        step_projection(projection, group, group.vectors, SIDE, gradient, 0.05)
    correction = projection.maps[0] - np.eye(WIDTH, dtype=np.float32)
    np.testing.assert_allclose(correction, projection.up[0] @ projection.down[0], atol=1e-5)
    assert np.linalg.matrix_rank(correction, tol=1e-4) == 2
    assert losses[-1] < losses[0]


def test_fewer_dimensions_keep_the_main_axes_of_the_documents() -> None:
    group = _group("both")
    units = _units(group, new_projection(group, ROWS, 3, np.random.default_rng(0)), 3)
    documents = group.vectors[SEARCHES:]
    _, _, axes = np.linalg.svd(documents, full_matrices=False)
    expected = _unit(documents @ axes[:3].T)
    np.testing.assert_allclose(units[SEARCHES:] @ units[SEARCHES:].T, expected @ expected.T, atol=1e-4)


def test_more_dimensions_keep_all_cosines() -> None:
    group = _group("both")
    units = _units(group, new_projection(group, ROWS, 9, np.random.default_rng(0)), 9)
    np.testing.assert_allclose(units @ units.T, _unit(group.vectors) @ _unit(group.vectors).T, atol=1e-5)


@pytest.mark.parametrize("adapt", ["none", "queries", LowRank(rank=2)])
def test_vectors_that_stay_need_their_own_length(adapt: Adapt) -> None:
    with pytest.raises(InputError, match=r"groups\.meaning: its vectors of 6 .* set towers: \{dimensions: 6\}"):
        refuse_other_length("meaning", _group(adapt), 4)
    refuse_other_length("meaning", _group("both"), 4)
    refuse_other_length("friends", _group(None), 4)


def test_a_zero_vector_is_none() -> None:
    vectors = np.array([[0, 0], [1, 0], [0, 0]], np.float32)
    group = vector_group(vectors[:1], vectors[1:], np.array([0, 0, -1], np.int32), "none")
    assert group.at.tolist() == [-1, -1, -1, 1, -1]
