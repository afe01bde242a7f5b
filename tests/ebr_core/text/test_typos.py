"""Misspelt texts: the changes compared with all single edits, and the rates of kinds, first letters and second
words."""

from __future__ import annotations

import math
import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ebr_core.parallel import use_threads
from ebr_core.text.typos import Typos, keys_beside, misspell

KINDS = ("omission", "insertion", "substitution", "transposition")


def words_of(text: str) -> list[str]:
    """Runs of letters, marks and digits, and the separators between them."""
    cut = "".join("w" if unicodedata.category(c)[0] in "LMN" or "̀" <= c <= "ͯ" else " " for c in text)
    return [text[match.start() : match.end()] for match in re.finditer("w+| +", cut)]


def replacements(letter: str) -> set[str]:
    """The letters that may be typed for a letter: the neighbours of its plain letter, and that letter."""
    plain = unicodedata.normalize("NFKD", letter)[0]
    keys = keys_beside(plain.lower())
    keys = keys | ({plain.lower()} if keys and plain != letter else set())
    return {key.upper() if plain.isupper() else key for key in keys}


def edits_of(word: str) -> dict[str, set[str]]:
    """Every result of one edit, by kind."""
    edits: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for at, letter in enumerate(word):
        before, after = word[:at], word[at + 1 :]
        edits["omission"].add(before + after)
        edits["insertion"].update(before + new + letter + after for new in replacements(letter) | {letter})
        edits["substitution"].update(before + new + after for new in replacements(letter))
        if after and after[0] != letter:
            edits["transposition"].add(before + after[0] + letter + after[1:])
    return edits


def misspelt_list(texts: list[str | None], seed: int = 0, **typos: float) -> list[str | None]:
    misspelt = misspell(pa.array(texts, pa.string()), Typos(**({"rate": 1, "second": 0} | typos)), seed)
    assert misspelt.type == pa.string()
    return misspelt.to_pylist()  # type: ignore[no-any-return]


alphabet = st.sampled_from("aabcdefgzÀéñŷ ẑ1,-AZжΩ東กา́😀")


@settings(max_examples=120, deadline=None)
@given(st.lists(st.text(alphabet, max_size=9), max_size=4), st.booleans(), st.integers(0, 99))
def test_one_word_or_two_differ_by_one_edit_each(texts: list[str], second: bool, seed: int) -> None:
    for text, output in zip(texts, misspelt_list(texts, seed, second=float(second)), strict=True):
        assert output is not None
        before = words_of(text)
        eligible = [word for word in before if len(word) >= 3 and words_of(word) == [word] and word.strip(" ,-😀")]
        changed = min(1 + second, len(eligible))
        reachable = {text: 0}
        for _ in range(changed):
            reachable = {
                "".join([*parts[:at], new, *parts[at + 1 :]]): 0
                for parts in map(words_of, reachable)
                for at, word in enumerate(parts)
                if word[0] not in " ,-😀"
                for news in edits_of(word).values()
                for new in news
            }
        assert output in reachable
        if changed == 1:
            assert output != text


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=8), st.floats(0, 1), st.integers(0, 99))
def test_any_text_stays_a_text_and_null_stays_null(texts: list[str | None], rate: float, seed: int) -> None:
    output = misspelt_list(texts, seed, rate=rate, second=0.5)
    assert [text is None for text in output] == [text is None for text in texts]
    for text, copy in zip(texts, output, strict=True):
        assert text is None or copy is None or abs(len(text) - len(copy)) <= 2
    array = pa.array([None, "left out", *texts])
    assert misspell(array, Typos(rate=0), seed).equals(array)
    assert misspell(array.slice(2), Typos(rate=rate), seed).equals(
        misspell(pa.array(texts, pa.string()), Typos(rate=rate), seed)
    )


def near(share: float, p: float, n: int) -> bool:
    return abs(share - p) < 5 * math.sqrt(p * (1 - p) / n) + 1e-3


@pytest.mark.parametrize("word", ["wanderlust", "большойхлеб"])
def test_kinds_come_by_their_shares(word: str) -> None:
    """Letters that are on no keyboard are never substituted, and an insertion doubles them."""
    n, typos = 20_000, Typos()
    shares = {kind: getattr(typos, kind) for kind in KINDS}
    if not replacements(word[0]):
        shares["substitution"] = 0
    edits, outputs = edits_of(word), misspelt_list([word] * n)
    for kind, share in shares.items():
        assert near(sum(text in edits[kind] for text in outputs) / n, share / sum(shares.values()), n)
    doubled = {word[: at + 1] + word[at:] for at in range(len(word))}
    inserted = [text for text in outputs if text in edits["insertion"]]
    doubling = typos.doubling if replacements(word[0]) else 1
    assert near(sum(text in doubled for text in inserted) / len(inserted), doubling, len(inserted))


def test_the_share_misspelt_the_second_word_and_the_first_letter() -> None:
    n = 20_000
    outputs = misspelt_list(["wander lustre"] * n, rate=0.12, second=0.2)
    changed = [text for text in outputs if text != "wander lustre"]
    assert near(len(changed) / n, 0.12, n)
    two_words = [text for text in changed if not text.startswith("wander ") and not text.endswith(" lustre")]
    assert near(len(two_words) / len(changed), 0.2, len(changed))
    first_letter_changed = [
        text for text in misspelt_list(["abcdefgh"] * n, first_letter=0.5, substitution=1e6) if text[1:] == "bcdefgh"
    ]
    assert near(len(first_letter_changed) / n, 0.5, n)
    long = [text for text in misspelt_list(["abcdef ghi"] * n) if text.endswith(" ghi")]
    assert near(len(long) / n, 6 / 9, n)


@pytest.mark.parametrize("text", ["", "a", "ab cd", "12 - 34", "我们", "!?"])
def test_short_words_are_left_alone(text: str) -> None:
    assert misspelt_list([text] * 50) == [text] * 50


def test_equal_letters_are_never_swapped_in_vain() -> None:
    transpositions = {"omission": 0, "insertion": 0, "substitution": 0, "transposition": 1}
    assert set(misspelt_list(["aab"] * 50, **transpositions)) == {"aba"}
    assert set(misspelt_list(["aaa"] * 50, **transpositions)) == {"aa"}


def test_a_seed_fixes_the_texts_for_any_number_of_threads() -> None:
    texts: list[str | None] = [f"wander lust {n}" for n in range(500)]
    outputs = []
    for threads, seed in ((1, 0), (2, 0), (2, 1)):
        use_threads(threads)
        outputs.append(misspelt_list(texts, seed, second=0.5))
    assert outputs[0] == outputs[1] != outputs[2]


def test_types_are_kept_and_none_is_none() -> None:
    for kind in (pa.string(), pa.large_string()):
        assert misspell(pa.array([], kind), Typos(rate=1), 0).type == kind
        assert misspell(pa.array([None], kind), Typos(rate=1), 0).to_pylist() == [None]


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 2}, {"omission": -1}, {"omission": 0, "insertion": 0, "transposition": 0}, {"typo": 1}],
)
def test_a_mix_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Typos.model_validate(wrong)
