"""The documents: people, groups, pages and events with composed titles, popularity, birth and removal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data.world import words as w
from data.world.places import COUNTRIES, LANGUAGES, Places
from data.world.world_config import World

Ints = npt.NDArray[np.int64]

KINDS = ("person", "group", "page", "event")
PERSON, GROUP, PAGE, EVENT = range(4)
WIDTH = 8  # words of a title, at most
NAME, OPTIONAL, CITY, TOPIC, TYPE = range(1, 6)  # the role of a word in its title; 0 after the last word
FOREVER = 32_000  # a day after every log


class Documents(NamedTuple):
    """N documents. The first P are people and searchers at once: person i is searcher i."""

    people: int  # P
    kind: npt.NDArray[np.int8]  # (N,) into KINDS
    city: npt.NDArray[np.int32]  # (N,)
    language: npt.NDArray[np.int8]  # (N,) into LANGUAGES
    topic: npt.NDArray[np.int16]  # (N,) into topics; −1 for people
    type: npt.NDArray[np.int16]  # (N,) into types; −1 where the title has none
    words: npt.NDArray[np.int32]  # (N, WIDTH) into the lexicon, −1 after the last
    roles: npt.NDArray[np.int8]  # (N, WIDTH)
    popularity: npt.NDArray[np.float64]  # (N,) before the day's changes
    born: npt.NDArray[np.int16]  # (N,) day of its creation (negative: before the log); alive from the next day on
    gone: npt.NDArray[np.int16]  # (N,) day on which it is removed; no longer alive from this day on
    happens: npt.NDArray[np.int16]  # (N,) the day of an event, FOREVER for others


class Language(NamedTuple):
    """All words, their letters, and their translations and short forms."""

    text: list[str]  # V
    letters: npt.NDArray[np.uint8]  # (V, LONGEST)
    length: Ints  # (V,)
    fold: npt.NDArray[np.uint8]  # (256,)
    topics: Ints  # (T, languages) the word of each topic
    types: Ints  # (types, languages) the word of each type
    short_offsets: Ints  # (V + 1,)
    short_ids: Ints
    cities: Ints  # (C, 3) words of a city's name, −1 after the last


def compose(world: World, places: Places, rng: np.random.Generator) -> tuple[Documents, Language]:
    """The documents of a world, and the words that they and their searchers use."""
    lexicon = w.Lexicon()
    topics = np.array([lexicon.add_all(row) for row in w.topic_words()])
    types = np.array([lexicon.add_all(row) for kind in ("group", "page", "event") for row in w.TYPES[kind]])
    cities = np.full((len(places.city), 3), -1, dtype=np.int64)
    for c, name in enumerate(places.city):
        parts = name.lower().replace("ß", "ss").replace("-", " ").split()
        cities[c, : len(parts)] = lexicon.add_all(parts)
    n = world.documents
    kind = np.sort(rng.choice(4, n, p=np.array(world.kinds) / sum(world.kinds))).astype(np.int8)
    kind[0] = PERSON
    people = int((kind == PERSON).sum())
    city = rng.choice(len(places.city), n, p=places.population / places.population.sum())
    in_minority = rng.random(n) < world.minority_language
    language = np.where(in_minority & (kind != PERSON), places.minority[city], places.language[city])
    share = 1.0 / (1 + np.arange(len(topics))) ** 0.7
    topic = rng.choice(len(topics), n, p=share / share.sum())
    topic[:people] = -1
    words, roles, type_ = _titles(world, places, lexicon, kind, city, language, topic, topics, types, cities, rng)
    born, gone, happens = _lifetimes(world, kind, rng)
    exponent = np.where(kind == PERSON, world.people_exponent, world.popularity_exponent)
    popularity = np.minimum((1 - rng.random(n)) ** (-1 / exponent), 1e5)
    offsets, ids = lexicon.shorts(np.concatenate([words[:, 0][words[:, 0] >= 0], types.ravel()]))
    letters, length = lexicon.letters()
    offsets = np.concatenate([offsets, np.full(len(letters) + 1 - len(offsets), offsets[-1])])
    documents = Documents(
        people, kind, city.astype(np.int32), language.astype(np.int8), topic.astype(np.int16), type_.astype(np.int16),
        words.astype(np.int32), roles.astype(np.int8), popularity, born, gone, happens,
    )  # fmt: skip
    return documents, Language(
        list(lexicon.number), letters, length, w.fold_table(), topics, types, offsets, ids, cities
    )


def _titles(
    world: World, places: Places, lexicon: w.Lexicon, kind: npt.NDArray[np.int8], city: Ints, language: Ints,
    topic: Ints, topics: Ints, types: Ints, cities: Ints, rng: np.random.Generator,
) -> tuple[Ints, Ints, Ints]:  # fmt: skip
    """Words (N, WIDTH), their roles, and the type (N,) of every title."""
    n = len(kind)
    first, last = _names(world.number_of_names, places, lexicon, city, rng)
    types_per_kind = len(types) // 3
    type_ = rng.integers(0, types_per_kind, n) + types_per_kind * (kind.astype(np.int64) - 1)
    of_word, official_word = lexicon.add_all(w.OF_WORDS)[language], lexicon.add_all(w.OFFICIAL_WORDS)[language]
    year = np.full(n, lexicon.add(str(world.start.year)))
    u = rng.random((n, 3))
    person = kind == PERSON
    is_fan_page = (kind == PAGE) & (u[:, 0] < 0.2)  # a page with a person's name
    is_family_page = (kind == PAGE) & (u[:, 0] >= 0.2) & (u[:, 0] < 0.6)  # a business with its owner's last name
    personal, impersonal = person | is_fan_page, ~(person | is_fan_page)
    type_[personal] = -1
    topic_word = topics[np.maximum(topic, 0), language]
    type_word = np.where(personal, -1, types[np.maximum(type_, 0), language])
    romance = np.isin(language, [LANGUAGES.index(x) for x in ("es", "pt", "it", "fr")])
    type_first = impersonal & (romance | (language == LANGUAGES.index("id")))
    empty = np.full(n, -1)
    has_topic = impersonal & ~(is_family_page & (u[:, 2] < 0.5))
    has_city = impersonal & (u[:, 1] < np.array([0, 0.6, 0.35, 0.8])[kind])
    slots: list[tuple[Ints, int | Ints]] = [
        (np.where(personal, first[:, 0], empty), NAME),
        (np.where(personal, first[:, 1], empty), OPTIONAL),
        (np.where(personal | (is_family_page & ~type_first), last[:, 0], empty), NAME),
        (np.where(personal | (is_family_page & ~type_first), last[:, 1], empty), NAME),
        (np.where(is_fan_page & (u[:, 1] < 0.5), official_word, empty), OPTIONAL),
        (np.where(type_first, type_word, empty), TYPE),
        (np.where(type_first & romance & has_topic, of_word, empty), OPTIONAL),
        (np.where(has_topic, topic_word, empty), TOPIC),
        (np.where(is_family_page & type_first, last[:, 0], empty), NAME),
        (np.where(impersonal & ~type_first, type_word, empty), TYPE),
        *((np.where(has_city, cities[city, j], empty), CITY) for j in range(3)),
        (np.where((kind == EVENT) & (u[:, 2] < 0.5), year, empty), OPTIONAL),
    ]
    return *_pack(slots), type_


def _pack(slots: list[tuple[Ints, int | Ints]]) -> tuple[Ints, Ints]:
    """Words and roles, (N, WIDTH) each: the slots side by side without the empty ones."""
    wide = np.stack([ids for ids, _ in slots], axis=1)
    roles = np.broadcast_to(np.array([role for _, role in slots]), wide.shape)
    order = np.argsort(wide < 0, axis=1, kind="stable")[:, :WIDTH]
    words = np.take_along_axis(wide, order, 1)
    return words, np.where(words >= 0, np.take_along_axis(roles, order, 1), 0)


def _names(limit: int, places: Places, lexicon: w.Lexicon, city: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """(N, 2) words of a first name and of a last name that is common in the city's country."""
    first, last = np.full((len(city), 2), -1), np.full((len(city), 2), -1)
    locale = places.locale[city]
    for number, code in enumerate(COUNTRIES.values()):
        rows = np.flatnonzero(locale == number)
        first_names, first_shares, last_names, last_shares = w.people_names(code, limit)
        for target, names, share in ((first, first_names, first_shares), (last, last_names, last_shares)):
            ids = np.full((len(names), 2), -1)
            for i, name in enumerate(names):
                parts = name.split()
                ids[i, : len(parts)] = lexicon.add_all(parts)
            target[rows] = ids[rng.choice(len(names), len(rows), p=share)]
    return first, last


def _lifetimes(
    world: World, kind: npt.NDArray[np.int8], rng: np.random.Generator
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Days of creation, of removal and of the event, (N,) each; uniform over five years before the log."""
    n, days = len(kind), world.days
    is_new = rng.random(n) < world.born
    born = np.where(is_new, rng.integers(0, days, n), -1 - rng.integers(0, 1800, n))
    gone = np.where(rng.random(n) < world.gone, rng.integers(0, days, n), FOREVER)
    event = kind == EVENT
    happens = np.where(event, rng.integers(0, days + 30, n), FOREVER)
    born = np.where(event, happens - rng.integers(3, 60, n), born)  # announced 3 to 60 days ahead
    gone = np.where(event, np.minimum(happens + 3, FOREVER), gone)
    gone = np.where(gone <= born + 1, FOREVER, gone)
    born[0], gone[0] = -1, FOREVER  # one searcher is alive on every day
    return born.astype(np.int16), gone.astype(np.int16), happens.astype(np.int16)


def title_text(documents: Documents, language: Language) -> pa.Array:
    """(N,) titles as displayed: all words capitalised but the optional ones."""
    display_words = pa.array([*(t.capitalize() for t in language.text), *language.text], pa.string())
    columns = []
    for words, roles in zip(documents.words.T, documents.roles.T, strict=True):
        choice = np.where(roles == OPTIONAL, words + len(language.text), words)
        columns.append(display_words.take(pa.array(choice, mask=words < 0)))
    return pc.binary_join_element_wise(*columns, " ", null_handling="skip")
