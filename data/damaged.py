"""Files that cannot be read, or would be read wrongly: how that is noticed, and what the user is told."""

from __future__ import annotations

import csv
import re
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path

import duckdb

from data.layouts import Columns
from data.statements import listed, literal, statement
from ebr_core.errors import InputError

# What a damaged, vanished or oversized file makes DuckDB say, beside a plain Error: what reads Parquet, or what stands
# between here and a file far away, is told as that. Any other kind of error is a mistake of ours.
UNREADABLE = (
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.HTTPException,
    duckdb.SerializationException,
)


# Where DuckDB's message turns to its own options, and the lines that recommend one.
_ASIDE = re.compile(r"\n\nLINE |\n\n  file = |\nThe search space used was|\nPossible fixes|\n\nFor more info")


_OPTIONS = ("Possible Solution", "Try increasing")


_LONGEST_LINE = 300


_LONGEST_HEADER = 100_000


def refuse_brotli_file(path: Path) -> None:
    """Raises InputError where a Parquet file that is no log is compressed by Brotli, or is none."""
    with closing(duckdb.connect()) as con:
        try:
            refuse_brotli(con, "queries", [str(path)])
        except duckdb.Error as error:
            raise InputError(f"{path}: cannot be read as Parquet: {error}") from error


def is_unreadable(error: Exception) -> bool:
    """Whether an error of DuckDB is about the files that it reads, and not a mistake of ours."""
    if "No space left on device" in str(error):
        return False  # nothing is wrong with what was read
    return isinstance(error, UNREADABLE) or type(error) is duckdb.Error


def unreadable(table: str, path: str, error: Exception) -> str:
    """The message for a file that DuckDB could not read: its first line says what and where, the last the way out.

    Options that nobody can set here are left out, and long lines are cut: a damaged file may have one of megabytes.
    """
    said = _ASIDE.split(str(error).strip())[0]
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.strip().startswith(_OPTIONS)]
    cut = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …" for line in lines]
    way_out = "Write the file again, or leave it out of the glob"
    if "://" in path:
        way_out = (
            "Check the address, the access, and that DuckDB's httpfs extension can be installed; or copy the file here"
        )
    elif "not utf-8 encoded" in said:
        way_out = "Save it as UTF-8"
    elif "Expected Number of Columns" in said:
        way_out = "Give every line as many fields as the header has, in quotes where they hold the separator"
    elif "maximum_object_size" in said or "Maximum line size" in said:
        way_out = "Shorten its longest text (a line of CSV has at most 2 MB, a record of JSON 16 MB), or bring Parquet"
    return "\n".join([f"{table}: {path} cannot be read: {cut[0] if cut else type(error).__name__}", *cut[1:], way_out])


def refuse_brotli(con: duckdb.DuckDBPyConnection, table: str, files: list[str]) -> None:
    """Raises InputError where a Parquet file is compressed by Brotli: readers have a hole there (docs/security.md)."""
    found = con.execute(statement("read/brotli", files=listed(files))).fetchone()
    if found is not None:
        raise InputError(
            f"{table}: {found[0]} is compressed by Brotli, and a crafted Brotli stream can write where it must not in "
            "the libraries that would read it (CVE-2026-111497). Write it again with compression zstd or snappy"
        )


def refuse_no_records(table: str, path: str, names: list[str], example: str) -> None:
    if names == ["json"]:  # DuckDB's name for what is no record
        raise InputError(
            f'{table}: {path} holds something else than records. Expected one a line, such as {{"{example}": …}}'
        )


def refuse_ragged(con: duckdb.DuckDBPyConnection, reader: str, files: list[str]) -> None:
    """Makes DuckDB name the line that has more or fewer fields than the header.

    By itself it then takes whole lines for the only field, or gives up on the file without saying where.
    """
    try:
        described = con.execute(statement("read/columns", reader=reader)).fetchall()
    except UNREADABLE:
        described = []
    if len(described) > 1 or "://" in files[0] or files[0].endswith((".gz", ".zst")):
        return
    try:
        with Path(files[0]).open(encoding="utf-8", newline="") as lines:
            header = lines.readline(_LONGEST_HEADER)
    except UnicodeDecodeError:
        return  # which DuckDB says itself
    between = max(",;|\t", key=header.count)
    names = list(dict.fromkeys(name.strip() for name in next(csv.reader([header], delimiter=between), [])))
    if len(names) > 1:
        columns = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names) + "}"
        told = statement("read/ragged", files=listed(files[:1]), between=literal(between), columns=columns)
        con.execute(told).fetchall()


def refuse_missing(table: str, path: str, required: Columns, names: list[str]) -> None:
    lowered = {name.lower(): name for name in names}
    for column in required:
        if column.lower() not in lowered:
            near = get_close_matches(column.lower(), lowered, n=1, cutoff=0.5)
            hint = f" Is {lowered[near[0]]!r} the one? Then rename it to {column!r}." if near else ""
            raise InputError(
                f"{table}: {path} has no column {column!r}. It has {', '.join(names)}. "
                f"Expected {', '.join(required)}.{hint}"
            )
