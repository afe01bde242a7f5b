"""The user's own columns that an experiment uses, and where searches and documents are: read before any training, so
that an unknown name ends the run there."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.column_names import own_names, side_table
from data.experiment.experiment_spec import Experiment
from data.experiment.log_config import Impressions
from ebr_core.errors import InputError
from ebr_core.own_names import own_name, standard_name, written_name
from ebr_core.search.condition_masks import SearchedDocuments, check_columns, unknown_values
from ebr_core.search.conditions import ATTRIBUTES, Condition, columns_named, parse, reads_place
from ebr_core.text.terms import index_terms
from ebr_core.towers.column_config import SIDES as FEATURE_SIDES
from ebr_core.towers.column_config import Side
from ebr_core.towers.feature_config import Location
from flows.submit import result, submit
from tasks.feature_stages import EXTRACTED_COLUMNS
from tasks.kinds import Log, OwnColumns, Places
from tasks.log_stages import ReadLogs, contents_of
from tasks.own_column_stages import (
    PlaceColumns,
    add_own_columns,
    extract_own_columns,
    locate,
    own_table,
    read_places,
    too_long,
)
from tasks.own_slices import DISTANCE, SliceColumn

COORDINATES = (("lat", "lon"), ("latitude", "longitude"), ("lat", "lng"), ("lat", "long"))
CITY = PlaceColumns(first="city", second="country", names=True)


class UsedColumns(NamedTuple):
    """What is read of the user's own columns; None where there is none."""

    documents: OwnColumns | None = None
    searches: OwnColumns | None = None
    places: Places | None = None
    distances: Places | None = None  # the places, if both sides have them: by coordinates, or as a group names them
    slices: tuple[SliceColumn, ...] = ()
    names: Mapping[Side, dict[str, str]] = {}  # the user's names of the layout's columns

    @property
    def own_names(self) -> dict[Side, dict[str, str]]:
        """The user's name of a column → the layout's, by side."""
        return {side: self.names.get(side, {}) for side in FEATURE_SIDES}

    @property
    def by_side(self) -> dict[Side, OwnColumns]:
        """The own columns of each side that has some."""
        sides: dict[Side, OwnColumns | None] = {"searches": self.searches, "documents": self.documents}
        return {side: own for side, own in sides.items() if own is not None}


def read_used_columns(spec: Experiment, log: Log, files: ReadLogs) -> UsedColumns:
    """The own columns and places that an experiment uses, once they are read. log: extracted; files: of its raw tables.

    Raises InputError for a column of evaluation.slices, serving or a condition that is not there, with those that are.
    """
    columns = LogColumns(json.loads((log.folder / "report.json").read_text()), files)
    slices = list(dict.fromkeys(_slice_column(columns, name) for name in spec.evaluation.slices))
    places, has_distances = _places(spec, columns)
    if has_distances and DISTANCE not in (column.name for column in slices):
        slices.append(SliceColumn(name=DISTANCE, side=None))
    names = {
        "documents": [*columns.travelling(spec), *_columns_of_conditions(spec, columns)],
        "searches": list[str](),
    }
    for column in slices:
        if column.side is not None:
            names[column.side].append(column.name)
    for side, place in places.items():
        names[side] += place.both
    named = named_columns(spec, columns)
    for side, place in places.items():
        named[side] |= {name.lower() for name in place.both}
    own = {side: _extract(log, files, columns, side, names[side], named[side]) for side in FEATURE_SIDES}
    located = result(submit(locate, (), log, places, {s: part for s, part in own.items() if part})) if places else None
    data = UsedColumns(
        own["documents"],
        own["searches"],
        located,
        located if has_distances else None,
        tuple(slices),
        {side: columns.own_names(side) for side in FEATURE_SIDES},
    )
    _refuse_conditions(spec, log, data)
    _refuse_unfit_slices(data)
    if any(column.side is None for column in slices) and len(places) < len(FEATURE_SIDES):
        missing = " and ".join(side for side in FEATURE_SIDES if side not in places)
        raise InputError(
            f"evaluation.slices: distance needs a place on both sides, and the {missing} have none: no columns lat and "
            "lon, no city, and no group of kind location that names others"
        )
    return data


class LogColumns(NamedTuple):
    """The columns of a log that the experiment may name."""

    report: dict[str, Any]  # of the extraction
    files: ReadLogs

    def own(self, side: Side) -> list[str]:
        """The columns of a side's table that the layout does not read."""
        return list(self.report["unread_columns"].get(side_table(self.files, side), ()))

    def own_names(self, side: Side) -> dict[str, str]:
        """The user's name of a column → the layout's."""
        return own_names(self.files, side)

    @property
    def has_catalogue(self) -> bool:
        """True if documents have a table of their own."""
        return not isinstance(self.files, Impressions) or self.files.documents is not None

    def there(self, side: Side) -> list[str]:
        """All columns of a side: the layout's that hold values, and the user's own."""
        filled = self.report["columns"][side]
        return [*(name for name in EXTRACTED_COLUMNS[side] if filled.get(name)), *self.own(side)]

    def find(self, side: Side, name: str) -> str | None:
        """The column of a side with that name, the user's or the layout's, whatever its case."""
        standard = standard_name(name, self.own_names(side)).lower()
        return next((column for column in self.there(side) if column.lower() == standard), None)

    def shown(self, side: Side) -> list[str]:
        """All columns of a side, under the user's names."""
        return [own_name(column, self.own_names(side)) for column in self.there(side)]

    def travelling(self, spec: Experiment) -> list[str]:
        """The columns of documents that models hold: those that serving names, and all others of the catalogue unless
        serving.columns limits them."""
        named = {"serving.columns": spec.serving.columns or (), "serving.show": spec.serving.show}
        found = [self.documents_column(key, name) for key, names in named.items() for name in names]
        return found if spec.serving.columns is not None or not self.has_catalogue else [*found, *self.own("documents")]

    def documents_column(self, key: str, name: str) -> str:
        """The column of the documents with that name. Raises InputError if there is none."""
        known, standard = {"title", "body", *ATTRIBUTES}, standard_name(name, self.own_names("documents")).lower()
        if (column := self.find("documents", name)) or (standard in known and (column := standard)):
            return column
        raise InputError(_unknown(key, name, {"documents": self.shown("documents")}))


def _slice_column(columns: LogColumns, written: str) -> SliceColumn:
    """The column of evaluation.slices that is written as column, searches.column or documents.column."""
    prefix, dot, rest = written.partition(".")
    sides = [side for side in FEATURE_SIDES if side == prefix] if dot else []
    name, sides = (rest, sides) if sides else (written, list(FEATURE_SIDES))
    found = {side: column for side in sides if (column := columns.find(side, name))}
    if not found and written == DISTANCE:
        return SliceColumn(name=DISTANCE, side=None)
    if not found:
        raise InputError(_unknown("evaluation.slices", written, {side: columns.shown(side) for side in FEATURE_SIDES}))
    if len(found) > 1 and columns.has_catalogue:
        raise InputError(
            f"evaluation.slices: searches and documents both have a column {name!r}. Write searches.{name} or "
            f"documents.{name}"
        )
    side, column = next(iter(found.items()))
    return SliceColumn(name=column, side=side, written=written_name(name, columns.own_names(side)))


def _unknown(key: str, name: str, there: dict[Side, list[str]]) -> str:
    """The message on a column that is not there: those that are, by side."""
    near = difflib.get_close_matches(name, [column for names in there.values() for column in names], 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    known = "; ".join(f"{side} have {', '.join(names) or 'none'}" for side, names in there.items())
    return f"{key}: no column {name!r}{hint}. {known[0].upper()}{known[1:]}"


def _columns_of_conditions(spec: Experiment, columns: LogColumns) -> Iterable[str]:
    """The columns that conditions of retrievals compare."""
    for name, retrieval in spec.retrievals.items():
        for column in columns_named(parse(retrieval.where)) if retrieval.where else ():
            yield columns.documents_column(f"retrievals.{name}.where", column)


def _places(spec: Experiment, columns: LogColumns) -> tuple[dict[Side, PlaceColumns], bool]:
    """(the columns with the places of each side that has some, True if they give distances: both sides have places,
    and not by their cities alone unless a group reads them)."""
    groups = [group for arm in spec.arms.values() for group in arm.features.groups.values()]
    group = next((group for group in groups if isinstance(group, Location)), None)
    places: dict[Side, PlaceColumns] = {}
    for side in FEATURE_SIDES:
        given = group and [columns.find(side, column.column) for column in group.columns(side)]
        if group and given and all(given):
            places[side] = PlaceColumns(first=given[0], second=given[1], names=group.names)
            continue
        pairs = ((columns.find(side, a), columns.find(side, b)) for a, b in COORDINATES)
        if pair := next((pair for pair in pairs if all(pair)), None):
            places[side] = PlaceColumns(first=pair[0], second=pair[1])
        elif columns.find(side, "city"):
            places[side] = CITY
    by_city = [side for side, place in places.items() if place == CITY]
    return places, len(places) == len(FEATURE_SIDES) and (group is not None or len(by_city) < len(places))


def _extract(
    log: Log, files: ReadLogs, columns: LogColumns, side: Side, names: list[str], named: set[str]
) -> OwnColumns | None:
    """The own columns among these names, in the order of the table; None without one. named: those that something
    needs, in lower case; the others are left out if they cannot be read."""
    wanted = {name.lower() for name in names}
    own = [column for column in columns.own(side) if column.lower() in wanted]
    if not own:
        return None
    table = side_table(files, side)
    contents = {name: digest for name, digest in contents_of(files).items() if name == table}
    optional = [column for column in own if column.lower() not in named]
    return result(submit(extract_own_columns, (side,), files, log, contents, side, own, optional))


def named_columns(spec: Experiment, columns: LogColumns) -> dict[Side, set[str]]:
    """The columns of each side that slices, conditions, results and distances read, in lower case."""
    slices = [_slice_column(columns, name) for name in spec.evaluation.slices]
    places, has_distances = _places(spec, columns)
    serving = [*spec.serving.show, *(spec.serving.columns or ())]
    served = [standard_name(name, columns.own_names("documents")) for name in serving]
    of_documents = [*_columns_of_conditions(spec, columns), *served]
    named: dict[Side, set[str]] = {"searches": set(), "documents": {name.lower() for name in of_documents}}
    for side in FEATURE_SIDES:
        named[side] |= {column.name.lower() for column in slices if column.side == side}
        if has_distances:
            named[side] |= {name.lower() for name in places[side].both}
    return named


def _refuse_unfit_slices(used: UsedColumns) -> None:
    """Raise InputError for a slice by a column of lists, where a search would be in several, or of long texts."""
    for column in used.slices:
        own = None if column.side is None else used.by_side.get(column.side)
        table = own_table(own)
        if column.name in table.column_names and pa.types.is_list(table.schema.field(column.name).type):
            raise InputError(
                f"evaluation.slices: {column.name} of the {column.side} holds lists, and a search is in one slice of a "
                "column. Leave it out, or name a column with one value"
            )
        if column.name in (reasons := too_long(own)):
            raise InputError(
                f"evaluation.slices: {column.name} of the {column.side} cannot divide searches: {reasons[column.name]}"
            )


def _refuse_conditions(spec: Experiment, log: Log, own: UsedColumns) -> None:
    """Raise InputError, before any training, for a condition of a retrieval that does not fit the documents."""
    conditions = _conditions(spec)
    searched = _searched(log, own) if conditions else None
    for name, condition in conditions.items():
        assert searched is not None, "it is read where there are conditions"
        try:
            check_columns(condition, searched)
        except InputError as error:
            raise InputError(f"retrievals.{name}.where: {error}") from error
        if reads_place(condition) and read_places(own.places, "searches") is None:
            raise InputError(
                f"retrievals.{name}.where: within needs the place of a search, and no search has one: columns lat and "
                "lon, or city. Name the place: within 25 km of Lyon"
            )


def unmatched_values(spec: Experiment, log: Log, used: UsedColumns) -> list[str]:
    """A sentence for each value that a condition of a retrieval compares and no document of the log has."""
    conditions = _conditions(spec)
    searched = _searched(log, used) if conditions else None
    return [
        f"retrievals.{name}.where: {remark}"
        for name, condition in conditions.items()
        if searched is not None
        for remark in unknown_values(condition, searched)
    ]


def _conditions(spec: Experiment) -> dict[str, Condition]:
    """The conditions of the retrievals that have one."""
    return {name: parse(retrieval.where) for name, retrieval in spec.retrievals.items() if retrieval.where}


def _searched(log: Log, used: UsedColumns) -> SearchedDocuments:
    """What conditions read of all documents of the log, but their words."""
    documents = pq.read_table(log.folder / "documents.parquet", columns=list(ATTRIBUTES))
    rows = np.arange(documents.num_rows, dtype=np.int32)
    table = add_own_columns(documents, used.documents, rows)
    return SearchedDocuments(
        table,
        index_terms([], None, 1.2, 0.75),
        read_places(used.places, "documents"),
        own_names=used.own_names["documents"],
    )
