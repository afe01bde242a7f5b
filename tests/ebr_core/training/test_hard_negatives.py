"""Mined negatives, against sorting everything."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.search.nearest import search_exact
from ebr_core.training import rank_windows as nearest_candidates
from ebr_core.training.hard_negatives import MinedBlock, MiningCorpus, MiningQueries, mine, rank_window
from ebr_core.training.pair_config import Mining
from ebr_core.training.positives import KnownPositives


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks, chunks and guessed thresholds even for few documents."""
    for name, value in (("_QUERIES", 3), ("_DOCUMENTS", 32), ("_SAMPLE", 64)):
        monkeypatch.setattr(nearest_candidates, name, value)


def units(n: int, d: int, seed: int) -> Float32:
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_case(
    q: int, n: int, d: int, seed: int, integers: bool = False
) -> tuple[MiningQueries, MiningCorpus, KnownPositives]:
    """A case with gaps among the rows. Integers: similarities without rounding, many ties, blank queries."""
    rng = np.random.default_rng(seed)
    queries, documents = units(q, d, seed + 1), units(n, d, seed + 2)
    if integers:
        queries, documents = (rng.integers(-1, 2, v.shape).astype(np.float32) for v in (queries, documents))
    rows = np.sort(rng.choice(2 * n, n, replace=False)).astype(np.int32)
    lists = [np.sort(rng.choice(rows, int(rng.integers(0, min(n, 6))), replace=False)) for _ in range(4)]
    known_positives = KnownPositives(np.cumsum([0, *map(len, lists)]), np.concatenate(lists).astype(np.int32))
    groups = rng.integers(0, 4, q).astype(np.int32)
    return (
        MiningQueries(queries, groups, rng.choice(rows, q).astype(np.int32)),
        MiningCorpus(documents, rows),
        known_positives,
    )


def candidates(
    queries: MiningQueries,
    corpus: MiningCorpus,
    known_positives: KnownPositives,
    mining: Mining,
    q: int,
    noise: float = 0,
) -> dict[int, tuple[set[int], float]]:
    """{document row: (its possible ranks, given that similarities are only known up to noise; similarity)} of every
    document that may be drawn for query q."""
    first, last = rank_window(mining, len(corpus.rows))
    query = queries.vectors[q].astype(float)
    similarities = dict(zip(corpus.rows.tolist(), (corpus.vectors.astype(float) @ query).tolist(), strict=True))
    ranked = sorted(similarities, key=lambda row: (-similarities[row], row))
    excluded = {
        *known_positives.documents[
            known_positives.offsets[queries.groups[q]] : known_positives.offsets[queries.groups[q] + 1]
        ].tolist()
    }
    excluded.add(int(queries.positives[q]))
    positive_similarity = similarities[int(queries.positives[q])] if mining.below_positive or mining.sharpness else 0.0
    candidate_rows = {}
    for rank, row in enumerate(ranked, 1):
        similarity = similarities[row]
        if mining.below_positive and similarity > positive_similarity - (1 - mining.below_positive) * abs(
            positive_similarity
        ):
            continue
        ranks = {rank}
        if noise:
            better = sum(value > similarity + noise for value in similarities.values())
            ranks = set(range(better + 1, sum(value >= similarity - noise for value in similarities.values()) + 1))
        if ranks & set(range(first, last + 1)) and row not in excluded and queries.vectors[q].any():
            candidate_rows[row] = (ranks, similarity)
    return candidate_rows


def concatenate(blocks: list[MinedBlock]) -> MinedBlock:
    assert [block.first for block in blocks] == np.cumsum([0, *(len(b.ranks) for b in blocks)])[:-1].tolist()
    return MinedBlock(0, *(np.concatenate(parts) for parts in list(zip(*blocks, strict=True))[1:]))


def mine_all(
    queries: MiningQueries,
    corpus: MiningCorpus,
    known_positives: KnownPositives,
    mining: Mining,
    seed: int = 0,
    threads: int = 1,
) -> MinedBlock:
    return concatenate(list(mine(queries, corpus, known_positives, mining, seed, threads)))


@settings(max_examples=60, deadline=None)
@given(
    q=st.integers(1, 7), n=st.integers(1, 300), d=st.integers(2, 6), seed=st.integers(0, 9999), integers=st.booleans(),
    window=st.tuples(st.floats(0, 1), st.floats(0, 1)), p=st.sampled_from([None, 0.4, 0.9]),
)  # fmt: skip
def test_everything_in_the_window_but_positives_is_found_with_its_rank(
    q: int, n: int, d: int, seed: int, integers: bool, window: tuple[float, float], p: float | None
) -> None:
    queries, corpus, known_positives = random_case(q, n, d, seed, integers)
    first, last = (math.ceil(share * (n - 1)) + 1 for share in sorted(window))
    mining = Mining(window=(first, last), keep=n, below_positive=None if integers else p)  # none lies on the bound
    negatives = mine_all(queries, corpus, known_positives, mining)
    assert negatives.document_rows.shape == (q, n)
    for i in range(q):
        expected = candidates(queries, corpus, known_positives, mining, i, noise=0 if integers else 1e-5)
        valid = negatives.document_rows[i] >= 0
        assert not valid[valid.sum() :].any()
        assert not negatives.ranks[i, ~valid].any()
        assert np.isneginf(negatives.similarities[i, ~valid]).all()
        rank_of_row = dict(
            zip(negatives.document_rows[i, valid].tolist(), negatives.ranks[i, valid].tolist(), strict=True)
        )
        certain = {row for row, (ranks, _) in expected.items() if ranks <= set(range(first, last + 1))}
        assert certain <= set(rank_of_row) <= set(expected)
        assert len(rank_of_row) == valid.sum()
        for row, similarity in zip(rank_of_row, negatives.similarities[i, valid].tolist(), strict=True):
            assert rank_of_row[row] in expected[row][0]
            assert first <= rank_of_row[row] <= last
            assert similarity == pytest.approx(expected[row][1], abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(2, 200), st.integers(1, 40), st.sampled_from([0, 30]), st.integers(0, 9999))
def test_a_smaller_keep_gives_the_first_of_a_larger_one_and_all_differ(
    q: int, n: int, keep: int, sharpness: float, seed: int
) -> None:
    case, mining = random_case(q, n, 4, seed), Mining(window=(0.0, 1.0), keep=2 * keep, sharpness=sharpness)
    large = mine_all(*case, mining)
    small = mine_all(*case, mining.model_copy(update={"keep": keep}))
    assert np.array_equal(small.document_rows, large.document_rows[:, :keep])
    for row in large.document_rows:
        assert len(set(row[row >= 0].tolist())) == (row >= 0).sum()


def test_the_window_of_an_exact_search_is_the_window_mined() -> None:
    documents, vectors = units(3000, 16, 1), units(20, 16, 2)
    queries = MiningQueries(vectors, np.zeros(20, np.int32), np.full(20, -1, np.int32))
    negatives = mine_all(
        queries, MiningCorpus(documents, np.arange(3000, dtype=np.int32)), nothing_known(), Mining(keep=400)
    )
    expected, similarities = (part[:, 100:] for part in search_exact(documents, vectors, 500))
    mined_rows = np.take_along_axis(negatives.document_rows, negatives.ranks.argsort(1), 1)
    assert np.array_equal(np.sort(expected, 1), np.sort(mined_rows, 1))
    np.testing.assert_allclose(
        np.take_along_axis(negatives.similarities, negatives.ranks.argsort(1), 1), similarities, atol=2e-6
    )
    assert (mined_rows == expected).mean() > 0.99  # but where a gap is as wide as a tie


def test_a_threshold_guessed_too_high_loses_nothing() -> None:
    """Every sixteenth document, which is the sample, is near the query, and all others are far."""
    queries, corpus, known_positives = same_query(5, units(1024, 8, 1), positive=-1)
    corpus.vectors[::16] = units(64, 8, 2) * 0.01 + queries.vectors[0]
    negatives = mine_all(queries, corpus, known_positives, Mining(window=(1, 200), keep=200))
    expected = search_exact(corpus.vectors, queries.vectors, 200)[0]
    assert np.array_equal(np.sort(expected, 1), np.sort(negatives.document_rows, 1))


def nothing_known() -> KnownPositives:
    return KnownPositives(np.zeros(2, np.int64), np.zeros(0, np.int32))


def same_query(copies: int, documents: Float32, positive: int) -> tuple[MiningQueries, MiningCorpus, KnownPositives]:
    vectors = np.tile(units(1, documents.shape[1], 7), (copies, 1))
    queries = MiningQueries(vectors, np.zeros(copies, np.int32), np.full(copies, positive, np.int32))
    return queries, MiningCorpus(documents, np.arange(len(documents), dtype=np.int32)), nothing_known()


@pytest.mark.parametrize(("sharpness", "shift"), [(0, 0), (8, 0), (8, -0.4)])
def test_candidates_are_drawn_by_their_weight(sharpness: float, shift: float) -> None:
    """For 4,000 copies of one query, the frequency with which each document comes first is its share of the weights."""
    case = same_query(4000, units(40, 4, 3), positive=5)
    mining = Mining(window=(6, 25), keep=3, sharpness=sharpness, shift=shift)
    first = mine_all(*case, mining).document_rows[:, 0]
    positive_similarity = float(case[0].vectors[0] @ case[1].vectors[5])
    weights = {
        row: math.exp(-sharpness * (similarity - positive_similarity - shift) ** 2)
        for row, (_, similarity) in candidates(*case, mining, 0).items()
    }
    total = sum(weights.values())
    for row, weight in weights.items():
        p = weight / total
        assert (first == row).mean() == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 4000) + 1e-3)


def test_a_seed_fixes_the_negatives_for_any_number_of_threads() -> None:
    """Documents with the same text have the same vector, but the last bits of their similarities may differ."""
    documents = np.tile(units(70, 64, 3), (20, 1))
    queries, _, known_positives = random_case(50, 100, 64, 1)
    corpus = MiningCorpus(documents, np.arange(1400, dtype=np.int32))
    runs = [
        mine_all(queries, corpus, known_positives, Mining(window=(11, 250), keep=9), s, t)
        for s, t in ((0, 1), (0, 2), (1, 1))
    ]
    assert all(np.array_equal(first, second) for first, second in zip(runs[0], runs[1], strict=True))
    assert not np.array_equal(runs[0].document_rows, runs[2].document_rows)


@pytest.mark.parametrize("copies", [40, 1000])
def test_equal_documents_are_ranked_by_row(copies: int) -> None:
    case = same_query(2, np.tile(units(5, 64, 3), (copies, 1)), positive=-1)
    negatives = mine_all(*case, Mining(window=(1, copies), keep=copies))
    nearest = int((case[1].vectors[:5] @ case[0].vectors[0]).argmax())
    for rows, ranks in zip(negatives.document_rows, negatives.ranks, strict=True):
        assert np.array_equal(rows[ranks.argsort()], nearest + 5 * np.arange(copies))


def test_one_shard_serves_all_queries_and_its_window_is_scaled() -> None:
    queries, corpus, known_positives = random_case(30, 400, 6, 5)
    queries = queries._replace(positives=np.full(30, -1, np.int32))
    all_ranks = mine_all(
        queries, corpus, nothing_known_for(queries), Mining(window=(0.0, 1.0), keep=400, shard=0.25), seed=3
    )
    shard = np.sort(all_ranks.document_rows[0, all_ranks.document_rows[0] >= 0])
    assert len(shard) == 100
    assert all(set(row[row >= 0].tolist()) == set(shard.tolist()) for row in all_ranks.document_rows)
    negatives = mine_all(queries, corpus, known_positives, Mining(window=(41, 200), keep=400, shard=0.25), seed=3)
    part = MiningCorpus(corpus.vectors[np.isin(corpus.rows, shard)], shard)
    from_shard = mine_all(queries, part, known_positives, Mining(window=(11, 50), keep=400), seed=3)
    assert all(np.array_equal(first, second) for first, second in zip(negatives, from_shard, strict=True))
    second = mine_all(queries, corpus, known_positives, Mining(window=(41, 200), keep=400, shard=0.25), seed=4)
    assert not np.isin(second.document_rows[second.document_rows >= 0], shard).all()


def nothing_known_for(queries: MiningQueries) -> KnownPositives:
    return KnownPositives(np.zeros(int(queries.groups.max()) + 2, np.int64), np.zeros(0, np.int32))


def test_the_filter_uses_the_positive_from_the_corpus_if_the_shard_lacks_it() -> None:
    queries, corpus, known_positives = random_case(20, 300, 4, 8)
    negatives = mine_all(
        queries, corpus, known_positives, Mining(window=(0.0, 1.0), keep=300, shard=0.1, below_positive=0.8)
    )
    positive_similarities = (queries.vectors * corpus.vectors[np.searchsorted(corpus.rows, queries.positives)]).sum(1)
    assert (negatives.similarities <= (positive_similarities - 0.2 * abs(positive_similarities))[:, None] + 1e-6).all()
    assert (negatives.document_rows >= 0).any()


@pytest.mark.parametrize(
    ("window", "documents", "ranks"),
    [
        ((101, 500), 500, (101, 500)),
        ((0.002, 0.01), 50_000, (101, 500)),
        ((0.002, 0.01), 1000, (3, 10)),
        ((0.0, 1.0), 7, (1, 7)),
        ((0, 0.5), 8, (1, 4)),
        ((1, 1), 7, (1, 1)),
    ],
)
def test_a_window_in_ranks_or_shares(window: tuple[float, float], documents: int, ranks: tuple[int, int]) -> None:
    assert rank_window(Mining(window=window), documents) == ranks
    assert Mining.model_validate_json(Mining(window=window).model_dump_json()) == Mining(window=window)


def not_a_number(n: int) -> Float32:
    vectors = units(n, 4, 0)
    vectors[1, 1] = np.nan
    return vectors


def test_invalid_inputs_are_refused() -> None:
    queries, corpus, known_positives = random_case(4, 60, 4, 0)
    rows: Int32 = corpus.rows
    for case, mining, message in (
        ((queries, corpus), Mining(), "the last rank is 500.*60 documents; lower the window"),
        ((queries, corpus), Mining(window=(0.001, 0.002)), "hold no whole rank of 60 documents"),
        ((queries, MiningCorpus(corpus.vectors[:0], rows[:0])), Mining(), "no document existed in the training window"),
        ((queries, MiningCorpus(corpus.vectors, rows[::-1])), Mining(window=(1, 9)), "order of row"),
        ((queries, MiningCorpus(not_a_number(60), rows)), Mining(window=(1, 9)), "documents hold values.*not numbers"),
        ((queries._replace(vectors=not_a_number(4)), corpus), Mining(window=(1, 9)), "queries hold values"),
        (
            (queries._replace(positives=np.full(4, 1000, np.int32)), corpus),
            Mining(window=(1, 9), below_positive=0.9),
            "4 of 4 positives are not among the documents",
        ),
    ):
        with pytest.raises(InputError, match=message):
            mine_all(*case, known_positives, mining)


@pytest.mark.parametrize(
    "settings_",
    [
        {"window": (500, 101)},
        {"window": (0, 5)},
        {"window": (0.5, 1.5)},
        {"keep": 0},
        {"shard": 0},
        {"below_positive": 0},
        {"sharpness": -1},
        {"typo": 1},
    ],
)
def test_invalid_mining_settings_are_refused(settings_: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Mining.model_validate(settings_)
