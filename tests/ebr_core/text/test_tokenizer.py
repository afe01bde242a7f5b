"""Words in every script, against a slow loop over characters and against what the towers read."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import oracles
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.text.bm25_config import Bm25, Language
from ebr_core.text.folding import fold_queries
from ebr_core.text.ngram_hashing import written_ngrams
from ebr_core.text.tokenizer import cut_words
from ebr_core.towers.feature_config import TextFeatures

SIGNS = [*"aAéÉßöİıñ1²", *"кйЙω", *"東京都のガﾞｶ", *"ที่น้ำ", *"한글", *"مُحم", *"हिन्", *" -'_+!・々\u0301", "🎂"]
TEXTS = st.lists(st.text(st.sampled_from(SIGNS), max_size=12), max_size=6)


def cut(text: str, language: Language | None = None, characters: bool = False) -> list[str]:
    lists = cut_words([text], language, characters)
    return [unicodedata.normalize("NFC", word) for word in lists.vocabulary.take(lists.ids).to_pylist()]


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.booleans())
def test_words_are_those_of_the_slow_loop(texts: list[str], characters: bool) -> None:
    lists = cut_words(texts, None, characters)
    written = lists.vocabulary.take(lists.ids).to_pylist()
    offsets = lists.offsets.tolist()
    assert [written[a:b] for a, b in pairwise(offsets)] == [oracles.words(text, characters) for text in texts]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from([sign for sign in SIGNS if sign not in "東京都のガﾞｶที่น้ำ"]), max_size=20))
def test_where_there_are_spaces_words_are_those_of_the_towers(text: str) -> None:
    lists = cut_words([text], None)
    words = written_ngrams(text, TextFeatures(char_ngrams=(), word_ngrams=(1,)))
    assert lists.vocabulary.take(lists.ids).to_pylist() == words


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(SIGNS), max_size=6), st.text(st.sampled_from(SIGNS), max_size=6))
def test_queries_are_the_same_if_and_only_if_towers_read_them_alike(first: str, second: str) -> None:
    """Towers tell queries apart by the n-grams of their runs; here n-grams are long enough to hold a whole run."""
    whole_runs = TextFeatures.model_construct(char_ngrams=(20,), word_ngrams=())
    read = [written_ngrams(text, whole_runs) for text in (first, second)]
    forms = fold_queries(pa.array([first, second], pa.large_string())).to_pylist()
    assert (forms[0] == forms[1]) == (read[0] == read[1] if any(read) else first == second)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size M, vitamin C++", ["size", "m", "vitamin", "c"]),
        ("Crème BRÛLÉE", ["creme", "brulee"]),
        ("Ｎｉｋｅ ①", ["nike", "1"]),  # full width
        ("ｶﾞﾗｽ", ["ガラ", "ラス"]),  # half width, the mark of the first letter beside it
        ("東京都 猫", ["東京", "京都", "猫"]),
        ("iPhone手机壳", ["iphone", "手机", "机壳"]),
        ("ที่นี่", ["ที่นี่"]),  # two characters with their marks are one pair
        ("한국어 검색", ["한국어", "검색"]),  # Korean has spaces
        ("हिन्दी खोज", ["हिन्दी", "खोज"]),  # vowel signs are no separators
        ("İzmir", ["izmir"]),
        ("🎂 cake", ["cake"]),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str]) -> None:
    assert cut(text) == words


def test_a_document_also_holds_each_character() -> None:
    assert cut("東京 a", characters=True) == ["東", "東京", "京", "a"]


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        (None, "The running of the bulls", ["the", "running", "of", "the", "bulls"]),
        ("en", "The running of the bulls", ["run", "bull"]),
        ("fr", "L'été à Évry", ["evry"]),  # a list of stop words knows accents
        ("ru", "Красивый, красивая", ["красив", "красив"]),  # an ending with й is an ending
        ("de", "Die Häuser", ["haus"]),
        ("es", "té y canciones", ["te", "cancion"]),  # té, tea, is not the stop word te
        ("tr", "İSTANBUL kitapların", ["istanbul", "kitap"]),
        ("en", "東京の", ["東京", "京の"]),
    ],
)
def test_stop_words_and_stems_only_of_the_language_named(
    language: Language | None, text: str, words: list[str]
) -> None:
    assert cut(text, language) == words


def test_every_language_has_a_stemmer_and_stop_words() -> None:
    for language in Language.__args__:  # type: ignore[attr-defined]
        assert Bm25(language=language).language == language
        assert cut("xylophon", language)


def test_texts_without_words_are_empty() -> None:
    lists = cut_words(pa.array([None, "", "!?", "a"]), None)
    assert lists.offsets.tolist() == [0, 0, 0, 0, 1]
    assert len(cut_words([], "en").vocabulary) == 0
