"""Checks for files that cannot be read, or would be read wrongly, and the error messages for them."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import duckdb

from data.statements import file_list, statement
from ebr_core.errors import InputError

# The errors that DuckDB raises, beside a plain Error, for a file that is damaged, missing, too large or out of reach.
# Any other error is a bug of this project.
UNREADABLE_ERRORS = (
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.HTTPException,
    duckdb.SerializationException,
)


# Where DuckDB's message turns to its own options. Lines that start with one of _OPTIONS recommend such an option.
_ASIDE = re.compile(r"\n\nLINE |\n\n  file = |\nThe search space used was|\nPossible fixes|\n\nFor more info")


_OPTIONS = ("Possible Solution", "Try increasing")


_LONGEST_LINE = 300


def refuse_brotli_file(path: Path) -> None:
    """Raises InputError if a Parquet file outside the logs is compressed by Brotli, or is not Parquet at all."""
    with closing(duckdb.connect()) as con:
        try:
            refuse_brotli(con, "queries", [str(path)])
        except duckdb.Error as error:
            raise InputError(f"{path}: cannot be read as Parquet: {error}") from error


def is_unreadable(error: Exception) -> bool:
    """True if an error of DuckDB is about the files that it reads, and not a bug of this project."""
    if "No space left on device" in str(error):
        return False  # the disk is full, and the files may be fine
    return isinstance(error, UNREADABLE_ERRORS) or type(error) is duckdb.Error


def unreadable_message(table: str, path: str, error: Exception) -> str:
    """The message for a file that DuckDB could not read: the file and the cause first, the way out in the last line.

    DuckDB's own options are left out, because users cannot set them. Long lines are cut, because a damaged file may
    have lines of megabytes.
    """
    message = _ASIDE.split(str(error).strip())[0]
    lines = [line.strip() for line in message.splitlines() if line.strip() and not line.strip().startswith(_OPTIONS)]
    shortened = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …" for line in lines]
    way_out = "Write the file again, or leave it out of the glob"
    if "://" in path:
        way_out = (
            "Check the address, your access to it, and that DuckDB's httpfs extension can be installed; or copy the "
            "file to this machine"
        )
    elif "not utf-8 encoded" in message:
        way_out = "Save it as UTF-8"
    elif "Expected Number of Columns" in message:
        way_out = "Give every line as many fields as the header, and put fields that contain the separator in quotes"
    elif "unterminated quote" in message:
        way_out = "Put the field in quotes and write each quote in it twice, or write the file as Parquet"
    elif "invalid state" in message:
        way_out = (
            "Some of its lines end in \\n and others in \\r\\n, and some fields are in quotes. Write the file again "
            "with one kind of line end, or as Parquet"
        )
    elif "maximum_object_size" in message or "Maximum line size" in message:
        way_out = "Shorten its longest text (at most 2 MB in a line of CSV, 16 MB in a record of JSON), or use Parquet"
    return "\n".join(
        [
            f"{table}: {path} cannot be read: {shortened[0] if shortened else type(error).__name__}",
            *shortened[1:],
            way_out,
        ]
    )


def refuse_brotli(con: duckdb.DuckDBPyConnection, table: str, files: list[str]) -> None:
    """Raises InputError if a Parquet file is compressed by Brotli, whose decoders are vulnerable (docs/security.md)."""
    row = con.execute(statement("read/brotli", files=file_list(files))).fetchone()
    if row is not None:
        raise InputError(
            f"{table}: {row[0]} is compressed by Brotli, and a crafted Brotli stream can make the libraries that would "
            "read it write outside their memory (CVE-2026-111497). Write the file again, compressed by zstd or snappy"
        )


def refuse_no_records(table: str, path: str, names: list[str], example: str) -> None:
    """Raises InputError if a JSON file holds values other than records. example: a column for the message."""
    if names == ["json"]:  # DuckDB's name for the only column of values that are not records
        raise InputError(
            f'{table}: {path} does not hold records. Expected one record on each line, such as {{"{example}": …}}'
        )
