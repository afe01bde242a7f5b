"""What a bundle knows of documents beside the layout's columns: their own columns, and where they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from ebr_core.arrays import Float64, Int32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.own_names import own_name, standard_name, written_name
from ebr_core.search.condition_masks import TEXTS, Place, filled_columns
from ebr_core.serving.search_query import SearchQuery
from ebr_core.towers.city_names import locate_cities
from ebr_core.towers.location_cells import LIMITS, distance_km, known_places

PLACES = "places.npy"  # (N, 2) latitude and longitude of the documents, in degrees; absent if none has a place
OWN = "own.json"
DEGREES = dict(zip(("latitude", "longitude"), LIMITS, strict=True))  # what a place may have


class OwnSettings(Frozen):
    """The content of own.json."""

    show: tuple[str, ...] = ()  # columns that results show unless a query names others
    left_out: dict[str, str] = Field(
        default_factory=dict
    )  # column of the user's table that the documents lack → the reason
    document_names: dict[str, str] = Field(default_factory=dict)  # the user's name of a column → the layout's
    search_names: dict[str, str] = Field(default_factory=dict)  # the same of searches
    place: tuple[str, str] = ("lat", "lon")  # fields of a query that hold its place
    names: bool = False  # they hold a city and its country


class OwnData(NamedTuple):
    """The settings, and the places of the N documents; None if none has a place."""

    settings: OwnSettings
    places: Float64 | None

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a query that this reads."""
        return () if self.places is None else self.settings.place


def write_own_data(settings: OwnSettings, places: Float64 | None, folder: Path) -> None:
    """Write own.json and the places of the documents (N, 2) to folder."""
    (folder / OWN).write_text(settings.model_dump_json(indent=1))
    if places is not None:
        np.save(folder / PLACES, places)


def read_own_data(folder: Path) -> OwnData:
    """What write_own_data wrote; nothing in a bundle that was made without."""
    file = folder / OWN
    settings = OwnSettings.model_validate(json.loads(file.read_text())) if file.exists() else OwnSettings()
    return OwnData(settings, np.load(folder / PLACES, mmap_mode="r") if (folder / PLACES).exists() else None)


def place_of_query(own: OwnData, query: SearchQuery) -> Place | None:
    """(latitude, longitude) of a query: of its fields, else of its city; None without a known place, or if no document
    has one.

    Raises InputError for a latitude or longitude that no place has, or for one without the other.
    """
    if own.places is None:
        return None
    given = [query.fields.get(name) for name in own.settings.place]
    values = [value[0] if isinstance(value, list) and value else value for value in given]
    if any(value not in (None, "", []) for value in values):
        if own.settings.names:
            city, country = (str(value) if value is not None else None for value in values)
            return _located(city, country)
        return _coordinates(dict(zip(own.settings.place, values, strict=True)))
    return _located(query.city, query.country)


def _located(city: str | None, country: str | None) -> Place | None:
    if not city:
        return None
    latitude, longitude = locate_cities([city], [country])
    return (float(latitude[0]), float(longitude[0])) if np.isfinite(latitude[0]) else None


def _coordinates(values: dict[str, Any]) -> Place | None:
    degrees = []
    for (name, value), (kind, most) in zip(values.items(), DEGREES.items(), strict=True):
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            got = "nothing" if value is None else repr(value)
            raise InputError(f"fields.{name}: got {got}; expected the {kind} of the search in degrees") from error
        if not abs(number) <= most:
            raise InputError(f"fields.{name}: got {number:g}; expected a {kind} from -{most} to {most} degrees")
        degrees.append(number)
    latitude, longitude = (float(part) for part in known_places(*np.array(degrees)))
    return None if np.isnan(latitude) else (latitude, longitude)


def distances_of(own: OwnData, origin: Place | None, rows: Int32) -> list[float | None]:
    """The distance in kilometres of the documents at these rows from the place of a query; None where one is
    unknown."""
    if own.places is None or origin is None:
        return [None] * len(rows)
    kilometres = distance_km(*own.places[rows].T, *(np.float64(degrees) for degrees in origin))
    return [None if np.isnan(km) else float(km) for km in kilometres]


def shown_columns(own: OwnData, documents: pa.Table, show: list[str] | None) -> dict[str, str]:
    """Heading → the column of documents that an answer shows under it: those named, by the user's name or the layout's,
    whatever their case, else those of the experiment. A heading is the name by which the column was named.

    Raises InputError for one that the documents lack, with those that they have.
    """
    own_names = own.settings.document_names
    names = {name.lower(): name for name in documents.column_names}
    show = list(own.settings.show) if show is None else show
    unknown = [name for name in show if standard_name(name, own_names).lower() not in names]
    if unknown:
        reason = next((f": {r}" for name, r in own.settings.left_out.items() if name.lower() == unknown[0].lower()), "")
        raise InputError(
            f"show: the documents of this model have no column {unknown[0]!r}{reason}; they have "
            f"{', '.join(own_name(name, own_names) for name in TEXTS if name in documents.column_names)}, "
            f"{', '.join(own_name(name, own_names) for name in filled_columns(documents))}"
        )
    columns = [(name, names[standard_name(name, own_names).lower()]) for name in show]
    return {written_name(name, own_names) or column: column for name, column in columns}


def with_standard_names(own: OwnData, values: Mapping[str, Any]) -> dict[str, Any]:
    """Layout's column of a search → value, without nulls. values: by the user's names or the layout's.

    Raises InputError for a column that both of its names give.
    """
    standard: dict[str, str] = {}  # column → the name that gave it
    for name in (name for name, value in values.items() if value is not None):
        column = standard_name(name, own.settings.search_names)
        if column in standard:
            raise InputError(f"{name}: it is {column} under your name, and {standard[column]} gives it, too; give one")
        standard[column] = name
    return {column: values[name] for column, name in standard.items()}


def standard_columns(own: OwnData, columns: list[str]) -> list[str]:
    """The layout's names of the columns of a table of queries, in order.

    Raises InputError for one that is there twice.
    """
    names = {
        name: column for column, name in with_standard_names(own, dict(zip(columns, columns, strict=True))).items()
    }
    return [names[column] for column in columns]


def as_json(value: Any) -> Any:
    """A value of a document's column as JSON has it: times as ISO 8601 in UTC."""
    return f"{value.isoformat()}Z" if hasattr(value, "isoformat") else value
