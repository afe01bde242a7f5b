"""From words meant to letters typed: every single edit of a word with its probability, P(typed | meant, one edit).

One function lists the edits. The simulation draws from its list; the oracle reads it. Two edits of one query fall on
two words, so that the likelihood is a finite sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data.world.subroutine import subroutine
from data.world.words import fold_table
from data.world.world_config import Misspelling
from ebr_core.text.typos import INSERTION, OMISSION, SHORTEST, SUBSTITUTION, TRANSPOSITION, keys_beside

MAX_LETTERS = 32  # of a typed word
MAX_EDITS = 1200  # of one word


class EditShares(NamedTuple):
    """Probabilities of edits, and the keys beside each letter."""

    shares: npt.NDArray[np.float64]  # (4,) omission, insertion, substitution, transposition; sum to 1
    first: float  # of an edit at the first letter
    doubling: float  # share of insertions
    beside: npt.NDArray[np.uint8]  # (256, 12) letters that may be typed in place of each letter
    beside_count: npt.NDArray[np.int64]  # (256,) their number


class Edits(NamedTuple):
    """The edits of one word, up to MAX_EDITS."""

    letters: npt.NDArray[np.uint8]  # (MAX_EDITS, MAX_LETTERS) padded with 0
    length: npt.NDArray[np.int64]  # (MAX_EDITS,)
    p: npt.NDArray[np.float64]  # (MAX_EDITS,)


def typos_of(m: Misspelling) -> EditShares:
    """The shares of edits of a world."""
    shares = np.array([m.omission, m.insertion, m.substitution, m.transposition])
    beside, beside_count = neighbours()
    return EditShares(shares / shares.sum(), m.first_letter, m.doubling, beside, beside_count)


def new_edits() -> Edits:
    """An empty list of edits."""
    return Edits(np.zeros((MAX_EDITS, MAX_LETTERS), np.uint8), np.zeros(MAX_EDITS, np.int64), np.zeros(MAX_EDITS))


def neighbours() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """(256, 12) letters on the keys beside each letter's, and their number (256,).

    An accented letter has the neighbours of its plain letter, and the plain letter itself.
    """
    beside, beside_count = np.zeros((256, 12), np.uint8), np.zeros(256, np.int64)
    fold = fold_table()
    for code in range(256):
        plain = chr(fold[code])
        keys = keys_beside(plain)
        if not keys:
            continue
        letters = sorted(keys | ({plain} - {chr(code)}))
        beside[code, : len(letters)], beside_count[code] = [ord(c) for c in letters], len(letters)
    return beside, beside_count


@subroutine
def _put(out: Edits, k: int, word: np.ndarray, n: int, at: int, remove: int, new: int, p: float) -> int:
    """k + 1, after edit k is written: `word` with `remove` letters at `at` replaced by letter `new` (0: none)."""
    length = 0
    for i in range(n + 1):
        if i == at and new > 0:
            out.letters[k, length] = new
            length += 1
        if i < n and not at <= i < at + remove:
            out.letters[k, length] = word[i]
            length += 1
    out.length[k] = length
    for i in range(length, MAX_LETTERS):
        out.letters[k, i] = 0
    out.p[k] = p
    return k + 1


@subroutine
def list_edits(t: EditShares, word: np.ndarray, n: int, out: Edits) -> int:
    """The number of single edits of a word of n ≥ 2 letters, written to `out` with probabilities that sum to 1.

    The edit falls on the first letter with probability `first`, on all others with equal probability. An insertion
    comes before its letter, and is that letter again or a neighbour of it. A swap falls on the first of its two
    letters. Two edits may give the same letters, and a swap of two equal letters gives the word itself: the
    probabilities of equal results add up.
    """
    k = 0
    rest = (1.0 - t.first) / (n - 1)
    for i in range(n):
        hit = t.first if i == 0 else rest
        k = _put(out, k, word, n, i, 1, 0, t.shares[OMISSION] * hit)
        k = _put(out, k, word, n, i, 0, word[i], t.shares[INSERTION] * hit * t.doubling)
        count = t.beside_count[word[i]]
        for j in range(count):
            new = t.beside[word[i], j]
            k = _put(out, k, word, n, i, 0, new, t.shares[INSERTION] * hit * (1 - t.doubling) / count)
            k = _put(out, k, word, n, i, 1, new, t.shares[SUBSTITUTION] * hit / count)
    swaps = t.first + rest * (n - 2)
    for i in range(n - 1):
        hit = (t.first if i == 0 else rest) / swaps if swaps > 0 else 1.0 / (n - 1)
        k = _put(out, k, word, n, 0, 0, 0, t.shares[TRANSPOSITION] * hit)
        out.letters[k - 1, i], out.letters[k - 1, i + 1] = word[i + 1], word[i]
    return k


@subroutine
def draw_misspelt_words(lengths: np.ndarray, n: int, edits: int, u: float, v: float, picks: np.ndarray) -> int:
    """The number of misspelt words, up to `edits`; `picks` has them. Long enough words are drawn ∝ their length."""
    total = 0.0
    for j in range(n):
        if lengths[j] >= SHORTEST:
            total += lengths[j]
    count = 0
    for pick in range(edits):
        goal = (u if pick == 0 else v) * total
        last = -1
        for j in range(n):
            if lengths[j] < SHORTEST or (pick == 1 and j == picks[0]):
                continue
            last = j
            goal -= lengths[j]
            if goal < 0:
                break
        if last < 0:
            break
        picks[pick] = last
        total -= lengths[last]
        count += 1
    return count


@subroutine
def chance_of_words(lengths: np.ndarray, n: int, i: int, j: int) -> float:
    """P(words i and j are the two misspelt words), in either order; with j = −1, P(i is the only one)."""
    total = 0.0
    for k in range(n):
        if lengths[k] >= SHORTEST:
            total += lengths[k]
    if lengths[i] < SHORTEST or (j >= 0 and lengths[j] < SHORTEST):
        return 0.0
    if j < 0:
        return float(lengths[i] / total)
    product = lengths[i] * lengths[j] / total
    return float(product / (total - lengths[i]) + product / (total - lengths[j]))
