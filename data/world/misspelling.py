"""From words meant to letters typed: every single edit of a word with its probability, P(typed | meant, one edit).

One function lists the edits; the simulation draws from its list, the oracle reads it. Two edits of one query fall on
two words, so that the likelihood is a finite sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world.words import fold_table
from data.world.world_config import Misspelling
from ebr_core.text.typos import INSERTION, OMISSION, SHORTEST, SUBSTITUTION, TRANSPOSITION, keys_beside

ROOM = 32  # letters of a typed word, at most
EDITS = 1200  # edits of one word, at most


class EditShares(NamedTuple):
    """What listing the edits needs."""

    shares: npt.NDArray[np.float64]  # (4,) omission, insertion, substitution, transposition; sum to 1
    first: float
    doubling: float
    near: npt.NDArray[np.uint8]  # (256, 12) letters struck in place of one
    nears: npt.NDArray[np.int64]  # (256,) how many


class Edits(NamedTuple):
    """Room for the edits of one word."""

    typed: npt.NDArray[np.uint8]  # (EDITS, ROOM) padded with 0
    length: npt.NDArray[np.int64]  # (EDITS,)
    p: npt.NDArray[np.float64]  # (EDITS,)


def typos_of(m: Misspelling) -> EditShares:
    shares = np.array([m.omission, m.insertion, m.substitution, m.transposition])
    near, nears = neighbours()
    return EditShares(shares / shares.sum(), m.first_letter, m.doubling, near, nears)


def new_edits() -> Edits:
    return Edits(np.zeros((EDITS, ROOM), np.uint8), np.zeros(EDITS, np.int64), np.zeros(EDITS))


def neighbours() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """(256, 12) keys beside a letter's, as `typos` has them, and how many. An accented letter has those of its
    plain one, and that one."""
    near, nears = np.zeros((256, 12), np.uint8), np.zeros(256, np.int64)
    fold = fold_table()
    for code in range(256):
        plain = chr(fold[code])
        found = keys_beside(plain)
        if not found:
            continue
        letters = sorted(found | ({plain} - {chr(code)}))
        near[code, : len(letters)], nears[code] = [ord(c) for c in letters], len(letters)
    return near, nears


@numba.njit(cache=True)
def _put(out: Edits, k: int, word: np.ndarray, n: int, at: int, remove: int, new: int, p: float) -> int:
    """Edit k: `word` with `remove` letters at `at` gone and letter `new` (0: none) there; the number of edits then."""
    length = 0
    for i in range(n + 1):
        if i == at and new > 0:
            out.typed[k, length] = new
            length += 1
        if i < n and not at <= i < at + remove:
            out.typed[k, length] = word[i]
            length += 1
    out.length[k] = length
    for i in range(length, ROOM):
        out.typed[k, i] = 0
    out.p[k] = p
    return k + 1


@numba.njit(cache=True)
def list_edits(t: EditShares, word: np.ndarray, n: int, out: Edits) -> int:
    """The number of single edits of a word of n ≥ 2 letters, written to `out` with probabilities that sum to 1.

    The first letter is hit with probability `first`, the others alike. An insertion comes before a letter and doubles
    it or is a neighbour of it; of two swapped letters the first is the one hit. Two edits may give the same letters,
    and a swap of two equal ones gives the word itself: probabilities of equal results add up.
    """
    k = 0
    rest = (1.0 - t.first) / (n - 1)
    for i in range(n):
        hit = t.first if i == 0 else rest
        k = _put(out, k, word, n, i, 1, 0, t.shares[OMISSION] * hit)
        k = _put(out, k, word, n, i, 0, word[i], t.shares[INSERTION] * hit * t.doubling)
        count = t.nears[word[i]]
        for j in range(count):
            new = t.near[word[i], j]
            k = _put(out, k, word, n, i, 0, new, t.shares[INSERTION] * hit * (1 - t.doubling) / count)
            k = _put(out, k, word, n, i, 1, new, t.shares[SUBSTITUTION] * hit / count)
    swaps = t.first + rest * (n - 2)
    for i in range(n - 1):
        hit = (t.first if i == 0 else rest) / swaps if swaps > 0 else 1.0 / (n - 1)
        k = _put(out, k, word, n, 0, 0, 0, t.shares[TRANSPOSITION] * hit)
        out.typed[k - 1, i], out.typed[k - 1, i + 1] = word[i + 1], word[i]
    return k


@numba.njit(cache=True)
def some_words(lengths: np.ndarray, n: int, edits: int, u: float, v: float, chosen: np.ndarray) -> int:
    """How many words are misspelt, and which, in `chosen`: up to `edits`, ∝ length, of those long enough."""
    total = 0.0
    for j in range(n):
        if lengths[j] >= SHORTEST:
            total += lengths[j]
    found = 0
    for draw in range(edits):
        goal = (u if draw == 0 else v) * total
        last = -1
        for j in range(n):
            if lengths[j] < SHORTEST or (draw == 1 and j == chosen[0]):
                continue
            last = j
            goal -= lengths[j]
            if goal < 0:
                break
        if last < 0:
            break
        chosen[draw] = last
        total -= lengths[last]
        found += 1
    return found


@numba.njit(cache=True)
def chance_of_words(lengths: np.ndarray, n: int, i: int, j: int) -> float:
    """P(words i and j are the two misspelt), in either order; with j = −1, P(i is the one)."""
    total = 0.0
    for k in range(n):
        if lengths[k] >= SHORTEST:
            total += lengths[k]
    if lengths[i] < SHORTEST or (j >= 0 and lengths[j] < SHORTEST):
        return 0.0
    if j < 0:
        return float(lengths[i] / total)
    both = lengths[i] * lengths[j] / total
    return float(both / (total - lengths[i]) + both / (total - lengths[j]))
