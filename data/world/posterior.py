"""Kernels of the oracle: the documents of the largest posterior, summed over all that a query's words may mean."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from data.world import prior
from data.world.documents import WIDTH
from data.world.likelihood import ANY_LANGUAGE, Meanings, WordCandidates, chance_of_query, join
from data.world.subroutine import subroutine

Ints = npt.NDArray[np.int64]


class OracleQueries(NamedTuple):
    """Q searches to answer, in the order of their ids."""

    words: Ints  # (Q, WIDTH) into WordCandidates, −1 after the last
    day: Ints  # (Q,)
    searcher: Ints  # (Q,)
    rate: npt.NDArray[np.float64]  # (Q,) of misspelling


class PosteriorScratch(NamedTuple):
    """Scratch arrays of one query, all 0 between queries."""

    likelihood: npt.NDArray[np.float64]  # (N, languages + 1)
    score: npt.NDArray[np.float64]  # (N,)
    documents: npt.NDArray[np.int64]  # (N,) the documents with a likelihood or a score come first
    is_listed: npt.NDArray[np.bool_]  # (N,)
    size: npt.NDArray[np.int64]  # (1,) how many documents
    total: npt.NDArray[np.float64]  # (1,) P(query), summed over all that it may mean


@numba.njit(cache=True)
def answer_queries(
    queries: np.ndarray, oracle_queries: OracleQueries, catalogue: Meanings, candidates: WordCandidates,
    facts: prior.DayFacts, belief: prior.Belief, second: float, scratch: PosteriorScratch, rows: np.ndarray,
    expected: np.ndarray,
) -> None:  # fmt: skip
    """Write the best documents of some queries to `rows` and their scores to `expected`. The queries share a belief."""
    for q in queries:
        _interpret(
            oracle_queries.words[q], oracle_queries.rate[q], second, catalogue, candidates, facts, belief, scratch
        )
        for i in range(scratch.size[0]):
            d = scratch.documents[i]
            for g in range(len(belief.language)):
                chance = scratch.likelihood[d, belief.language[g]] + scratch.likelihood[d, ANY_LANGUAGE]
                if chance > 0:
                    mass = chance * prior.document_mass(facts, belief, g, d)
                    scratch.score[d] += mass
                    scratch.total[0] += mass
        _keep_best(scratch, rows[q], expected[q])
        for i in range(scratch.size[0]):
            d = scratch.documents[i]
            scratch.likelihood[d] = 0
            scratch.score[d], scratch.is_listed[d] = 0, False
        scratch.size[0], scratch.total[0] = 0, 0


@subroutine
def _keep_best(scratch: PosteriorScratch, rows: np.ndarray, expected: np.ndarray) -> None:
    """Write the documents of the largest scores; of equal scores, the lower document comes first."""
    count = 0
    for i in range(scratch.size[0]):
        d = scratch.documents[i]
        score = scratch.score[d]
        if score <= 0:
            continue
        j = count if count < len(rows) else len(rows)
        while j > 0 and (expected[j - 1] < score or (expected[j - 1] == score and rows[j - 1] > d)):
            if j < len(rows):
                rows[j], expected[j] = rows[j - 1], expected[j - 1]
            j -= 1
        if j < len(rows):
            rows[j], expected[j] = d, score
            count = min(count + 1, len(rows))
    if scratch.total[0] > 0:
        expected[:count] /= scratch.total[0]


@subroutine
def _interpret(
    words: np.ndarray, rate: float, second: float, catalogue: Meanings, candidates: WordCandidates,
    facts: prior.DayFacts, belief: prior.Belief, scratch: PosteriorScratch,
) -> None:  # fmt: skip
    """Add up the likelihood of documents, and the score of searches for a topic, over all words that may be meant."""
    n = 0
    while n < WIDTH and words[n] >= 0:
        n += 1
    same = np.full(n, -1, np.int64)  # row of the candidate that equals the typed word
    for j in range(n):
        for i in range(candidates.offsets[words[j]], candidates.offsets[words[j] + 1]):
            if candidates.same[i]:
                same[j] = i
    unmatched = (same < 0).sum()
    choice = same.copy()
    if unmatched == 0:
        _add_meaning(choice, rate, second, catalogue, candidates, facts, belief, scratch)
    for i in range(n):
        remaining = unmatched - (same[i] < 0)
        for a in range(candidates.offsets[words[i]], candidates.offsets[words[i] + 1]):
            if a == same[i] or candidates.p[a] <= 0:
                continue
            choice[i] = a
            if remaining == 0:
                _add_meaning(choice, rate, second, catalogue, candidates, facts, belief, scratch)
            for j in range(i + 1, n):
                if remaining - (same[j] < 0) != 0:
                    continue
                for b in range(candidates.offsets[words[j]], candidates.offsets[words[j] + 1]):
                    if b != same[j] and candidates.p[b] > 0:
                        choice[j] = b
                        _add_meaning(choice, rate, second, catalogue, candidates, facts, belief, scratch)
                choice[j] = same[j]
        choice[i] = same[i]


@subroutine
def _add_meaning(
    choice: np.ndarray, rate: float, second: float, catalogue: Meanings, candidates: WordCandidates,
    facts: prior.DayFacts, belief: prior.Belief, scratch: PosteriorScratch,
) -> None:  # fmt: skip
    """Add the likelihood of titles, and the score of topics, for one choice of the words meant."""
    h = np.uint64(0)
    for i in choice:
        h = join(h, candidates.word[i])
    title_row, topic_row = np.searchsorted(catalogue.form, h), np.searchsorted(catalogue.topic_form, h)
    is_title = title_row < len(catalogue.form) and catalogue.form[title_row] == h
    is_topic = topic_row < len(catalogue.topic_form) and catalogue.topic_form[topic_row] == h
    if not is_title and not is_topic:
        return
    chance = chance_of_query(
        len(choice), candidates.length[choice], candidates.same[choice], candidates.p[choice], rate, second
    )
    while title_row < len(catalogue.form) and catalogue.form[title_row] == h:
        d = catalogue.document[title_row]
        _touch(scratch, d)
        scratch.likelihood[d, catalogue.language[title_row]] += chance * catalogue.p[title_row]
        title_row += 1
    while topic_row < len(catalogue.topic_form) and catalogue.topic_form[topic_row] == h:
        for g in range(len(belief.language)):
            if belief.language[g] == catalogue.topic_language[topic_row]:
                _add_topic(
                    catalogue.topic[topic_row],
                    catalogue.city[topic_row],
                    g,
                    chance * catalogue.topic_p[topic_row],
                    facts,
                    belief,
                    scratch,
                )
        topic_row += 1


@subroutine
def _touch(scratch: PosteriorScratch, d: int) -> None:
    """List document d, once."""
    if not scratch.is_listed[d]:
        scratch.is_listed[d] = True
        scratch.documents[scratch.size[0]] = d
        scratch.size[0] += 1


@subroutine
def _add_topic(
    topic: int, city: int, g: int, chance: float, facts: prior.DayFacts, belief: prior.Belief, scratch: PosteriorScratch
) -> None:
    """Add the score of a topic's right answers, from one city, or from all cities of the belief if `city` is −1."""
    for c in range(city if city >= 0 else 0, city + 1 if city >= 0 else belief.topic.shape[2]):
        mass = chance * belief.topic[g, topic, c]
        if mass > 0:
            scratch.total[0] += mass
            for i in range(facts.answer_count[topic, c]):
                d = facts.answers[topic, c, i]
                _touch(scratch, d)
                scratch.score[d] += mass / facts.answer_count[topic, c]
