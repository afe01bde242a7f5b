"""Few texts are found by their order, many by a table of hashes; both find the same."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebr_core.text.sorted_texts import FEW, SortedTexts, rows_by_hash, rows_of, sort_texts

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)  # without halves of surrogate pairs


@given(st.lists(TEXTS, unique=True, max_size=30), st.lists(TEXTS, max_size=FEW), st.data())
def test_both_ways_find_the_rows_of_a_loop(texts: list[str], others: list[str], data: st.DataObject) -> None:
    wanted = [*others, *data.draw(st.lists(st.sampled_from(texts), max_size=FEW - len(others)))] if texts else others
    expected = [texts.index(text) if text in texts else -1 for text in wanted]
    kinds = pa.string(), pa.large_string()
    for kind in kinds:
        known = pa.array(texts, kind)
        assert rows_by_hash(pa.array(wanted, kind), known).tolist() == expected
        for ordered in (sort_texts(known), sort_texts(pa.chunked_array([known[:3], known[3:]]))):
            assert rows_of(pa.array(wanted, kind), ordered).tolist() == expected
        ascending = SortedTexts(pa.array(sorted(texts), kind))
        expected_there = [sorted(texts).index(text) if text in texts else -1 for text in wanted]
        assert rows_of(pa.array(wanted, kind), ascending).tolist() == expected_there


@pytest.mark.parametrize("count", [FEW, FEW + 1])
def test_the_number_of_texts_changes_nothing(count: int) -> None:
    known = pa.array([f"w{number}" for number in range(1000, 0, -1)])
    wanted = pa.array([f"w{number * 90}" for number in range(count)])
    expected = [-1] + [1000 - number * 90 if number * 90 <= 1000 else -1 for number in range(1, count)]
    assert rows_of(wanted, sort_texts(known)).tolist() == expected
