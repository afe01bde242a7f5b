"""The kernels in place, against the losses that say what they mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.training.kernels import softmax_in_place, triplet_in_place
from ebr_core.training.losses import softmax, triplet
from ebr_core.training.train_loop import use_threads


def some(b: int, m: int, density: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    similarity, positive = rng.uniform(-1, 1, (b, m)), rng.uniform(-1, 1, b)
    return similarity.astype(np.float32), positive.astype(np.float32), rng.random((b, m)) < density


shapes = (st.integers(1, 6), st.integers(0, 70), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 9999))


@settings(max_examples=80, deadline=None)
@given(*shapes, st.sampled_from([0.01, 0.05, 1.0]), st.booleans())
def test_softmax_in_place_is_softmax(
    b: int, m: int, density: float, seed: int, temperature: float, corrected: bool
) -> None:
    """An offset of a logit is a similarity that is temperature · offset greater."""
    similarity, positive, counts = some(b, m, density, seed)
    rng = np.random.default_rng(seed)
    offsets, own = (corrected * rng.uniform(0, 8, n).astype(np.float32) for n in (m, b))
    wanted = softmax(
        torch.from_numpy(positive.astype(float) + temperature * own),
        torch.from_numpy(similarity.astype(float) + temperature * offsets),
        torch.from_numpy(counts),
        temperature,
    )
    got = similarity.copy()
    pushed = softmax_in_place(got, positive, counts, temperature, offsets, own)
    assert pushed.loss == pytest.approx(wanted.loss, rel=1e-5, abs=1e-5)
    assert pushed.active == pytest.approx(wanted.active, abs=1.5 / max(1, counts.sum()))  # one may lie on the bound
    assert pushed.negative_cosine == pytest.approx(similarity[counts].mean() if counts.any() else 0, abs=1e-6)
    size = 1 / (temperature * b)
    np.testing.assert_allclose(got, wanted.by_negative.numpy(), atol=2e-5 * size, rtol=5e-5)
    np.testing.assert_allclose(pushed.by_positive, wanted.by_positive.numpy(), atol=2e-5 * size, rtol=5e-5)
    assert not got[~counts].any()


@pytest.mark.parametrize("offset", [0, 200, -200])
def test_a_masked_negative_however_great_is_nothing(offset: float) -> None:
    similarity, none = np.array([[1.0, -1.0]], np.float32), np.zeros(1, np.float32)
    offsets = np.array([offset, 0], np.float32)
    pushed = softmax_in_place(similarity, np.array([0.5], np.float32), np.array([[False, True]]), 0.01, offsets, none)
    assert pushed.loss == pytest.approx(0)
    assert similarity.tolist() == [[0, pytest.approx(0)]]
    assert pushed.negative_cosine == -1


@settings(max_examples=80, deadline=None)
@given(*shapes, st.sampled_from([0.05, 0.5, 2.0]))
def test_triplet_in_place_is_triplet(b: int, m: int, density: float, seed: int, margin: float) -> None:
    similarity, positive, counts = some(b, m, density, seed)
    wanted = triplet(*(torch.from_numpy(a) for a in (positive, similarity, counts)), margin)
    got = similarity.copy()
    pushed = triplet_in_place(got, positive, counts, margin)
    assert pushed.loss == pytest.approx(wanted.loss, rel=1e-5, abs=1e-6)
    assert pushed.active == pytest.approx(wanted.active, abs=1e-6)
    assert pushed.negative_cosine == pytest.approx(similarity[counts].mean() if counts.any() else 0, abs=1e-6)
    np.testing.assert_allclose(got, wanted.by_negative.numpy(), rtol=1e-6)
    np.testing.assert_allclose(pushed.by_positive, wanted.by_positive.numpy(), rtol=1e-5)


def test_a_triplet_exactly_at_the_margin_does_not_push() -> None:
    similarity = np.array([[0.25, 0.5]], np.float32)
    pushed = triplet_in_place(similarity, np.array([0.75], np.float32), np.ones((1, 2), bool), 0.5)
    assert (pushed.loss, pushed.active) == (0.25, 0.5)
    assert similarity.tolist() == [[0, 1]]


def test_an_extreme_temperature_overflows_nothing() -> None:
    similarity, none = np.array([[1.0, 0.9]], np.float32), np.zeros(2, np.float32)
    pushed = softmax_in_place(similarity, np.array([-1], np.float32), np.ones((1, 2), bool), 1e-3, none, none[:1])
    assert pushed.loss == pytest.approx(2000)
    assert similarity.tolist() == [[pytest.approx(1000), pytest.approx(0, abs=1e-6)]]
    assert pushed.by_positive.tolist() == [pytest.approx(-1000)]


def test_what_is_not_a_number_comes_out_as_such() -> None:
    similarity, positive, counts = some(3, 9, 1, 0)
    similarity[1, 4] = np.nan
    none = np.zeros(9, np.float32)
    assert not np.isfinite(softmax_in_place(similarity.copy(), positive, counts, 0.05, none, none[:3]).negative_cosine)
    assert not np.isfinite(triplet_in_place(similarity.copy(), positive, counts, 0.2).negative_cosine)


def test_the_same_bytes_for_any_number_of_threads() -> None:
    found = []
    for threads in (1, 2):
        use_threads(threads)
        similarity, positive, counts = some(100, 300, 0.8, 4)
        offsets = np.zeros(300, np.float32)
        pushed = softmax_in_place(similarity, positive, counts, 0.05, offsets, offsets[:100])
        found.append((similarity.tobytes(), pushed.by_positive.tobytes(), pushed[:3]))
    assert found[0] == found[1]
