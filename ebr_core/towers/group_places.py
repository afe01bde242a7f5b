"""The places of the rows of a group of kind location, and what of its columns is no place."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ebr_core.arrays import Bool, Float64
from ebr_core.errors import InputError
from ebr_core.towers.city_names import is_country, locate_cities
from ebr_core.towers.column_config import Side
from ebr_core.towers.column_values import ColumnData, flatten_numbers
from ebr_core.towers.feature_config import Location
from ebr_core.towers.location_cells import LIMITS, known_places

MOST_ABSURD = 0.05  # share of a column's numbers that may lie outside the degrees; more are another quantity


def places_of(name: str, group: Location, side: Side, data: ColumnData) -> tuple[Float64, Float64]:
    """(latitude (n,), longitude (n,)) in degrees, NaN where the place is unknown: a column is empty, the city is not
    among those of GeoNames, both numbers are 0, which logs write for an unknown place, or one is no degree.

    Raises InputError for texts in place of degrees, and if more than a twentieth of a column's numbers are no degrees.
    """
    columns = [column.column for column in group.columns(side)]
    first, second = (data[column] for column in columns)
    if group.names:
        return locate_cities(_first_texts(first), _first_texts(second))
    latitude, longitude = (
        _degrees(data[column], f"groups.{name}: {side}.{column}", most)
        for column, most in zip(columns, LIMITS, strict=True)
    )
    return known_places(latitude, longitude)


def describe_unknown(name: str, group: Location, side: Side, data: ColumnData) -> list[str]:
    """A sentence for each sort of values that are no known place, with their number and an example; empty values do not
    count."""
    columns = [column.column for column in group.columns(side)]
    if not group.names:
        return [
            f"groups.{name}: {outside.sum():,} of {len(numbers):,} rows of {side}.{column} hold no degree, such as "
            f"{numbers[outside][0]:g}; their place counts as unknown"
            for column, most in zip(columns, LIMITS, strict=True)
            for numbers, outside in [_numbers(data[column], "", most)]
            if outside.any()
        ]
    cities, countries = (_first_texts(data[column]) for column in columns)
    found = np.isfinite(locate_cities(cities, countries)[0])
    pairs = zip(cities, countries, found, strict=True)
    lost = [(city, country) for city, country, known in pairs if city and not known]
    if not lost:
        return []
    known_names = {country: is_country(country) for _, country in lost if country}
    nowhere = [country for _, country in lost if country and not known_names[country]]
    sentence = (
        f"groups.{name}: {len(lost):,} of {sum(map(bool, cities)):,} rows with a value in {side}.{columns[0]} name a "
        f"city that is not among those of GeoNames, such as {', '.join(part for part in lost[0] if part)}; their place "
        "counts as unknown"
    )
    because = f". In {len(nowhere):,} of them the country is unknown, such as {nowhere[0]}" if nowhere else ""
    return [sentence + because]


def _degrees(column: pa.Array, where: str, most: int) -> Float64:
    """(n,) the numbers of a column, NaN where it has none.

    Raises InputError if many are outside.
    """
    numbers, outside = _numbers(column, where, most)
    values = np.isfinite(numbers).sum()
    if outside.sum() > MOST_ABSURD * values:
        raise InputError(
            f"{where} holds {numbers[outside][0]:g}, and {outside.sum():,} of {values:,} values like it; expected "
            f"degrees from -{most} to {most}"
        )
    return numbers


def _numbers(column: pa.Array, where: str, most: int) -> tuple[Float64, Bool]:
    """((n,) the numbers of a column, NaN where it has none, (n,) whether they lie outside ± most)."""
    numbers = np.full(len(column), np.nan)
    way_out = "Expected degrees; for the names of cities and countries set names: true"
    values, rows = flatten_numbers(column, where, way_out)
    numbers[rows] = values.to_numpy(zero_copy_only=False)
    return numbers, np.abs(numbers) > most


def _first_texts(column: pa.Array) -> list[str | None]:
    """(n,) the first value of each row of a column of texts or of lists of them."""
    values = (value[0] if isinstance(value, list) and value else value for value in column.to_pylist())
    return [value if isinstance(value, str) else None for value in values]
