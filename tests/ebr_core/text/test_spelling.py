"""Words near a known one, against a comparison of all pairs."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.text.spelling import LONGEST, near_known


def distance(one: str, other: str) -> int:
    """Levenshtein's, by the recursion that defines it, a line at a time."""
    line = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, line = line, [i]
        for j, wanted in enumerate(other, 1):
            line.append(min(before[j] + 1, line[j - 1] + 1, before[j - 1] + (letter != wanted)))
    return line[-1]


words = st.lists(st.text("abé漢", max_size=6), max_size=8)


@settings(max_examples=200, deadline=None)
@given(words, words)
def test_near_words_are_those_of_all_pairs(asked: list[str], known: list[str]) -> None:
    got = near_known(pa.array(asked, pa.string()), pa.array(known, pa.string()))
    assert got.tolist() == [any(distance(word, other) <= 2 for other in known) for word in asked]


def test_a_swap_of_neighbours_is_near_and_three_edits_are_not() -> None:
    asked = pa.array(["jonhson", "johnsonxyz", "j" * (LONGEST + 1)])
    assert near_known(asked, pa.array(["johnson", "j" * (LONGEST + 1)])).tolist() == [True, False, False]
