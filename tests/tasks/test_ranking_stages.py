"""What a ranker does about position bias, as far as a log allows, and which clicks decide when it stops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.bags import Int32
from ebr_core.config import InputError
from ebr_core.examination import Examination
from ebr_core.ranking import Placed, Ranker
from tasks.ranking import _as_retrieved, _bias, _held_out


def _known(clicks: int) -> Examination:
    return Examination(np.array([1.0, 0.5]), np.zeros(2), np.array([clicks, 0]))


@pytest.mark.parametrize(
    ("clicks", "positions", "treated"),
    [(100, [1, 2], "propensities"), (99, [1, 2], "position"), (0, [0, 3], "position"), (100, [0, 0], "none")],
)
def test_auto_is_the_first_that_the_log_allows(clicks: int, positions: list[int], treated: str) -> None:
    assert _bias(Ranker(of="a"), _known(clicks), np.array(positions, np.int32)) == treated


def test_what_is_asked_for_by_name_and_cannot_be_is_told() -> None:
    at = np.array([1, 2], np.int32)
    with pytest.raises(
        InputError, match="needs 100 clicks in lists flagged as randomised before the test; there are 7"
    ):
        _bias(Ranker(of="a", debias="propensities"), _known(7), at)
    with pytest.raises(InputError, match=r"debias: position needs results\.position"):
        _bias(Ranker(of="a", debias="position"), _known(7), 0 * at)
    assert _bias(Ranker(of="a", debias="none"), _known(1000), at) == "none"


def _placed(searches: Int32, documents: Int32, weights: list[float]) -> Placed:
    ones = np.ones(len(searches), np.int32)
    return Placed(searches, documents, ones, np.array(weights, np.float32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 9))
def test_held_out_lists_are_the_retrieved_ones_with_one_click_each(seed: int, searches: int, clicks: int) -> None:
    rng = np.random.default_rng(seed)
    found = np.stack([rng.permutation(9)[:6] for _ in range(searches)]).astype(np.int32)
    found[rng.random(found.shape) < 0.2] = -1
    pairs = np.unique(rng.integers(0, [searches, 9], (clicks, 2)), axis=0).astype(np.int32)
    every = _placed(pairs[:, 0], pairs[:, 1], list(rng.random(len(pairs))))
    held = _held_out(every, every, found)
    wanted, gained, weights = [], [], []
    for (search, document), weight in zip(pairs.tolist(), every.weights.tolist(), strict=True):
        others = {d for s, d in pairs.tolist() if s == search and d != document}
        line = [row for row in found[search].tolist() if row >= 0 and row not in others]
        if document in line:
            wanted.append([(search, row, row == document, weight) for row in line])
            gained.append(1 / np.log2(2 + line.index(document)))
            weights.append(weight)
    got = list(
        zip(held.searches.tolist(), held.documents.tolist(), held.clicked.tolist(), held.weights.tolist(), strict=True)
    )
    assert got == [pair for group in wanted for pair in group]
    assert held.sizes.tolist() == [len(group) for group in wanted]
    if wanted:
        assert _as_retrieved(held) == pytest.approx(np.average(gained, weights=weights))
    else:
        assert _as_retrieved(held) is None
