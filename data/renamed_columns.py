"""The names that a layout's columns have in the user's files: `logs.columns` of an experiment file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from data.experiment.log_config import AnyFiles
from data.layouts import Columns, columns_of, tables_of
from ebr_core.errors import InputError

FileColumns = dict[str, tuple[str, str]]  # name in lower case → (name as written, DuckDB type)

_UNTIMED = (
    " Searches without times need split: {by: COLUMN}, a column that holds train, validation and test, or split: "
    "{kind: random}, which leaks: training then sees the test's days."
)


class Renames(NamedTuple):
    """Column of the layout → its name in the files, for one table."""

    own: Mapping[str, str]  # given for this table: the files must have the name
    shared: Mapping[str, str]  # given for every table: it holds where the files have the name
    moved: frozenset[str]  # names, in lower case, that the layout would read as another column

    @property
    def names(self) -> dict[str, str]:
        """Column of the layout → its name, by both."""
        return {**self.shared, **self.own}

    def among(self, columns: Collection[str]) -> Renames:
        """The names of these columns alone; every other column of the files is read under its own name."""
        own, shared = ({c: n for c, n in names.items() if c in columns} for names in (self.own, self.shared))
        return Renames(own, shared, frozenset())


NO_RENAMES = Renames({}, {}, frozenset())


def renames_of(logs: AnyFiles, table: str) -> Renames:
    """The names of a table's columns. A name given for the table comes before one given for every table."""
    if not logs.columns:
        return NO_RENAMES
    columns = columns_of(logs, table)
    of_table = logs.columns.get(table, {})
    own = dict(of_table) if isinstance(of_table, dict) else {}
    shared = {
        column: name
        for column, name in logs.columns.items()
        if isinstance(name, str) and column in columns and column not in own
    }
    named = {name.lower() for name in (*own.values(), *shared.values())}
    return Renames(own, shared, frozenset(named & {column.lower() for column in columns}))


def as_layout(renames: Renames, file_columns: FileColumns, names: Collection[str], form: str) -> FileColumns:
    """The columns of some files under the layout's names, in lower case.

    names: the columns of all files of the table. In a JSON file a key may first appear behind the sample that was
    described, so there a name holds unless the layout's own name is present.
    """
    present = {name.lower() for name in names}
    used = {
        column.lower(): name
        for column, name in renames.names.items()
        if name.lower() in present or (form == "json" and column.lower() not in present)
    }
    hidden = {*used, *(name.lower() for name in used.values() if name.lower() in renames.moved)}
    kept = {name: column for name, column in file_columns.items() if name not in hidden}
    kept |= {name: (name, '"NULL"') for name in hidden - used.keys()}
    default = {column: (name, "VARCHAR") for column, name in used.items()} if form == "json" else {}
    found = {column: file_columns[name.lower()] for column, name in used.items() if name.lower() in file_columns}
    return {**kept, **default, **found}


def has_column(column: str, names: Collection[str], renames: Renames) -> bool:
    """True if the files have a column of the layout, under its own name or another."""
    return not {column, renames.names.get(column, column).lower()}.isdisjoint(map(str.lower, names))


def refuse_missing(table: str, path: str, required: Columns, names: Collection[str], renames: Renames) -> None:
    """Raises InputError if the files lack a required column, or a name that `columns` gives for this table.

    names: the columns of all files of the table; upper and lower case count as the same.
    """
    lowered = {name.lower(): name for name in names}
    columns = f"Its columns are {', '.join(names)}"
    for column, name in renames.own.items():
        if name.lower() not in lowered:
            raise InputError(
                f"{table}: {path} has no column {name!r}, which logs.columns.{table} names as {column}. {columns}"
            )
    for column in required:
        alternatives = {column.lower(), renames.names.get(column, column).lower()}
        if alternatives & lowered.keys():
            continue
        if column in renames.shared:
            way_out = f"For another name in this table alone, write columns: {{{table}: {{{column}: …}}}} under logs"
            raise InputError(
                f"{table}: {path} has neither the column {renames.shared[column]!r}, which logs.columns names as "
                f"{column}, nor {column!r}. {columns}. {'Rename one' if '.' in table else way_out}"
            )
        others = lowered.keys() - {other.lower() for other in required}
        near = get_close_matches(column.lower(), sorted(others), n=1, cutoff=0.5)
        meant = lowered[near[0]] if near else "…"
        way_out = f"write columns: {{{column}: {meant}}} under logs"
        if "." in table:  # a ranked list, which has no such key
            way_out = f"rename {meant} to {column}" if near else "rename it"
        raise InputError(
            f"{table}: {path} has no column {column!r}. {columns}. Expected {', '.join(required)}. If it has another "
            f"name, {way_out}.{_UNTIMED if column == 'searched_at' else ''}"
        )


def refuse_unused(logs: AnyFiles, names: Mapping[str, Collection[str]]) -> None:
    """Raises InputError if a name that is given for every table is a column of none of them.

    names: table → the columns of its files.
    """
    for column, name in logs.columns.items():
        tables = [table for table in names if column in columns_of(logs, table)]
        if isinstance(name, str) and not any(name.lower() in map(str.lower, names[table]) for table in tables):
            columns = "; ".join(f"{table}: {', '.join(names[table])}" for table in tables)
            raise InputError(
                f"logs.columns.{column}: no table has a column {name!r}. The columns are {columns or 'none'}"
            )


def column_problems(logs: AnyFiles) -> list[str]:
    """The keys of `columns` that are neither columns nor tables of the layout, or tables that the logs do not have; and
    the names that are given for several columns of a table."""
    tables = tables_of(logs)
    known = list(dict.fromkeys(column for table in tables for column in columns_of(logs, table)))
    problems = []
    for key, name in logs.columns.items():
        if isinstance(name, str):
            problems += _unknown(f"logs.columns.{key}", key, name, [*known, *tables])
        elif key not in tables or getattr(logs, key) is None:
            given = [table for table in tables if getattr(logs, table) is not None]
            problems.append(f"logs.columns.{key}: these logs have no table {key!r}; allowed: {', '.join(given)}")
        else:
            columns = list(columns_of(logs, key))
            for column, own in name.items():
                problems += _unknown(f"logs.columns.{key}.{column}", column, own, columns)
    return problems + _given_twice(logs)


def _given_twice(logs: AnyFiles) -> list[str]:
    """Names that stand for several columns of a table: nearly always a slip, and a copy by SQL says what is meant."""
    problems: dict[str, None] = {}
    for table in (table for table in tables_of(logs) if getattr(logs, table) is not None):
        columns: dict[str, list[str]] = {}
        for column, name in renames_of(logs, table).names.items():
            columns.setdefault(name.lower(), []).append(column)
        for name, several in columns.items():
            if len(several) > 1:
                copied = f'{{sql: "SELECT *, {name} AS {several[1]} FROM …"}}'
                problem = (
                    f"logs.columns: {name!r} stands for {' and '.join(several)} of {table}; a column is read as one"
                )
                problems[f"{problem}. If both are meant, copy it: {copied}"] = None
    return list(problems)


def _unknown(key_path: str, column: str, name: str, known: list[str]) -> list[str]:
    if column in known:
        return []
    hint = f" (did you mean {name}: {column}?)" if name in known else ""
    return [f"{key_path}: the layout has no column {column!r}{hint}; allowed: {', '.join(known)}"]
