"""From columns to bags by values fitted on the training rows, compared with dictionaries and loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.errors import InputError
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.column_config import Column
from ebr_core.towers.column_values import FEW
from ebr_core.towers.feature_config import Features, Numbers, TextFeatures, Values
from ebr_core.towers.fitted_features import FittedFeatures, fit_group, fit_text, group_bags, table_bags, text_bags

NOTHING = np.empty(0, np.float32)


def fitted_for(group: Values | Numbers, known: Any) -> FittedFeatures:
    return FittedFeatures(Features(groups={"g": group}), np.empty(0, np.int32), NOTHING, {"g": known})


def bag_lists(bags: Bags) -> list[list[int]]:
    return [bags.ids[a:b].tolist() for a, b in zip(bags.offsets[:-1], bags.offsets[1:], strict=True)]


cells = st.one_of(st.none(), st.sampled_from(["a", "b", "c", " a ", "", "new"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, max_size=8), st.lists(st.one_of(st.none(), st.lists(cells, max_size=3)), max_size=8))
def test_values_are_looked_up_one_by_one(texts: list[str | None], lists: list[list[str | None] | None]) -> None:
    group = Values(searches=("city", "tags"), documents=("city",))
    known = {"city": ["a", "b"], "tags": ["b", "c"]}
    rows = max(len(texts), len(lists))
    texts, lists = texts + [None] * (rows - len(texts)), lists + [None] * (rows - len(lists))
    data = {"city": pa.array(texts, pa.string()), "tags": pa.array(lists, pa.list_(pa.string()))}
    bags = group_bags("g", "searches", data, rows, fitted_for(group, known))
    expected = []
    for text, tags in zip(texts, lists, strict=True):
        city = [known["city"].index(text.strip())] if text and text.strip() in known["city"] else []
        rest = [2 + known["tags"].index(tag.strip()) for tag in tags or [] if tag and tag.strip() in known["tags"]]
        expected.append(city + rest)
    assert bag_lists(bags) == expected
    for first, last in zip(bags.offsets[:-1], bags.offsets[1:], strict=True):
        assert np.all(bags.weights[first:last] == np.float32(1 / max(1, last - first)))


odd = st.text(st.sampled_from("ab|\t\n\v\f\r \x00\x1c\x1f\x7f\x85\u00a0\u2003é"), max_size=4)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), odd), min_size=1, max_size=FEW), st.sampled_from([None, "|"]), st.booleans())
def test_a_few_rows_mean_what_they_mean_among_many(
    texts: list[str | None], separator: str | None, several: bool
) -> None:
    group = Values(searches=("city",), separator=separator)
    kind = pa.list_(pa.string()) if several else pa.string()
    cells = [None if text is None else [text, None, "b"] for text in texts] if several else texts
    fitted = fitted_for(group, {"city": sorted({"a", "ab", "b", "aé", "\x00"})})
    few = group_bags("g", "searches", {"city": pa.array(cells, kind)}, len(texts), fitted)
    many = group_bags("g", "searches", {"city": pa.array(cells * 17, kind)}, 17 * len(texts), fitted)
    assert bag_lists(few) == bag_lists(many)[: len(texts)]
    assert np.array_equal(few.weights, many.weights[: len(few.weights)])


def test_a_text_may_hold_several_values() -> None:
    group = Values(documents=("tags",), separator="|")
    data = {"tags": pa.array(["a|b", "b | c|", None, "a", "b", "c", "a"])}
    known = fit_group("g", group, {}, data)
    assert known == {"tags": ["a", "b", "c"]}
    assert bag_lists(group_bags("g", "documents", data, 7, fitted_for(group, known)))[:3] == [[0, 1], [1, 2], []]


def test_columns_that_mean_the_same_share_their_values() -> None:
    group = Values(searches=(Column(column="home", means="city"),), documents=("city",))
    searches, documents = pa.array(["x", "x", "y", "y"]), pa.array(["y", "y", "z", "z"])
    known = fit_group("g", group, {"home": searches}, {"city": documents})
    assert known == {"city": ["x", "y", "z"]}
    fitted = fitted_for(group, known)
    assert bag_lists(group_bags("g", "searches", {"home": pa.array(["y"])}, 1, fitted)) == [[1]]
    assert bag_lists(group_bags("g", "documents", {"city": pa.array(["y"])}, 1, fitted)) == [[1]]
    assert fitted.group_rows("g") == 3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.integers(-50, 50), st.floats(-100, 100)), min_size=2, max_size=40, unique=True),
    st.integers(2, 8),
    st.lists(st.one_of(st.none(), st.floats(-200, 200), st.just(float("nan"))), max_size=6),
)
def test_numbers_fall_into_the_bucket_between_the_edges(
    training: list[float], buckets: int, numbers: list[float | None]
) -> None:
    group = Numbers(documents=("price",), buckets=buckets)
    known = fit_group("g", group, {}, {"price": pa.array(training, pa.float64())})
    edges = known["price"]
    assert 1 <= len(edges) <= buckets - 1
    fitted = fitted_for(group, known)
    buckets_found = bag_lists(
        group_bags("g", "documents", {"price": pa.array(numbers, pa.float64())}, len(numbers), fitted)
    )
    assert buckets_found == [[] if x is None or x != x else [sum(x >= edge for edge in edges)] for x in numbers]
    assert fitted.group_rows("g") == len(edges) + 1
    as_text = pa.array([None if x is None else repr(x) for x in numbers], pa.string())
    assert buckets_found == bag_lists(group_bags("g", "documents", {"price": as_text}, len(numbers), fitted))


def test_buckets_hold_equally_many_training_rows() -> None:
    values = np.random.default_rng(0).lognormal(size=1000)
    group = Numbers(documents=("price",), buckets=10)
    known = fit_group("g", group, {}, {"price": pa.array(values)})
    bags = group_bags("g", "documents", {"price": pa.array(values)}, 1000, fitted_for(group, known))
    assert np.bincount(bags.ids).tolist() == pytest.approx([100] * 10, abs=2)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (["a"] * 9, {}, r"groups\.g: documents\.brand holds the value 'a' alone"),
        ([None] * 9, {}, r"documents\.brand holds no value"),
        ([f"id{i}" for i in range(9)], {}, r"9 different values in 9, more than half.*allow_identifier: true"),
    ],
)
def test_uninformative_columns_are_refused(values: list[str | None], options: dict[str, Any], message: str) -> None:
    group = Values(documents=("brand",), **options)
    with pytest.raises(InputError, match=message):
        fit_group("g", group, {}, {"brand": pa.array(values, pa.string())})


def test_an_identifier_is_accepted_if_allowed_and_half_distinct_values_are_not_one() -> None:
    ids = pa.array([f"id{i}" for i in range(4)])
    assert fit_group("g", Values(documents=("brand",), allow_identifier=True), {}, {"brand": ids})
    assert fit_group("g", Values(documents=("brand",)), {}, {"brand": pa.array(["a", "b", "a", "a"])})


def test_texts_among_numbers_are_an_error() -> None:
    with pytest.raises(InputError, match=r"groups\.g: documents\.price.*cheap.*kind: values"):
        fit_group("g", Numbers(documents=("price",)), {}, {"price": pa.array(["1", "cheap"])})


TEXTS = pa.array(["red shoe", "red hat", "blue hat", "red", ""])


def test_rarity_is_measured_on_the_training_documents() -> None:
    text = TextFeatures(char_ngrams=(), word_ngrams=(1,), weighting="idf")
    from ebr_core.text.ngram_hashing import hash_texts

    bags = hash_texts(TEXTS, text)
    vocabulary, rarity = fit_text(hash_texts(pa.array(["green"]), text), bags, text)
    fitted = FittedFeatures(Features(text=text), vocabulary, rarity, {})
    weights = text_bags(TEXTS, fitted)
    idf = {"red": np.log(6 / 3.5), "hat": np.log(6 / 2.5), "shoe": np.log(6 / 1.5), "green": np.log(6 / 0.5)}
    first_bag = weights.weights[weights.offsets[0] : weights.offsets[1]]
    assert sorted(first_bag.tolist()) == pytest.approx(
        sorted([idf[w] / (idf["red"] + idf["shoe"]) for w in ("red", "shoe")])
    )
    assert float(rarity.max()) == pytest.approx(idf["green"])  # no document has it


@pytest.mark.parametrize("remainders", [2, 7, 64])
def test_quotient_and_remainder_name_a_bucket_together(remainders: int) -> None:
    text = TextFeatures(char_ngrams=(3,), word_ngrams=(1,), buckets=256, remainders=remainders)
    from ebr_core.text.ngram_hashing import hash_texts

    hashed = hash_texts(TEXTS, text)
    vocabulary, rarity = fit_text(hashed, hashed, text)
    fitted = FittedFeatures(Features(text=text), vocabulary, rarity, {})
    split = table_bags(text_bags(TEXTS, fitted), fitted)
    assert len(split.ids) == 2 * len(hashed.ids)
    for at, bucket in enumerate(hashed.ids.tolist()):
        assert split.ids[2 * at : 2 * at + 2].tolist() == [bucket % remainders, remainders + bucket // remainders]
    assert split.ids.max() < fitted.text_rows()
    assert np.array_equal(split.offsets, 2 * hashed.offsets)
