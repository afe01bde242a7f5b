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
    """P(document | searcher, day) before a word is typed: weights of the sources of a want."""

    graph: Weight = Field(4, description="friends, memberships, and those of a friend; assumed")
    place: Weight = Field(2.5, description="near the searcher's home; assumed")
    interest: Weight = Field(1, description="a topic the searcher cares about, in their language; assumed")
    popularity: Weight = Field(2.5, description="what everybody looks for today; assumed")
    topic: Rate = Field(0.15, description="share of searches for a topic rather than for one document; assumed")
    second_hand: Rate = Field(0.5, description="of the wants from the graph, the share at two steps, not one; assumed")
    distance_exponent: float = Field(
        1.05, ge=0, le=4, description="friendship falls as distance^-1.05 [Backstrom, Sun & Marlow 2010]"
    )
    within_city_km: float = Field(8, gt=0, le=100, description="distance between two people of one city; assumed")

    @model_validator(mode="after")
    def _some_source(self) -> Wants:
        if self.graph + self.place + self.interest + self.popularity <= 0:
            raise ValueError("graph, place, interest and popularity are all 0: nobody would want a document")
        return self


class Forms(Frozen):
    """P(words typed | title): weights of the ways in which a title becomes a query. All assumed."""

    full: Weight = Field(3, description="the whole title; assumed")
    words: Weight = Field(3, description="one word, two words, or all but the optional ones; assumed")
    prefix: Weight = Field(2, description="the first words, the last of them cut short; assumed")
    reordered: Weight = Field(0.5, description="the words in another order; assumed")
    short: Weight = Field(
        1, description="a nickname or an abbreviation in place of a word, where there is one; assumed"
    )
    translated: Weight = Field(
        2, description="topic and type in the searcher's language, where it is not the document's; assumed"
    )
    plain: Rate = Field(0.5, description="share of queries typed without accents; assumed")

    @model_validator(mode="after")
    def _always_a_form(self) -> Forms:
        if self.full + self.words + self.prefix <= 0:
            raise ValueError("full, words and prefix are all 0: some titles could not be typed at all")
        return self


class Misspelling(Frozen):
    """P(characters typed | words meant)."""

    rate: Rate = Field(0.12, description="queries with a misspelling: 10–15 % [Cucerzan & Brill 2004]")
    second: Rate = Field(0.2, description="of the misspelt, with two edits, in two words: 80 % have one [Damerau 1964]")
    first_letter: Rate = Field(0.033, description="edits at the first letter [Pollock & Zamora 1984]")
    omission: Weight = Field(0.35, description="commonest [order: Pollock & Zamora 1983]; share assumed")
    insertion: Weight = Field(0.27, description="share assumed")
    substitution: Weight = Field(0.25, description="share assumed")
    transposition: Weight = Field(0.13, description="share assumed")
    doubling: Rate = Field(
        0.5, description="of insertions, a doubled letter, their main cause [Pollock & Zamora 1983]; share assumed"
    )
    retyped: Rate = Field(0.05, description="misspelling rate of a reformulation; assumed")

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
    wanted: Rate = Field(0.9, description="P(click | examined, a right answer); assumed")
    namesake: Rate = Field(0.4, description="P(click | examined, bears the wanted title, is not wanted); assumed")
    other: Rate = Field(
        0.2, description="P(click | examined, anything else), for the click-through by position of [TREC Session 2012]"
    )
    satisfied: Rate = Field(
        0.5, description="P(stop | one of several right answers clicked); one alone always ends it; assumed"
    )
    reformulate: Rate = Field(0.5, description="P(try again | no right answer clicked); assumed")
    attempts: int = Field(3, ge=1, le=9, description="searches of a session, at most; assumed")


class World(Frozen):
    """A social search service in miniature. The same world gives the same bytes."""

    searches: int = Field(80_000, ge=1, le=1_000_000_000, description="searches in the log, reformulations included")
    documents: int = Field(15_000, ge=50, le=20_000_000, description="documents in all, born or gone at any time")
    days: int = Field(30, ge=2, le=3650, description="days of the log")
    seed: int = Field(0, ge=0, lt=2**32, description="of everything drawn")
    start: date = Field(date(2026, 1, 5), description="first day of the log; a Monday")
    cities: int = Field(
        0,
        ge=0,
        le=3000,
        description="cities, the largest of 16 countries [GeoNames]; 0: one for each 400 documents, 16–1,500; assumed",
    )
    names: int = Field(
        0,
        ge=0,
        le=5000,
        description="first and last names of a country, the commonest; 0: one for each 600 documents, "
        "20–1,000, so that a small world has namesakes as a large one has; assumed",
    )
    kinds: tuple[Weight, Weight, Weight, Weight] = Field(
        (5, 2, 2, 1), description="weights of people, groups, pages, events; assumed"
    )
    born: Rate = Field(0.1, description="share of people, groups and pages that appear during the log; assumed")
    gone: Rate = Field(0.03, description="share of documents removed during the log; assumed")
    popularity_exponent: float = Field(
        1.2,
        gt=0.5,
        le=10,
        description="P(popularity > x) ~ x^-1.2 for groups, pages, events: within 1–2 [Clauset et al. 2009]",
    )
    people_exponent: float = Field(2.0, gt=0.5, le=10, description="the same for people, who are more alike; assumed")
    trend: float = Field(0.15, ge=0, le=2, description="daily step of a topic's log popularity, a random walk; assumed")
    fresh: float = Field(
        2, ge=0, le=100, description="a new document is 1 + fresh · exp(−age / 7 days) as popular; assumed"
    )
    switch: Rate = Field(0.01, description="searchers a day who take up other interests; assumed")
    friends_median: float = Field(
        20,
        ge=0,
        le=1000,
        description="99 on all of Facebook [Ugander et al. 2011]; a fifth of it in a small world, assumed",
    )
    friends_spread: float = Field(
        1.14,
        ge=0,
        le=3,
        description="σ of log degree: mean 190 over median 99, read as lognormal [Ugander et al. 2011]",
    )
    circle: Rate = Field(
        0.5, description="share of friendships inside a circle such as a class or a workplace; assumed"
    )
    same_interest: Rate = Field(
        0.25, description="share within a city and an interest: homophily [McPherson et al. 2001]; share assumed"
    )
    circle_size: int = Field(30, ge=3, le=1000, description="people of a circle; assumed")
    memberships: float = Field(8, ge=0, le=500, description="mean groups, pages and events of a searcher; assumed")
    minority_language: Rate = Field(0.1, description="searchers who use another language than their country's; assumed")
    activity_spread: float = Field(1.0, ge=0, le=3, description="σ of log searches of a searcher; assumed")
    week: tuple[Weight, Weight, Weight, Weight, Weight, Weight, Weight] = Field(
        (1, 1, 1, 1, 1.05, 1.15, 1.15), description="relative searches of Monday … Sunday; assumed"
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
