"""Words near a known word, compared with all pairs."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.text.spelling import LONGEST, near_known


def distance(word: str, target: str) -> int:
    """The Levenshtein distance by its defining recursion, a line at a time."""
    line = list(range(len(target) + 1))
    for i, letter in enumerate(word, 1):
        before, line = line, [i]
        for j, letter_of_target in enumerate(target, 1):
            line.append(min(before[j] + 1, line[j - 1] + 1, before[j - 1] + (letter != letter_of_target)))
    return line[-1]


words = st.lists(st.text("abé漢", max_size=6), max_size=8)


@settings(max_examples=200, deadline=None)
@given(words, words)
def test_near_words_are_those_of_all_pairs(strings: list[str], known_words: list[str]) -> None:
    near = near_known(pa.array(strings, pa.string()), pa.array(known_words, pa.string()))
    assert near.tolist() == [any(distance(word, known_word) <= 2 for known_word in known_words) for word in strings]


def test_a_swap_of_neighbours_is_near_and_three_edits_are_not() -> None:
    strings = pa.array(["jonhson", "johnsonxyz", "j" * (LONGEST + 1)])
    assert near_known(strings, pa.array(["johnson", "j" * (LONGEST + 1)])).tolist() == [True, False, False]
