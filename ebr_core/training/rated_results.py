"""The feedback loop: retrieved results that no log has judged are rated, and the ratings train. [EBR §5.2]"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from pydantic import Field, field_validator
from scipy.stats import binom

from ebr_core.arrays import Bool, Float32, Int32, Int64
from ebr_core.frozen import Frozen
from ebr_core.text.ngram_hashing import _mix
from ebr_core.training.positives import KnownPositives, Pairs, Rated

SCALE = (0, 1, 2, 3)  # the grades that a rater can give


class Rater(Frozen):
    """Who rates on a simulated world: the truth, with noise."""

    noise: float = Field(0.1, ge=0, le=0.5, description="probability with which one rater says the opposite")
    raters: int = Field(
        3, ge=1, le=99, description="how many rate each result, an odd number: what most of them say is its rating"
    )
    seed: int = Field(0, ge=0, description="of the noise; a pair is rated alike whoever retrieved it")

    @field_validator("raters")
    @classmethod
    def _odd(cls, raters: int) -> int:
        if raters % 2 == 0:
            raise ValueError(f"got {raters}; an odd number never splits evenly")
        return raters

    @property
    def error(self) -> float:
        """The probability that most raters say the opposite, P(X > n/2) for X of Binomial(n, noise).

        >>> round(Rater(noise=0.1, raters=3).error, 6)
        0.028
        """
        return float(binom.sf(self.raters // 2, self.raters, self.noise))


class Feedback(Frozen):
    """Which retrieved results are rated, and by whom. [EBR §5.2]"""

    searches: int = Field(
        5_000, ge=1, description="training searches whose results are rated, one of each (query, searcher), by a hash"
    )
    k: int = Field(10, ge=1, le=1000, description="of each, the first so many")
    judged: Literal["clicked", "shown"] = Field(
        "clicked", description="results that the log has judged already, which nobody rates: clicked ones, or all shown"
    )
    good_from: int = Field(1, ge=1, le=3, description="grade (0 to 3) from which on a result is good, else bad")
    rater: Rater | None = Field(
        Rater(), description="of a simulated world; null: there too, people rate (`ebr ratings import`)"
    )
    imported: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="whose imported ratings are used, where people rate; default: those of this file's name",
    )


class Filter(Frozen):
    """A relevance filter: a model of the ratings takes results away that it holds for bad."""

    arm: str = Field(description="the arm that retrieves")
    index: str = Field("exact", description="the index that it retrieves through")
    of: tuple[str, ...] = Field(min_length=1, description="the arms whose rated results it learns from")
    recall_weight: float = Field(
        2,
        gt=0,
        le=100,
        description="β of the F measure by which the threshold is chosen on held-out ratings: 1 minds what is kept "
        "wrongly as much as what is lost, 2 minds losses more",
    )

    @property
    def sources(self) -> dict[str, str]:
        """The arms that it reads, by the keys that name them."""
        return {"arm": self.arm} | {f"of.{place}": arm for place, arm in enumerate(self.of)}

    @property
    def searched(self) -> tuple[str, ...]:
        """Those of them whose vectors it searches."""
        return (self.arm,)


def first_there(rows: Int32, near: Float32, there: Bool, k: int) -> tuple[Int32, Float32]:
    """The first k of each list (Q, K') that are there, (Q, k), in order; −1 and −∞ behind the last."""
    order = np.argsort(~there, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(there, order, 1)
    found = np.where(kept, np.take_along_axis(rows, order, 1), np.int32(-1))
    return found, np.where(kept, np.take_along_axis(near, order, 1), -np.inf).astype(np.float32)


def keys_of(search_rows: Int32, document_rows: Int32) -> Int64:
    """(n,) one number for each pair."""
    keys: Int64 = search_rows.astype(np.int64) << 32 | document_rows.astype(np.int64)
    return keys


def with_noise(grades: Float32, keys: Int64, good_from: int, rater: Rater) -> Float32:
    """The grades as rated: with the probability of the raters' error a good one is told as 0, a bad one as good_from.

    The noise is a hash of (seed, pair), so that it depends on no order.
    """
    draws = uniform(keys, np.random.default_rng([rater.seed, 5]).integers(0, 2**63, dtype=np.uint64))
    opposite = np.where(grades >= good_from, 0, good_from)
    return np.where(draws < rater.error, opposite, grades).astype(np.float32)


@njit(cache=True, nogil=True)
def uniform(keys, key):  # type: ignore[no-untyped-def]
    """(n,) a hash of each key as a number in (0, 1)."""
    draws = np.empty(len(keys))
    for at in range(len(keys)):
        draws[at] = (np.float64(_mix(key ^ _mix(np.uint64(keys[at]))) >> np.uint64(11)) + 0.5) * 2.0**-53
    return draws


def shuffled(rated: Rated, seed: int) -> Rated:
    """The same pairs with their verdicts dealt out among them."""
    return rated._replace(good=np.random.default_rng([seed, 6]).permutation(rated.good))


def bad_of(rated: Rated, pairs: Pairs, known: KnownPositives) -> Int32:
    """(P, most) for each pair what was rated bad for its search and is no known positive of it, −1 behind the last."""
    bad = np.flatnonzero(~rated.good)
    order = bad[np.argsort(rated.search_rows[bad], kind="stable")]
    searches, documents = rated.search_rows[order], rated.document_rows[order]
    first, last = (np.searchsorted(searches, pairs.search_rows, side) for side in ("left", "right"))
    at = first[:, None] + np.arange(int((last - first).max(initial=0)))
    found = np.where(at < last[:, None], documents[np.minimum(at, len(documents) - 1)] if len(documents) else -1, -1)
    owners = np.repeat(np.arange(len(known.offsets) - 1, dtype=np.int32), np.diff(known.offsets))
    groups = np.broadcast_to(pairs.groups[:, None], found.shape)
    right = np.isin(keys_of(groups, found), keys_of(owners, known.documents))
    return packed(np.where(right, -1, found).astype(np.int32))


def packed(rows: Int32) -> Int32:
    """Each list with its −1 moved behind the others, which keep their order."""
    return np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable"), 1)
