"""Shortened titles keep some of their words in order, and are the same for the same seed."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.text.shortening import SHORTEST, shorten

words = st.lists(st.text(st.sampled_from("aé日б7"), min_size=1, max_size=7), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.lists(words, min_size=1, max_size=5), st.integers(0, 1000))
def test_a_shortened_title_is_some_of_its_words_the_last_perhaps_cut(titles: list[list[str]], seed: int) -> None:
    texts = pa.array([" - ".join(title) for title in titles])
    shortened = shorten(texts, seed)
    assert shortened.equals(shorten(texts, seed))
    for title, text in zip(titles, shortened.to_pylist(), strict=True):
        kept = [word for word in text.split() if word != "-"]
        assert kept
        remaining = iter(title)
        assert all(any(word == other for other in remaining) for word in kept[:-1])
        assert any(word == kept[-1] or (word.startswith(kept[-1]) and len(kept[-1]) >= SHORTEST) for word in remaining)


def test_about_half_of_the_titles_lose_words_and_a_quarter_the_end_of_the_last() -> None:
    title = "aaaa bbbb cccc dddd eeee ffff"
    texts = shorten(pa.array([title] * 4000), 3).to_pylist()
    lost = [len(text.split()) < 6 for text in texts]
    cut = [len(text.split()[-1]) < 4 for text in texts]
    assert 0.45 < sum(lost) / len(texts) < 0.53  # a half but for those of which every word was kept
    assert 0.22 < sum(cut) / len(texts) < 0.28


def test_nothing_to_shorten() -> None:
    assert shorten(pa.array(["", "--", None, "ab"]), 0).to_pylist() == ["", "--", "", "ab"]
    assert shorten(pa.array([], pa.string()), 0).to_pylist() == []
