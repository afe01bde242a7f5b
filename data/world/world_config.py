"""The parameters of a simulated world: its size, and every rate in it with its source.

A parameter without a published measurement is marked `assumed`; docs/world.md shows what halving and doubling it
changes.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ebr_core.frozen import Frozen

Rate = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]


class Wants(Frozen):
    """P(document | searcher, day) before the searcher types: weights of the sources of a want."""

    graph: Weight = Field(4, description="friends and memberships, also those of a friend; assumed")
    place: Weight = Field(2.5, description="documents near the searcher's home; assumed")
    interest: Weight = Field(1, description="a topic that interests the searcher, in the searcher's language; assumed")
    popularity: Weight = Field(2.5, description="documents that everybody looks for today; assumed")
    topic: Rate = Field(0.15, description="share of searches for a topic instead of one document; assumed")
    second_hand: Rate = Field(
        0.5, description="share of the wants from the graph that are two steps away instead of one; assumed"
    )
    distance_exponent: float = Field(
        1.05, ge=0, le=4, description="friendship decreases as distance^-1.05 [Backstrom, Sun & Marlow 2010]"
    )
    within_city_km: float = Field(8, gt=0, le=100, description="distance between two people in one city; assumed")

    @model_validator(mode="after")
    def _some_source(self) -> Wants:
        if self.graph + self.place + self.interest + self.popularity <= 0:
            raise ValueError("graph, place, interest and popularity are all 0: nobody would want a document")
        return self


class Forms(Frozen):
    """P(words typed | title): weights of the forms in which a title becomes a query. All assumed."""

    full: Weight = Field(3, description="the whole title; assumed")
    words: Weight = Field(3, description="one word, two words, or all words except the optional ones; assumed")
    prefix: Weight = Field(2, description="the first words, with the last one cut short; assumed")
    reordered: Weight = Field(0.5, description="the words in another order; assumed")
    short: Weight = Field(1, description="a nickname or an abbreviation instead of a word, where one exists; assumed")
    translated: Weight = Field(
        2, description="topic and type in the searcher's language, if the document has another one; assumed"
    )
    plain: Rate = Field(0.5, description="share of queries typed without accents; assumed")

    @model_validator(mode="after")
    def _always_a_form(self) -> Forms:
        if self.full + self.words + self.prefix <= 0:
            raise ValueError("full, words and prefix are all 0: some titles could not be typed at all")
        return self


class Misspelling(Frozen):
    """P(characters typed | words meant)."""

    rate: Rate = Field(0.12, description="share of queries with a misspelling: 10–15% [Cucerzan & Brill 2004]")
    second: Rate = Field(
        0.2, description="share of misspelt queries with two edits, in two words: 80% have one [Damerau 1964]"
    )
    first_letter: Rate = Field(0.033, description="share of edits at the first letter [Pollock & Zamora 1984]")
    omission: Weight = Field(0.35, description="weight; most common [order: Pollock & Zamora 1983]; share assumed")
    insertion: Weight = Field(0.27, description="weight; share assumed")
    substitution: Weight = Field(0.25, description="weight; share assumed")
    transposition: Weight = Field(0.13, description="weight; share assumed")
    doubling: Rate = Field(
        0.5,
        description="share of insertions that double a letter, their main cause [Pollock & Zamora 1983]; share assumed",
    )
    retyped: Rate = Field(0.05, description="misspelling rate of reformulations; assumed")

    @model_validator(mode="after")
    def _some_edit(self) -> Misspelling:
        if min(self.omission, self.insertion, self.substitution, self.transposition) <= 0:
            raise ValueError("omission, insertion, substitution and transposition must all be above 0")
        return self


class Clicking(Frozen):
    """Examination by position × attraction. [Craswell et al. 2008; Chapelle & Zhang 2009]"""

    examination_exponent: float = Field(
        1.0, ge=0, le=5, description="P(examined) = position^-exponent [Joachims, Swaminathan & Schnabel 2017]"
    )
    wanted: Rate = Field(0.9, description="P(click | examined, right answer); assumed")
    namesake: Rate = Field(0.4, description="P(click | examined, wanted title but not wanted); assumed")
    other: Rate = Field(
        0.2,
        description="P(click | examined, anything else), chosen to match the click-through by position in [TREC "
        "Session 2012]",
    )
    satisfied: Rate = Field(
        0.5, description="P(stop | one of several right answers clicked), 1 if it is the only one; assumed"
    )
    reformulate: Rate = Field(0.5, description="P(try again | no right answer clicked); assumed")
    attempts: int = Field(3, ge=1, le=9, description="largest number of searches in a session; assumed")


class World(Frozen):
    """A social search service in miniature. The same world gives the same bytes."""

    searches: int = Field(
        80_000, ge=1, le=1_000_000_000, description="number of searches in the log, including reformulations"
    )
    documents: int = Field(
        15_000,
        ge=50,
        le=20_000_000,
        description="number of documents, including those that appear or are removed during the log",
    )
    days: int = Field(30, ge=2, le=3650, description="number of days in the log")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of all random choices")
    start: date = Field(date(2026, 1, 5), description="first day of the log, a Monday")
    cities: int = Field(
        0,
        ge=0,
        le=3000,
        description="number of cities, the largest of 16 countries [GeoNames]; 0: one for each 400 documents, "
        "16–1,500; assumed",
    )
    names: int = Field(
        0,
        ge=0,
        le=5000,
        description="number of first and of last names in a country, the most common ones; 0: one for each 600 "
        "documents, 20–1,000, so that a small world has namesakes, as a large one does; assumed",
    )
    kinds: tuple[Weight, Weight, Weight, Weight] = Field(
        (5, 2, 2, 1), description="weights of people, groups, pages and events; assumed"
    )
    born: Rate = Field(0.1, description="share of people, groups and pages that appear during the log; assumed")
    gone: Rate = Field(0.03, description="share of documents that are removed during the log; assumed")
    popularity_exponent: float = Field(
        1.2,
        gt=0.5,
        le=10,
        description="P(popularity > x) ~ x^-1.2 for groups, pages and events, within the range 1–2 [Clauset et al. "
        "2009]",
    )
    people_exponent: float = Field(
        2.0, gt=0.5, le=10, description="the same exponent for people, who are more alike; assumed"
    )
    trend: float = Field(
        0.15, ge=0, le=2, description="daily step in the random walk of a topic's log popularity; assumed"
    )
    fresh: float = Field(
        2, ge=0, le=100, description="a new document is 1 + fresh · exp(−age / 7 days) times as popular; assumed"
    )
    switch: Rate = Field(0.01, description="share of searchers who take up other interests each day; assumed")
    friends_median: float = Field(
        20,
        ge=0,
        le=1000,
        description="median number of friends: 99 on all of Facebook [Ugander et al. 2011]; a fifth of it in a small "
        "world, assumed",
    )
    friends_spread: float = Field(
        1.14, ge=0, le=3, description="σ of log degree: mean 190 and median 99, read as lognormal [Ugander et al. 2011]"
    )
    circle: Rate = Field(
        0.5, description="share of friendships within a circle, such as a class or a workplace; assumed"
    )
    same_interest: Rate = Field(
        0.25,
        description="share of friendships within a city and an interest: homophily [McPherson et al. 2001]; share "
        "assumed",
    )
    circle_size: int = Field(30, ge=3, le=1000, description="number of people in a circle; assumed")
    memberships: float = Field(
        8, ge=0, le=500, description="mean number of groups, pages and events of a searcher; assumed"
    )
    minority_language: Rate = Field(
        0.1, description="share of searchers whose language is not their country's; assumed"
    )
    activity_spread: float = Field(
        1.0, ge=0, le=3, description="σ of the log number of searches of a searcher; assumed"
    )
    week: tuple[Weight, Weight, Weight, Weight, Weight, Weight, Weight] = Field(
        (1, 1, 1, 1, 1.05, 1.15, 1.15), description="relative number of searches from Monday to Sunday; assumed"
    )
    shuffled: Rate = Field(0.01, description="share of result lists that are shown in random order and flagged")
    wants: Wants = Wants()
    forms: Forms = Forms()
    misspelling: Misspelling = Misspelling()
    clicking: Clicking = Clicking()

    @model_validator(mode="after")
    def _adds_up(self) -> World:
        if self.circle + self.same_interest > 1:
            raise ValueError(f"circle + same_interest must be ≤ 1, got {self.circle} + {self.same_interest}")
        if min(self.kinds[:2]) <= 0:
            raise ValueError(f"kinds needs people and groups above 0, got {self.kinds}")
        if sum(self.week) <= 0:
            raise ValueError("week is all 0: no day would have a search")
        return self

    @property
    def number_of_cities(self) -> int:
        """`cities`, or one for each 400 documents."""
        return self.cities or int(min(1500, max(16, self.documents // 400)))

    @property
    def number_of_names(self) -> int:
        """`names`, or one for each 600 documents."""
        return self.names or int(min(1000, max(20, self.documents // 600)))


Sees = Literal["text", "place", "everything"]
