"""The words of titles.

People's names come from Faker, topics in seven languages from the emoji names of Unicode's CLDR, nicknames from
`nicknames`. The few words of groups, pages and events are listed here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import emoji
import nicknames
import numpy as np
import numpy.typing as npt

from data.world.places import LANGUAGES
from ebr_core.errors import InputError

LONGEST = 24  # letters of a word

# English names of emoji. A name that is not one word in every language is skipped.
TOPICS = """
guitar violin trumpet saxophone drum accordion microphone bowling skis automobile joystick dog cat horse cow bird fish
butterfly turtle rabbit parrot rose tulip cactus mushroom pizza hamburger taco sushi doughnut cookie grapes strawberry
lemon avocado airplane train ship tent mountain hospital school church mosque newspaper telescope microscope rocket
scissors hammer house balloon baby ring dress zombie vampire ghost dragon elephant tiger penguin eagle octopus snail ant
crab shrimp banana mango egg garlic chestnut camping stadium factory hotel tractor bus taxi helicopter anchor compass
candle crown umbrella badminton
"""

# English word, then es, pt, it, fr, de, id. Not taken from a package.
TYPES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "group": (
        ("club", "club", "clube", "club", "club", "verein", "klub"),
        ("group", "grupo", "grupo", "gruppo", "groupe", "gruppe", "grup"),
        ("association", "asociación", "associação", "associazione", "association", "verband", "asosiasi"),
        ("community", "comunidad", "comunidade", "comunità", "communauté", "gemeinschaft", "komunitas"),
        ("friends", "amigos", "amigos", "amici", "amis", "freunde", "sahabat"),
        ("team", "equipo", "equipe", "squadra", "équipe", "mannschaft", "tim"),
        ("volunteers", "voluntarios", "voluntários", "volontari", "bénévoles", "freiwillige", "relawan"),
        ("students", "estudiantes", "estudantes", "studenti", "étudiants", "studenten", "mahasiswa"),
    ),
    "page": (
        ("shop", "tienda", "loja", "negozio", "boutique", "laden", "toko"),
        ("cafe", "cafetería", "cafeteria", "caffè", "café", "kaffeehaus", "kafe"),
        ("restaurant", "restaurante", "restaurante", "ristorante", "restaurant", "gasthaus", "restoran"),
        ("studio", "estudio", "estúdio", "studio", "atelier", "atelier", "studio"),
        ("magazine", "revista", "revista", "rivista", "magazine", "magazin", "majalah"),
        ("museum", "museo", "museu", "museo", "musée", "museum", "museum"),
        ("academy", "academia", "academia", "accademia", "académie", "akademie", "akademi"),
        ("market", "mercado", "mercado", "mercato", "marché", "markt", "pasar"),
    ),
    "event": (
        ("festival", "festival", "festival", "festival", "festival", "festival", "festival"),
        ("concert", "concierto", "concerto", "concerto", "concert", "konzert", "konser"),
        ("tournament", "torneo", "torneio", "torneo", "tournoi", "turnier", "turnamen"),
        ("workshop", "taller", "oficina", "laboratorio", "atelier", "workshop", "lokakarya"),
        ("party", "fiesta", "festa", "festa", "fête", "feier", "pesta"),
        ("meeting", "reunión", "encontro", "incontro", "rencontre", "treffen", "pertemuan"),
        ("exhibition", "exposición", "exposição", "mostra", "exposition", "ausstellung", "pameran"),
        ("conference", "conferencia", "conferência", "conferenza", "conférence", "konferenz", "konferensi"),
    ),
}
ABBREVIATIONS = {
    "association": ("assoc",), "asociación": ("asoc",), "associazione": ("assoc",), "festival": ("fest",),
    "restaurant": ("resto",), "magazine": ("mag",), "magazin": ("mag",), "university": ("uni",), "academy": ("acad",),
    "conference": ("conf",), "konferenz": ("konf",), "exposition": ("expo",), "exposición": ("expo",),
    "exposição": ("expo",), "tournament": ("tourney",), "gemeinschaft": ("gem",), "students": ("studs",),
}  # fmt: skip
OF_WORDS = ("of", "de", "de", "di", "de", "von", "dari")  # precedes a topic in the Romance languages' titles
OFFICIAL_WORDS = ("official", "oficial", "oficial", "ufficiale", "officiel", "offiziell", "resmi")


@cache
def topic_words() -> list[tuple[str, ...]]:
    """T topics, each as one word in every language, in the order of LANGUAGES.

    >>> topic_words()[0]
    ('guitar', 'guitarra', 'guitarra', 'chitarra', 'guitare', 'gitarre', 'gitar')
    """
    emoji.config.load_language(list(LANGUAGES[1:]))
    emoji_by_name = {e["en"].strip(":"): e for e in emoji.EMOJI_DATA.values()}
    rows = [
        tuple(str(emoji_by_name[t][language]).strip(":") for language in LANGUAGES)
        for t in TOPICS.split()
        if t in emoji_by_name
    ]
    rows = [tuple(word.replace("ß", "ss") for word in row) for row in rows]
    return [row for row in rows if all(typeable(w) for w in row)]


def typeable(word: str) -> bool:
    """True if a word is 2 … 20 lower-case letters of Latin-1, each of which folds to one plain letter."""
    return 2 <= len(word) <= 20 and word.isalpha() and all(c in _PLAIN for c in word)


def people_names(
    locale: str, limit: int
) -> tuple[list[str], npt.NDArray[np.float64], list[str], npt.NDArray[np.float64]]:
    """The `limit` commonest first names, their weights, last names and their weights of a Faker locale, in lower case.

    If Faker has no frequencies, or equal ones, the weight is 1 / rank in a fixed shuffle of the list (Zipf; assumed).
    """
    provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
    return *_most_common(provider.first_names, limit), *_most_common(provider.last_names, limit)


def _most_common(names: Mapping[str, float] | Iterable[str], limit: int) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The `limit` commonest names that can be typed, in alphabetical order, and their weights, which sum to 1."""
    frequencies = dict(names.items()) if isinstance(names, Mapping) else dict.fromkeys(names, 1.0)
    weights: dict[str, float] = {}
    for name, weight in frequencies.items():
        word = name.lower().replace("ß", "ss")
        if all(typeable(part) for part in word.split()) and 1 <= len(word.split()) <= 2:
            weights[word] = weights.get(word, 0) + float(weight)
    words = sorted(weights)
    weight_of_word = np.array([weights[word] for word in words])
    if np.ptp(weight_of_word) < 1e-12 or not isinstance(names, Mapping):
        weight_of_word = 1.0 / (1 + np.random.default_rng(len(words)).permutation(len(words)))
    top = np.sort(np.argsort(-weight_of_word, kind="stable")[:limit])
    return [words[i] for i in top], weight_of_word[top] / weight_of_word[top].sum()


@cache
def _namer() -> Any:
    """The list of nicknames, loaded once."""
    return nicknames.NickNamer()


def short_forms(word: str, namer: Any) -> list[str]:
    """Nicknames of a first name and abbreviations of a type, at most six, in alphabetical order."""
    forms = {n.lower() for n in namer.nicknames_of(word)} | set(ABBREVIATIONS.get(word, ()))
    return sorted(n for n in forms if typeable(n) and n != word)[:6]


_ACCENTED = "àáâãäåçèéêëìíîïñòóôõöùúûüýÿø"
_FOLDED = "aaaaaaceeeeiiiinooooouuuuyyo"
_PLAIN = {**{c: c for c in "abcdefghijklmnopqrstuvwxyz"}, **dict(zip(_ACCENTED, _FOLDED, strict=True))}


def fold_table() -> npt.NDArray[np.uint8]:
    """(256,) the plain letter of each Latin-1 letter."""
    table = np.arange(256, dtype=np.uint8)
    for accented, plain in _PLAIN.items():
        table[ord(accented)] = ord(plain)
    return table


class Lexicon:
    """Distinct words, numbered in the order in which they are added."""

    def __init__(self) -> None:
        self.number: dict[str, int] = {}

    def add(self, word: str) -> int:
        """The number of a word, which is a new one if the word is new."""
        if not 1 <= len(word) <= LONGEST:
            raise InputError(f"a word of a title must have 1 to {LONGEST} letters, got {word!r}")
        return self.number.setdefault(word, len(self.number))

    def add_all(self, words: Iterable[str]) -> npt.NDArray[np.int64]:
        """The numbers of words."""
        return np.array([self.add(w) for w in words], dtype=np.int64)

    def letters(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """(V, LONGEST) Latin-1 bytes padded with 0, and (V,) lengths."""
        fixed = np.array([w.encode("latin-1") for w in self.number], dtype=f"S{LONGEST}")
        block = fixed.view(np.uint8).reshape(len(fixed), LONGEST)
        return block, np.asarray((block > 0).sum(1), dtype=np.int64)

    def shorts(self, words: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(offsets, ids): the short forms of word w are ids[offsets[w]:offsets[w + 1]]. Adds them to the lexicon."""
        namer = _namer()
        text = list(self.number)
        ids_of_word = {int(w): [self.add(n) for n in short_forms(text[int(w)], namer)] for w in np.unique(words)}
        offsets = np.zeros(len(self.number) + 1, dtype=np.int64)
        for w, ids in ids_of_word.items():
            offsets[w + 1] = len(ids)
        return np.cumsum(offsets), np.array([i for w in sorted(ids_of_word) for i in ids_of_word[w]], dtype=np.int64)
