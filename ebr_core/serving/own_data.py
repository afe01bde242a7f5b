"""What a bundle knows of documents beside the layout's columns: their own columns, and where they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from ebr_core.arrays import Float64, Int32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.search.condition_masks import TEXTS, Place, filled_columns
from ebr_core.serving.search_query import SearchQuery
from ebr_core.towers.city_names import locate_cities
from ebr_core.towers.location_cells import distance_km

PLACES = "places.npy"  # (N, 2) latitude and longitude of the documents, in degrees; absent if none has a place
OWN = "own.json"
LIMITS = {"latitude": 90, "longitude": 180}  # degrees


class OwnSettings(Frozen):
    """The content of own.json."""

    show: tuple[str, ...] = ()  # columns that results show unless a query names others
    left_out: dict[str, str] = Field(
        default_factory=dict
    )  # column of the user's table that the documents lack → the reason
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
    for (name, value), (kind, most) in zip(values.items(), LIMITS.items(), strict=True):
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            got = "nothing" if value is None else repr(value)
            raise InputError(f"fields.{name}: got {got}; expected the {kind} of the search in degrees") from error
        if not abs(number) <= most:
            raise InputError(f"fields.{name}: got {number:g}; expected a {kind} from -{most} to {most} degrees")
        degrees.append(number)
    return None if degrees == [0, 0] else (degrees[0], degrees[1])  # logs write 0, 0 for an unknown place


def distances_of(own: OwnData, origin: Place | None, rows: Int32) -> list[float | None]:
    """The distance in kilometres of the documents at these rows from the place of a query; None where one is
    unknown."""
    if own.places is None or origin is None:
        return [None] * len(rows)
    kilometres = distance_km(*own.places[rows].T, *(np.float64(degrees) for degrees in origin))
    return [None if np.isnan(km) else float(km) for km in kilometres]


def shown_columns(own: OwnData, documents: pa.Table, show: list[str] | None) -> list[str]:
    """The columns of documents that an answer shows: those named, whatever their case, else those of the experiment.

    Raises InputError for one that the documents lack, with those that they have.
    """
    if show is None:
        return list(own.settings.show)
    names = {name.lower(): name for name in documents.column_names}
    unknown = [name for name in show if name.lower() not in names]
    if unknown:
        reason = next((f": {r}" for name, r in own.settings.left_out.items() if name.lower() == unknown[0].lower()), "")
        raise InputError(
            f"show: the documents of this model have no column {unknown[0]!r}{reason}; they have "
            f"{', '.join(name for name in TEXTS if name in documents.column_names)}, "
            f"{', '.join(filled_columns(documents))}"
        )
    return [names[name.lower()] for name in dict.fromkeys(show)]


def as_json(value: Any) -> Any:
    """A value of a document's column as JSON has it: times as ISO 8601 in UTC."""
    return f"{value.isoformat()}Z" if hasattr(value, "isoformat") else value
