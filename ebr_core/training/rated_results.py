"""The feedback loop: retrieved results that the log has not judged are rated, and the ratings are training data. [EBR
§5.2]"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from pydantic import Field, field_validator

from ebr_core.arrays import Bool, Float32, Int32, Int64
from ebr_core.frozen import Frozen
from ebr_core.text.ngram_hashing import _mix
from ebr_core.training.positives import KnownPositives, Pairs, RatedPairs

SCALE = (0, 1, 2, 3)  # the grades that a rater can give


class Rater(Frozen):
    """The raters of a simulated world: the truth, with noise."""

    noise: float = Field(0.1, ge=0, le=0.5, description="probability that one rater gives the opposite grade")
    raters: int = Field(
        3, ge=1, le=99, description="number of raters for each result, an odd number; the majority decides"
    )
    seed: int = Field(0, ge=0, description="seed of the noise; a pair gets the same rating from every arm")

    @field_validator("raters")
    @classmethod
    def _odd(cls, raters: int) -> int:
        if raters % 2 == 0:
            raise ValueError(f"got {raters}; expected an odd number, which cannot split evenly")
        return raters

    @property
    def error(self) -> float:
        """The probability that most raters give the opposite grade, P(X > n/2) for X of Binomial(n, noise).

        >>> round(Rater(noise=0.1, raters=3).error, 6)
        0.028
        """
        from scipy.stats import binom  # takes a second to import

        return float(binom.sf(self.raters // 2, self.raters, self.noise))


class Feedback(Frozen):
    """The retrieved results to rate, and their raters. [EBR §5.2]"""

    searches: int = Field(
        5_000,
        ge=1,
        description="number of training searches whose results are rated, one for each (query, searcher), chosen by a "
        "hash",
    )
    k: int = Field(10, ge=1, le=1000, description="number of results to rate for each search, from the first")
    judged: Literal["clicked", "shown"] = Field(
        "clicked", description="results that the log has already judged, which are not rated: clicked, or all shown"
    )
    good_from: int = Field(1, ge=1, le=3, description="lowest grade (0 to 3) of a good result; lower grades are bad")
    rater: Rater | None = Field(
        Rater(), description="the raters of a simulated world; null: people rate there, too (`ebr ratings import`)"
    )
    imported: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="name of the imported ratings, if people rate; default: the name of this file",
    )


class Filter(Frozen):
    """A relevance filter: a model of the ratings that removes results that it predicts to be bad."""

    arm: str = Field(description="the arm that retrieves")
    index: str = Field("exact", description="the index through which the arm retrieves")
    of: tuple[str, ...] = Field(min_length=1, description="the arms whose rated results train the filter")
    recall_weight: float = Field(
        2,
        gt=0,
        le=100,
        description="β of the F measure that chooses the threshold on held-out ratings; 1: keeping a bad result costs "
        "as much as losing a good one; 2: losing a good one costs more",
    )

    @property
    def sources(self) -> dict[str, str]:
        """The arms that the filter reads, by the keys that name them."""
        return {"arm": self.arm} | {f"of.{place}": arm for place, arm in enumerate(self.of)}

    @property
    def vector_sources(self) -> tuple[str, ...]:
        """The arms whose vectors the filter searches."""
        return (self.arm,)


def first_valid(rows: Int32, similarities: Float32, valid: Bool, k: int) -> tuple[Int32, Float32]:
    """(rows (Q, k), similarities (Q, k)): the first k valid results of each list (Q, K'); −1 and −∞ after the last."""
    order = np.argsort(~valid, axis=1, kind="stable")[:, :k]
    is_taken = np.take_along_axis(valid, order, 1)
    documents = np.where(is_taken, np.take_along_axis(rows, order, 1), np.int32(-1))
    return documents, np.where(is_taken, np.take_along_axis(similarities, order, 1), -np.inf).astype(np.float32)


def pair_keys(search_rows: Int32, document_rows: Int32) -> Int64:
    """(n,) a distinct number for each pair."""
    keys: Int64 = search_rows.astype(np.int64) << 32 | document_rows.astype(np.int64)
    return keys


def add_noise(grades: Float32, keys: Int64, good_from: int, rater: Rater) -> Float32:
    """The grades as rated: with probability rater.error, a good grade becomes 0 and a bad grade becomes good_from.

    The noise is a hash of (seed, pair), so it does not depend on any order.
    """
    draws = uniform(keys, np.random.default_rng([rater.seed, 5]).integers(0, 2**63, dtype=np.uint64))
    flipped = np.where(grades >= good_from, 0, good_from)
    return np.where(draws < rater.error, flipped, grades).astype(np.float32)


@njit(cache=True, nogil=True)
def uniform(keys, key):  # type: ignore[no-untyped-def]
    """(n,) a hash of each key as a number in (0, 1)."""
    draws = np.empty(len(keys))
    for at in range(len(keys)):
        draws[at] = (np.float64(_mix(key ^ _mix(np.uint64(keys[at]))) >> np.uint64(11)) + 0.5) * 2.0**-53
    return draws


def shuffle_ratings(rated: RatedPairs, seed: int) -> RatedPairs:
    """The same pairs with their ratings permuted."""
    return rated._replace(good=np.random.default_rng([seed, 6]).permutation(rated.good))


def documents_rated_bad(rated: RatedPairs, pairs: Pairs, known_positives: KnownPositives) -> Int32:
    """(P, most) for each pair, the documents rated bad for its search that are not its known positives, then −1."""
    bad = np.flatnonzero(~rated.good)
    order = bad[np.argsort(rated.search_rows[bad], kind="stable")]
    searches, documents = rated.search_rows[order], rated.document_rows[order]
    first, last = (np.searchsorted(searches, pairs.search_rows, side) for side in ("left", "right"))
    positions = first[:, None] + np.arange(int((last - first).max(initial=0)))
    documents_of_pairs = np.where(
        positions < last[:, None], documents[np.minimum(positions, len(documents) - 1)] if len(documents) else -1, -1
    )
    owners = np.repeat(np.arange(len(known_positives.offsets) - 1, dtype=np.int32), np.diff(known_positives.offsets))
    groups = np.broadcast_to(pairs.groups[:, None], documents_of_pairs.shape)
    is_positive = np.isin(pair_keys(groups, documents_of_pairs), pair_keys(owners, known_positives.documents))
    return pack_left(np.where(is_positive, -1, documents_of_pairs).astype(np.int32))


def pack_left(rows: Int32) -> Int32:
    """The lists with each −1 moved to the end; the other rows keep their order."""
    return np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable"), 1)
