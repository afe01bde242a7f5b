"""The in-place kernels, compared with the losses that define them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.parallel import use_threads
from ebr_core.training.kernels import softmax_in_place, triplet_in_place
from ebr_core.training.losses import softmax, triplet


def random_case(b: int, m: int, density: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    similarity, positive = rng.uniform(-1, 1, (b, m)), rng.uniform(-1, 1, b)
    return similarity.astype(np.float32), positive.astype(np.float32), rng.random((b, m)) < density


def weights_of_pairs(b: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.1, 3, b).astype(np.float32)


shapes = (st.integers(1, 6), st.integers(0, 70), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 9999))


@settings(max_examples=80, deadline=None)
@given(*shapes, st.sampled_from([0.01, 0.05, 1.0]), st.booleans(), st.booleans())
def test_softmax_in_place_is_softmax(
    b: int, m: int, density: float, seed: int, temperature: float, corrected: bool, weighted: bool
) -> None:
    """A logit shift equals a similarity that is greater by temperature · shift."""
    similarity, positive, negative_mask = random_case(b, m, density, seed)
    rng = np.random.default_rng(seed)
    weights = weights_of_pairs(b, rng) if weighted else None
    negative_shift, positive_shift = (corrected * rng.uniform(0, 8, n).astype(np.float32) for n in (m, b))
    expected = softmax(
        torch.from_numpy(positive.astype(float) + temperature * positive_shift),
        torch.from_numpy(similarity.astype(float) + temperature * negative_shift),
        torch.from_numpy(negative_mask),
        temperature,
        weights=None if weights is None else torch.from_numpy(weights),
    )
    similarities, shifts = similarity.copy(), (negative_shift, positive_shift)
    loss = softmax_in_place(similarities, positive, negative_mask, temperature, *shifts, weights)
    assert loss.loss == pytest.approx(expected.loss, rel=1e-5, abs=1e-5)
    assert loss.active == pytest.approx(
        expected.active, abs=1.5 / max(1, negative_mask.sum())
    )  # one negative may lie on the bound
    assert loss.negative_cosine == pytest.approx(
        similarity[negative_mask].mean() if negative_mask.any() else 0, abs=1e-6
    )
    size = 1 / (temperature * b)
    np.testing.assert_allclose(similarities, expected.by_negative.numpy(), atol=2e-5 * size, rtol=5e-5)
    np.testing.assert_allclose(loss.by_positive, expected.by_positive.numpy(), atol=2e-5 * size, rtol=5e-5)
    assert not similarities[~negative_mask].any()


@pytest.mark.parametrize("offset", [0, 200, -200])
def test_a_masked_negative_has_no_effect_however_great(offset: float) -> None:
    similarity, positive_shift = np.array([[1.0, -1.0]], np.float32), np.zeros(1, np.float32)
    negative_shift = np.array([offset, 0], np.float32)
    loss = softmax_in_place(
        similarity, np.array([0.5], np.float32), np.array([[False, True]]), 0.01, negative_shift, positive_shift
    )
    assert loss.loss == pytest.approx(0)
    assert similarity.tolist() == [[0, pytest.approx(0)]]
    assert loss.negative_cosine == -1


@settings(max_examples=80, deadline=None)
@given(*shapes, st.sampled_from([0.05, 0.5, 2.0]), st.booleans())
def test_triplet_in_place_is_triplet(b: int, m: int, density: float, seed: int, margin: float, weighted: bool) -> None:
    similarity, positive, negative_mask = random_case(b, m, density, seed)
    weights = weights_of_pairs(b, np.random.default_rng(seed)) if weighted else None
    arrays = [torch.from_numpy(array) for array in (positive, similarity, negative_mask)]
    expected = triplet(*arrays, margin, None if weights is None else torch.from_numpy(weights))
    similarities = similarity.copy()
    loss = triplet_in_place(similarities, positive, negative_mask, margin, weights)
    assert loss.loss == pytest.approx(expected.loss, rel=1e-5, abs=1e-6)
    assert loss.active == pytest.approx(expected.active, abs=1e-6)
    assert loss.negative_cosine == pytest.approx(
        similarity[negative_mask].mean() if negative_mask.any() else 0, abs=1e-6
    )
    np.testing.assert_allclose(similarities, expected.by_negative.numpy(), rtol=1e-6)
    np.testing.assert_allclose(loss.by_positive, expected.by_positive.numpy(), rtol=1e-5)


def test_a_triplet_exactly_at_the_margin_is_not_active() -> None:
    similarity = np.array([[0.25, 0.5]], np.float32)
    loss = triplet_in_place(similarity, np.array([0.75], np.float32), np.ones((1, 2), bool), 0.5)
    assert (loss.loss, loss.active) == (0.25, 0.5)
    assert similarity.tolist() == [[0, 1]]


def test_an_extreme_temperature_overflows_nothing() -> None:
    similarity, zeros = np.array([[1.0, 0.9]], np.float32), np.zeros(2, np.float32)
    loss = softmax_in_place(similarity, np.array([-1], np.float32), np.ones((1, 2), bool), 1e-3, zeros, zeros[:1])
    assert loss.loss == pytest.approx(2000)
    assert similarity.tolist() == [[pytest.approx(1000), pytest.approx(0, abs=1e-6)]]
    assert loss.by_positive.tolist() == [pytest.approx(-1000)]


def test_nan_is_preserved() -> None:
    similarity, positive, negative_mask = random_case(3, 9, 1, 0)
    similarity[1, 4] = np.nan
    zeros = np.zeros(9, np.float32)
    assert not np.isfinite(
        softmax_in_place(similarity.copy(), positive, negative_mask, 0.05, zeros, zeros[:3]).negative_cosine
    )
    assert not np.isfinite(triplet_in_place(similarity.copy(), positive, negative_mask, 0.2).negative_cosine)


def test_the_same_bytes_for_any_number_of_threads() -> None:
    results = []
    for threads in (1, 2):
        use_threads(threads)
        similarity, positive, negative_mask = random_case(100, 300, 0.8, 4)
        zeros = np.zeros(300, np.float32)
        loss = softmax_in_place(similarity, positive, negative_mask, 0.05, zeros, zeros[:100])
        results.append((similarity.tobytes(), loss.by_positive.tobytes(), loss[:3]))
    assert results[0] == results[1]
