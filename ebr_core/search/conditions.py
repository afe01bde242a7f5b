"""The language of Boolean conditions on documents. [EBR §4.2]

    kind = person AND (city = Lyon OR NOT country IN (DE, AT)) AND created_at >= 2024-01-01
    price < 20 AND brand = 'Acme' AND within 25 km
    term:smith AND nn(radius=0.35)
    language = de OR nn(k=50) OR within 10 km of "Lyon, FR"

NOT binds more tightly than AND, and AND more tightly than OR. An attribute is any column of the documents, in quotes if
it holds a blank or a sign, or is a word of this language. A comparison with an attribute that a document lacks is
false, except that brand = '' holds for the documents without a brand, and brand != '' for the others. `term:` holds for
documents with that word, after stemming. `within` holds for documents at most that far from the place of the search, or
from a named one. nn(radius=r) holds for the documents within the cosine distance r of the query. nn(k=K) holds for the
K nearest of the documents that meet the other operands of the same AND.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple, assert_never

from ebr_core.errors import InputError
from ebr_core.towers.city_names import locate_place

ATTRIBUTES = ("document_id", "kind", "city", "region", "country", "language", "created_at", "removed_at")
TIMES = ("created_at", "removed_at")
OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
MAX_CHARACTERS = 2000  # characters
MAX_NESTING = 50
_QUOTED = r'"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.|\'\')*)\''
_TOKEN = re.compile(rf'\s*(?:(<=|>=|!=|[()=<>,:])|{_QUOTED}|([^\s()=<>!,:"\'][^\s()=<>!,:"]*))')


class Is(NamedTuple):
    """attribute operator value, or any of several values."""

    attribute: str
    operator: str
    values: tuple[str, ...]


class Term(NamedTuple):
    """The document has the word, or all words if there are several."""

    text: str


class Near(NamedTuple):
    """The document is near the query: within a radius, or among the K nearest."""

    radius: float | None
    k: int | None


class Within(NamedTuple):
    """The document is at most that far from a place; without one, from the place of the search."""

    km: float
    place: tuple[float, float] | None  # latitude and longitude, in degrees


class Not(NamedTuple):
    """The part does not hold."""

    part: Condition


class AllOf(NamedTuple):
    """Every part holds."""

    parts: tuple[Condition, ...]


class AnyOf(NamedTuple):
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Is | Term | Near | Within | Not | AllOf | AnyOf


def parse(text: str) -> Condition:
    """The condition written in text. Raises InputError with the position of the first error and what is allowed there.

    >>> parse("kind = page AND NOT nn(k=5)")
    AllOf(parts=(Is(attribute='kind', operator='=', values=('page',)), Not(part=Near(radius=None, k=5))))
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"a condition of {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    reader = _ConditionReader(text)
    condition = _parse_or(reader, 0)
    if reader.at < len(reader.tokens):
        raise reader.wrong("AND, OR or the end")
    return condition


class _ConditionReader:
    """The tokens of a text, and the index of the next one. A quoted token is never a keyword."""

    def __init__(self, text: str) -> None:
        """Split text into tokens (position, token, is_quoted)."""
        self.text, self.at = text, 0
        self.tokens: list[tuple[int, str, bool]] = []
        pos = 0
        while text[pos:].strip():
            hit = _TOKEN.match(text, pos)
            if hit is None:
                raise InputError(f"condition: {text[pos:].strip()[:20]!r} at {pos} makes no sense in {text!r}")
            sign, double, single, word = hit.groups()
            text_in_quotes = double if single is None else single.replace("''", "'")
            quoted = text_in_quotes is not None
            token = re.sub(r"\\(.)", r"\1", text_in_quotes) if quoted else sign or word
            self.tokens.append((hit.start(hit.lastindex or 0), token, quoted))
            pos = hit.end()

    def next(self) -> str:
        """The next token; a keyword in upper case; "" at the end."""
        if self.at == len(self.tokens):
            return ""
        _, token, quoted = self.tokens[self.at]
        return token.upper() if not quoted and token.upper() in ("AND", "OR", "NOT", "IN") else token

    @property
    def quoted(self) -> bool:
        """True if the next token is in quotes, and so is no word of the language."""
        return self.at < len(self.tokens) and self.tokens[self.at][2]

    def take(self, expected: str = "") -> str:
        """The next token, which is consumed. Raises InputError if it is not the expected one."""
        token, at_end = self.next(), self.at == len(self.tokens)
        if at_end or (expected and token != expected):
            raise self.wrong(expected or "more")
        self.at += 1
        return token

    def wrong(self, expected: str) -> InputError:
        """The error for the next token: what was got and what was expected."""
        if self.at == len(self.tokens):
            return InputError(f"condition: {self.text!r} ends where {expected} should follow")
        pos, token, _ = self.tokens[self.at]
        return InputError(f"condition: got {token!r} at {pos} of {self.text!r}; expected {expected}")


def _parse_or(reader: _ConditionReader, depth: int) -> Condition:
    parts = [_parse_and(reader, depth)]
    while reader.next() == "OR":
        reader.take()
        parts.append(_parse_and(reader, depth))
    return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))


def _parse_and(reader: _ConditionReader, depth: int) -> Condition:
    parts = [_parse_operand(reader, depth)]
    while reader.next() == "AND":
        reader.take()
        parts.append(_parse_operand(reader, depth))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _parse_operand(reader: _ConditionReader, depth: int) -> Condition:
    if depth > MAX_NESTING:
        raise InputError(f"condition: nested more than {MAX_NESTING} deep")
    token = "" if reader.quoted else reader.next()
    if token == "NOT":
        reader.take()
        return Not(_parse_operand(reader, depth + 1))
    if token == "(":
        reader.take()
        inner = _parse_or(reader, depth + 1)
        reader.take(")")
        return inner
    if token == "nn":
        return _parse_near(reader)
    if token == "within":
        return _parse_within(reader)
    if token == "term":
        reader.take()
        reader.take(":")
        if not (word := _parse_value(reader)).strip():
            raise InputError("condition: term: is empty; expected a word, as in term:smith")
        return Term(word)
    if reader.at == len(reader.tokens) or (not reader.quoted and token in (*OPERATORS, *"),:", "AND", "OR", "IN")):
        raise reader.wrong("an attribute of documents, term:…, within … km, nn(…), NOT or (")
    return _parse_comparison(reader)


def _parse_comparison(reader: _ConditionReader) -> Is:
    attribute = reader.take()
    operator = "" if reader.quoted else reader.next()
    if operator == "IN":
        reader.take()
        reader.take("(")
        values = [_parse_value(reader)]
        while reader.next() == ",":
            reader.take()
            values.append(_parse_value(reader))
        reader.take(")")
        operator = "="
    elif operator in OPERATORS:
        reader.take()
        values = [_parse_value(reader)]
    else:
        raise reader.wrong(f"one of {' '.join(OPERATORS)} or IN after {attribute!r}")
    if "" in values and operator not in ("=", "!="):
        raise InputError(
            f"condition: {attribute} {operator} '' compares with an empty value, which has no order; write "
            f"{attribute} = '' for documents without a value, {attribute} != '' for the others"
        )
    if attribute in TIMES:
        values = [value and read_instant(attribute, value) for value in values]
    return Is(attribute, operator, tuple(values))


def _parse_within(reader: _ConditionReader) -> Within:
    """within 25 km, or within 25 km of a place: a city, "city, country" or "latitude, longitude"."""
    reader.take("within")
    token = reader.take()
    if not token.endswith("km"):
        reader.take("km")
    text = token.removesuffix("km")
    try:
        km = float(text)
    except ValueError as error:
        raise InputError(f"condition: within {text}: {text!r} is no number; expected such as: within 25 km") from error
    if not 0 < km <= 20_100:
        raise InputError(
            f"condition: within {km:g} km; expected a distance above 0 and up to half the globe, 20,100 km"
        )
    if reader.quoted or reader.next() != "of":
        return Within(km, None)
    reader.take()
    return Within(km, locate_place(_parse_value(reader)))


def _parse_value(reader: _ConditionReader) -> str:
    if reader.at < len(reader.tokens) and not reader.quoted and reader.next() in "()=<>,:":
        raise reader.wrong("a value; put it in quotes if it contains one of ()=<>,:!")
    return reader.take()


def read_instant(attribute: str, text: str) -> str:
    """The instant in UTC, in the format of the documents' columns. A text without a time zone is read as UTC."""
    try:
        instant = datetime.fromisoformat(text)
        return (instant.astimezone(UTC) if instant.tzinfo else instant).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError) as error:  # a time zone can move the date out of the calendar
        raise InputError(
            f"condition: {attribute} is compared with {text!r}; expected a date such as 2024-01-31, in quotes "
            "with a time of day"
        ) from error


def _parse_near(reader: _ConditionReader) -> Near:
    for expected in ("nn", "("):
        reader.take(expected)
    name = reader.take()
    if name not in ("radius", "k"):
        reader.at -= 1
        raise reader.wrong("radius=… or k=…")
    reader.take("=")
    text = reader.take()
    reader.take(")")
    try:
        near = Near(float(text), None) if name == "radius" else Near(None, int(text))
    except ValueError as error:
        raise InputError(f"condition: nn({name}={text}): {text!r} is not a number") from error
    if (near.radius is not None and not 0 <= near.radius <= 2) or (near.k is not None and near.k < 1):
        raise InputError(f"condition: nn({name}={text}); expected a radius between 0 and 2, or k of at least 1")
    return near


def leaves_of(condition: Condition) -> Iterator[Is | Term | Near | Within]:
    """The comparisons and other operands of a condition, from left to right."""
    match condition:
        case Not():
            yield from leaves_of(condition.part)
        case AllOf() | AnyOf():
            for part in condition.parts:
                yield from leaves_of(part)
        case Is() | Term() | Near() | Within():
            yield condition
        case _:
            assert_never(condition)


def contains_nn(condition: Condition) -> bool:
    """True if the condition contains nn anywhere, and so depends on the query."""
    return any(isinstance(leaf, Near) for leaf in leaves_of(condition))


def reads_place(condition: Condition) -> bool:
    """True if the condition depends on the place of the search."""
    return any(isinstance(leaf, Within) and leaf.place is None for leaf in leaves_of(condition))


def columns_named(condition: Condition) -> list[str]:
    """The attributes that the condition compares, as written, each once."""
    return list(dict.fromkeys(leaf.attribute for leaf in leaves_of(condition) if isinstance(leaf, Is)))
