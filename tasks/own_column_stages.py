"""The user's own columns and the places of searches and documents, for conditions, results, slices and rankers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.experiment.log_config import LONGEST_ID
from data.experiment.serving_config import Serving
from data.extra_columns import MOST_VALUES, read_own_columns
from ebr_core.arrays import Float64, Int32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.own_names import OwnNames, own_name, standard_name
from ebr_core.towers.city_names import locate_cities
from ebr_core.towers.column_config import SIDES, Side
from ebr_core.towers.location_cells import LIMITS, known_places
from tasks.artifacts import stage
from tasks.feature_stages import EXTRACTED_COLUMNS
from tasks.kinds import Log, OwnColumns, Places
from tasks.log_stages import ReadLogs, refuse_changes
from tasks.progress import show_progress

MOST_NAMED = 12  # columns that a sentence lists
SHORT = 200  # characters: columns with longer values travel with a model only if they are named


class PlaceColumns(Frozen):
    """The two columns of one side that say where its rows are."""

    first: str  # latitude in degrees, or a city
    second: str  # longitude in degrees, or the city's country
    names: bool = False  # a city and its country

    @property
    def both(self) -> tuple[str, str]:
        """The names of both columns."""
        return self.first, self.second


@stage(OwnColumns)
def extract_own_columns(
    folder: Path,
    logs: ReadLogs,
    log: Log,
    contents: dict[str, str],
    side: Side,
    columns: list[str],
    optional: list[str],
) -> None:
    """Write columns.parquet: these columns of a side, a value for each row of the log, typed; longest.json;
    unread.json: the optional columns that hold records or bytes; many.json: those with long lists, such as embeddings;
    and infinite.json: the number of infinite values of each column of numbers that has some.

    contents: the digest of the files of the side's table, so that new files are read again.
    """
    with show_progress("own columns", 1), refuse_changes(logs, contents):
        read = read_own_columns(logs, log.folder, side, columns, folder, optional)
    pq.write_table(read.table, folder / "columns.parquet")
    (folder / "longest.json").write_text(json.dumps(read.longest))
    (folder / "unread.json").write_text(json.dumps(read.unread))
    (folder / "many.json").write_text(json.dumps(read.many))
    (folder / "infinite.json").write_text(json.dumps(read.infinite))


def own_table(own: OwnColumns | None) -> pa.Table:
    """The own columns of a side, a value for each row of the log; without columns if there are none."""
    return pa.table({}) if own is None else pq.read_table(own.folder / "columns.parquet")


def add_own_columns(documents: pa.Table, own: OwnColumns | None, rows: Int32) -> pa.Table:
    """The documents at these rows of the log, a table with a row for each, with all of their own columns."""
    table = own_table(own)
    for name in table.column_names:
        documents = documents.append_column(name, table[name].take(pa.array(rows)).combine_chunks())
    return documents


def too_long(own: OwnColumns | None, named: tuple[str, ...] = ()) -> dict[str, str]:
    """Own column that does not travel with a model → the reason: it holds long texts or lists, records, bytes, or
    nothing.

    named: columns that travel if they hold up to LONGEST_ID characters.
    """
    if own is None:
        return {}
    longest: dict[str, int] = json.loads((own.folder / "longest.json").read_text())
    unread: list[str] = json.loads((own.folder / "unread.json").read_text())
    many: dict[str, int] = json.loads((own.folder / "many.json").read_text())
    left_out = dict.fromkeys(unread, "it holds records or bytes, and expected are texts, numbers, or lists of them")
    left_out |= {
        name: f"it holds lists of {values:,} values, and lists of at most {MOST_VALUES} are held; serving.columns and "
        "serving.show take longer ones"
        for name, values in many.items()
    }
    for name, characters in longest.items():
        is_named = name in named
        if characters > (LONGEST_ID if is_named else SHORT):
            named_more = "" if is_named else f"; serving.columns and serving.show take up to {LONGEST_ID:,}"
            most = LONGEST_ID if is_named else SHORT
            left_out[name] = (
                f"it holds texts of up to {characters:,} characters, and short values are expected, of at most "
                f"{most:,}{named_more}"
            )
        elif not characters and not is_named:
            left_out[name] = "it is empty in every row"
    return left_out


def describe_own(own: OwnColumns | None, side: Side, named: Collection[str], are_served: bool) -> list[str]:
    """A sentence on each own column of a side that models do not hold, unless it is empty, and on each with infinite
    numbers. named: in lower case, those that something names; are_served: models hold the columns that fit."""
    if own is None:
        return []
    infinite: dict[str, int] = json.loads((own.folder / "infinite.json").read_text())
    longest: dict[str, int] = json.loads((own.folder / "longest.json").read_text())
    reasons = too_long(own, tuple(name for name in longest if name.lower() in named)) if are_served else {}
    left_out = {name: reason for name, reason in reasons.items() if longest.get(name) != 0}
    return [
        *(f"models do not hold {side}.{name}: {reason}" for name, reason in left_out.items()),
        *(f"{side}.{name}: {count:,} infinite, which count as no value" for name, count in infinite.items()),
    ]


def describe_held(
    own: OwnColumns | None, travelling: Collection[str], serving: Serving, own_names: OwnNames
) -> list[str]:
    """A sentence on the own columns of documents that every model holds, with their size; none without one.
    travelling: those that models hold if they fit."""
    table, served = own_table(own), {name.lower() for name in travelling}
    named = {standard_name(name, own_names).lower() for name in (*(serving.columns or ()), *serving.show)}
    left_out = too_long(own, tuple(name for name in table.column_names if name.lower() in named))
    held = [name for name in table.column_names if name.lower() in served and name not in left_out]
    if not held:
        return []
    size = sum(table[name].nbytes for name in held) / 1e6
    listed = f"{len(held)} columns" if len(held) > MOST_NAMED else ", ".join(own_name(name, own_names) for name in held)
    return [f"models hold {listed} of the documents, {size:,.1f} MB (serving.columns chooses others)"]


@stage(Places)
def locate(folder: Path, log: Log, columns: dict[Side, PlaceColumns], own: dict[Side, OwnColumns]) -> None:
    """Write searches.npy and documents.npy, (n, 2) latitude and longitude in degrees, NaN where unknown, of the sides
    that columns names; and places.json: the columns, the rows with a place, and those with impossible degrees.

    own: the own columns of each side that has them.
    """
    counts = {}
    for side, names in columns.items():
        first, second = (read_column(log, own.get(side), side, name) for name in names.both)
        places, outside = _places_of(first, second, names.names)
        np.save(folder / f"{side}.npy", places)
        counts[side] = {"known": int(np.isfinite(places[:, 0]).sum()), "rows": len(places), "outside": outside}
    settings = {side: names.model_dump() for side, names in columns.items()}
    (folder / "places.json").write_text(json.dumps({"columns": settings, "counts": counts}))


def read_column(log: Log, own: OwnColumns | None, side: Side, name: str) -> pa.ChunkedArray:
    """(n,) a column of the layout, or one of the user's own. Raises InputError for one of long texts."""
    if own is None or name in EXTRACTED_COLUMNS[side]:
        return pq.read_table(log.folder / f"{side}.parquet", columns=[name])[name]
    table = pq.read_table(own.folder / "columns.parquet")
    if name not in table.column_names:
        raise InputError(f"{side}: column {name!r} holds texts of more than {LONGEST_ID:,} characters, not values")
    return table[name]


def _places_of(first: pa.ChunkedArray, second: pa.ChunkedArray, names: bool) -> tuple[Float64, int]:
    """((n, 2) latitude and longitude, the number of rows with degrees that no place has)."""
    if names:
        return np.stack(locate_cities(_texts(first), _texts(second)), 1), 0
    degrees = np.stack([_degrees(first), _degrees(second)], 1)
    outside = (np.abs(degrees) > LIMITS).any(1)
    return np.stack(known_places(*degrees.T), 1), int(outside.sum())


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in column.to_pylist()]


def _degrees(column: pa.ChunkedArray) -> Float64:
    """(n,) the numbers of a column, NaN where it has none; of texts none is a number."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return np.full(len(column), np.nan)
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)


def read_places(places: Places | None, side: Side) -> Float64 | None:
    """(n, 2) latitude and longitude of a side's rows, NaN where unknown; None if no row has a place."""
    if places is None or not (file := places.folder / f"{side}.npy").exists():
        return None
    located: Float64 = np.load(file)
    return located if np.isfinite(located).any() else None


def place_columns_of(places: Places) -> dict[Side, PlaceColumns]:
    """The columns that the places of each side come from."""
    columns = json.loads((places.folder / "places.json").read_text())["columns"]
    return {side: PlaceColumns.model_validate(columns[side]) for side in SIDES if side in columns}


def describe_places(places: Places | None, own_names: Mapping[Side, OwnNames]) -> list[str]:
    """A sentence for each side that has places: how many rows have one, from which columns, under the user's names."""
    if places is None:
        return []
    content = json.loads((places.folder / "places.json").read_text())
    lines = []
    for side, count in content["counts"].items():
        columns = " and ".join(own_name(name, own_names[side]) for name in place_columns_of(places)[side].both)
        outside = f"; {count['outside']:,} have degrees that no place has" if count["outside"] else ""
        lines.append(f"places: {count['known']:,} of {count['rows']:,} {side} have one, by {columns}{outside}")
    return lines
