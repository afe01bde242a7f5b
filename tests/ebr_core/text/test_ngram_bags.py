"""Text → bags, compared with an oracle that reads texts character by character."""

from __future__ import annotations

from collections import Counter

import numba
import numpy as np
import oracles
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ebr_core.text.ngram_bags import Bags, apply_idf, fit_vocabulary, keep_known, rarity_of, take, with_queries
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.training.arm_config import TextFeatures

BUCKETS = 1021  # small, so that the whole range is hit; not a power of two, so that the division is tested

# Unassigned code points are left out: Python and Arrow know different versions of Unicode.
assigned = st.characters(exclude_categories=("Cs", "Cn"))
scripts = st.sampled_from(list("aAbßﬁİıΣςéе́жЖ漢字かナไทยលាខ្မေ中ᄀ가👍🏽𝐀𠮷𐐀٣²½Ⅷ\u0300\u0301\u0345\u20dd -'_\t\n\0．。"))
texts = st.one_of(st.text(assigned, max_size=30), st.text(scripts, max_size=30))
sizes = st.lists(st.integers(1, 5), max_size=3, unique=True)


def counted(bags: Bags) -> list[Counter[int]]:
    return [Counter(bags.ids[a:b].tolist()) for a, b in zip(bags.offsets[:-1], bags.offsets[1:], strict=True)]


def same(left: Bags, right: Bags) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(left, right, strict=True))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(st.none(), texts), max_size=8), sizes, st.lists(st.integers(1, 3), max_size=2, unique=True))
@example(
    ["", None, "\u0301\u0300", " ", "a", "é", "e\u0301", "x" * 3000, "漢字" * 999, "🏽"], [1, 2, 3, 4, 5], [1, 2, 3]
)
@example([f"a{chr(point)}b" for point in (0x2FF, 0x300, 0x36F, 0x370, 0xE00 - 1, 0xE01, 0x30FF, 0x3100)], [2], [1])
@example(["ΑΣ ΑΣ", "K", "Å ÅNGSTRÖM ﬁ", "İstanbul", "日本 ab中cd", "ไทยland", "한국어 각", "x\u20ddy"], [3], [1, 2])
def test_every_text_gives_the_n_grams_that_the_oracle_reads(
    inputs: list[str | None], char_ngrams: list[int], word_ngrams: list[int]
) -> None:
    if not char_ngrams and not word_ngrams:
        word_ngrams = [1]
    features = TextFeatures.model_construct(
        char_ngrams=tuple(char_ngrams), word_ngrams=tuple(word_ngrams), buckets=BUCKETS
    )
    bags = hash_texts(pa.array(inputs, pa.string()), features)
    assert counted(bags) == [oracles.bag_of(text, char_ngrams, word_ngrams, BUCKETS) for text in inputs]
    assert bags.ids.dtype == np.int32
    assert bags.weights.dtype == np.float32
    for first, last in zip(bags.offsets[:-1], bags.offsets[1:], strict=True):
        assert np.all(bags.weights[first:last] == np.float32(1 / max(1, last - first)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), texts), min_size=1, max_size=20), st.data())
def test_neither_blocks_nor_slices_nor_the_width_of_offsets_change_a_bag(
    inputs: list[str | None], data: st.DataObject
) -> None:
    features = TextFeatures(char_ngrams=(2, 3), word_ngrams=(1, 2))
    bags = hash_texts(pa.array(inputs, pa.string()), features)
    assert same(bags, hash_texts(pa.array(inputs, pa.large_string()), features, block=3))
    first = data.draw(st.integers(0, len(inputs)))
    last = data.draw(st.integers(first, len(inputs)))
    part = pa.array(inputs, pa.string())[first:last]
    expected = hash_texts(pa.array(inputs[first:last], pa.string()), features)
    assert same(hash_texts(part, features), expected)
    assert same(hash_texts(part, features, block=3), expected)


def test_a_bag_does_not_depend_on_the_other_texts_of_its_block() -> None:
    """ASCII blocks are folded by the kernel, others by Arrow: both must give the same."""
    plain = ["John SMITH", "a-B_c", "x9", ""]
    expected = hash_texts(pa.array(plain), TextFeatures())
    mixed = hash_texts(pa.array([*plain, "é"]), TextFeatures())
    assert same(expected, take(mixed, np.arange(len(plain), dtype=np.int32)))


def test_long_texts_are_read_in_blocks_of_bytes() -> None:
    """About 40 MB, of which at most 16 are read at a time, except for one text that is larger."""
    features = TextFeatures(char_ngrams=(), word_ngrams=(1,))
    texts = ["ab cdefgh " * 500_000, "x" * 2**24 + " yz", "", *[f"{n} klmnop" * 100_000 for n in range(15)], "end"]
    block_bags = hash_texts(pa.array(texts), features)
    single_bags = [hash_texts(pa.array([text]), features) for text in texts]
    assert np.diff(block_bags.offsets).tolist() == [len(bag.ids) for bag in single_bags]
    assert np.array_equal(block_bags.ids, np.concatenate([bag.ids for bag in single_bags]))


def test_spellings_of_one_text_share_a_bag() -> None:
    features = TextFeatures(char_ngrams=(3,), word_ngrams=(1, 2))
    for text, variant in [("José", "jose"), ("jose\u0301", "José"), ("ﬁne", "FINE"), ("john-smith", "John Smith")]:
        assert counted(hash_texts(pa.array([text]), features)) == counted(hash_texts(pa.array([variant]), features))
    assert counted(hash_texts(pa.array(["smith john"]), features)) != counted(
        hash_texts(pa.array(["john smith"]), features)
    )


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_no_texts_and_only_empty_texts_give_empty_bags(kind: pa.DataType) -> None:
    assert len(hash_texts(pa.array([], kind), TextFeatures())) == 0
    bags = hash_texts(pa.array([None, "", "--"], kind), TextFeatures())
    assert bags.offsets.tolist() == [0, 0, 0, 0]
    assert len(bags.ids) == len(bags.weights) == 0


def test_the_number_of_threads_does_not_matter() -> None:
    letters = list("abcdé 漢ж")
    rng = np.random.default_rng(0)
    inputs = pa.array(["".join(rng.choice(letters, rng.integers(0, 40))) for _ in range(500)])
    numba.set_num_threads(1)
    expected = hash_texts(inputs, TextFeatures())
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]  # set while importing
    assert same(expected, hash_texts(inputs, TextFeatures()))


def test_hashes_spread_over_the_buckets() -> None:
    """A χ² far from uniform would mean more collisions than necessary."""
    words = pa.array([f"{n:x}" for n in range(20_000)])
    bags = hash_texts(words, TextFeatures.model_construct(char_ngrams=(), word_ngrams=(1,), buckets=256))
    observed = np.bincount(bags.ids, minlength=256)
    expected = len(words) / 256
    assert len(bags.ids) == len(words)
    assert ((observed - expected) ** 2 / expected).sum() < 255 + 6 * np.sqrt(2 * 255)


drawn_bags = st.lists(st.lists(st.integers(0, 19), max_size=6), max_size=8)


def bags_from(lists: list[list[int]]) -> Bags:
    counts = [len(bag) for bag in lists]
    weights = [np.float32(1 / len(bag)) for bag in lists for _ in bag]
    ids = [entry for bag in lists for entry in bag]
    return Bags(np.cumsum([0, *counts]), np.array(ids, np.int32), np.array(weights, np.float32))


@settings(max_examples=50, deadline=None)
@given(st.lists(drawn_bags, min_size=1, max_size=3), drawn_bags)
def test_the_vocabulary_numbers_what_was_seen_and_the_rest_is_left_out(
    fitted: list[list[list[int]]], lists_to_map: list[list[int]]
) -> None:
    vocabulary = fit_vocabulary([bags_from(lists) for lists in fitted], 20)
    buckets_seen = sorted({entry for lists in fitted for bag in lists for entry in bag})
    rows = {bucket: row for row, bucket in enumerate(buckets_seen)}
    assert vocabulary.tolist() == [rows.get(bucket, -1) for bucket in range(20)]
    known_bags = keep_known(bags_from(lists_to_map), vocabulary)
    assert same(known_bags, bags_from([[rows[entry] for entry in bag if entry in rows] for bag in lists_to_map]))


@settings(max_examples=50, deadline=None)
@given(drawn_bags, st.data())
def test_take_gives_those_bags_in_that_order(lists: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=9)) if lists else []
    taken = take(bags_from(lists), np.array(rows, np.int32))
    assert same(taken, bags_from([lists[row] for row in rows]))


bag_entries = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=5)


def uniform(lists: list[list[int]]) -> Bags:
    counts = np.array([len(bag) for bag in lists])
    ids = np.array([ngram for bag in lists for ngram in bag], np.int32)
    weights = np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts)
    return Bags(np.concatenate([[0], np.cumsum(counts)]), ids, weights)


@settings(max_examples=60, deadline=None)
@given(bag_entries, bag_entries, st.data())
def test_a_document_is_half_itself_and_half_the_queries_that_led_to_it(
    documents: list[list[int]], queries: list[list[int]], data: st.DataObject
) -> None:
    pairs = data.draw(
        st.lists(
            st.tuples(st.integers(0, len(documents) - 1), st.integers(0, len(queries) - 1)), unique=True, max_size=8
        )
    )
    rows = np.array(sorted(pairs), np.int32).reshape(-1, 2)
    bags = with_queries(uniform(documents), uniform(queries), rows[:, 0], rows[:, 1])
    for d, document_ngrams in enumerate(documents):
        clicked_queries = [queries[q] for document, q in sorted(pairs) if document == d and queries[q]]
        expected: Counter[int] = Counter()
        half = 0.5 if document_ngrams and clicked_queries else 1.0
        for part, share in [
            (document_ngrams, half),
            *((query, half / len(clicked_queries)) for query in clicked_queries),
        ]:
            for ngram in part:
                expected[ngram] += share / len(part)  # type: ignore[assignment]
        weights: Counter[int] = Counter()
        for ngram, weight in zip(
            bags.ids[bags.offsets[d] : bags.offsets[d + 1]],
            bags.weights[bags.offsets[d] : bags.offsets[d + 1]],
            strict=True,
        ):
            weights[int(ngram)] += float(weight)  # type: ignore[assignment]
        assert weights == pytest.approx(expected, abs=1e-5)


def test_rare_n_grams_weigh_more_and_a_bag_sums_to_one() -> None:
    bags = uniform([[0, 1], [0, 2, 2], [0], []])
    rarity = rarity_of(bags, 4)
    assert rarity.tolist() == pytest.approx([np.log(5 / 3.5), np.log(5 / 1.5), np.log(5 / 1.5), np.log(5 / 0.5)])
    weighted = apply_idf(bags, rarity)
    for first, last in zip(weighted.offsets[:-1], weighted.offsets[1:], strict=True):
        if last > first:
            assert weighted.weights[first:last].sum() == pytest.approx(1)
    assert weighted.weights[1] > weighted.weights[0]
