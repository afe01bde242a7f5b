"""Random numbers by counter: a draw depends on the seed, its purpose and its number, never on the order of work."""

from __future__ import annotations

import numba
import numpy as np

from data.world.subroutine import subroutine


@numba.njit(cache=True, inline="always")
def mix(x: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64 [Steele, Lea & Flood 2014]: a bijection of 64 bits that scatters neighbours."""
    x = np.uint64(x + np.uint64(0x9E3779B97F4A7C15))
    x = np.uint64((x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
    x = np.uint64((x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
    return np.uint64(x ^ (x >> np.uint64(31)))


@subroutine
def draw(state: np.ndarray) -> float:
    """The next uniform of [0, 1) from a stream, whose one 64-bit counter moves on."""
    state[0] = np.uint64(state[0] + np.uint64(0x9E3779B97F4A7C15))
    return float(mix(state[0]) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@subroutine
def open_stream(state: np.ndarray, seed: np.uint64, day: np.uint64, number: np.uint64) -> None:
    """Point a stream at session `number` of `day`."""
    state[0] = mix(np.uint64(mix(np.uint64(mix(seed) ^ day)) ^ number))


@subroutine
def choose(cumulative: np.ndarray, start: int, stop: int, u: float) -> int:
    """Index i of start … stop − 1 with probability ∝ its weight, or −1 if they sum to 0.

    `cumulative` (n + 1,) are running sums of the weights from 0; u is uniform in [0, 1).
    """
    low = cumulative[start]
    total = cumulative[stop] - low
    if total <= 0:
        return -1
    target = low + u * total
    left, right = start, stop
    while left < right:
        middle = (left + right) // 2
        if cumulative[middle + 1] > target:
            right = middle
        else:
            left = middle + 1
    return min(left, stop - 1)
