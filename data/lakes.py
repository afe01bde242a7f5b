"""Tables of a lake (Delta, Iceberg) in place of files: the snapshot that a run reads, its digest, its rows.

A run chooses the snapshots when it begins (`pin`) and reads nothing else, so a table may be written to meanwhile. The
rows are those that `deltalake` or `pyiceberg` reads: it alone applies deletes, names of columns and partitions.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from data.damaged import refuse_brotli
from data.experiment.source_config import LakeSnapshot, LakeTable
from data.file_digests import DigestCache, digest_of
from data.statements import statement
from ebr_core.errors import InputError

_METADATA = re.compile(r"^v?\d+(-[0-9a-fA-F-]{36})?(\.gz)?\.metadata\.json$")
_LIBRARIES = {"deltalake", "_internal", "pyiceberg", "sqlalchemy"}  # modules whose errors have no common class
_NOT_PARQUET = (".avro", ".orc", ".puffin")
_LISTED = ("file", "s3", "s3a", "s3n", "gs", "gcs", "r2", "az", "azure", "abfss")  # addresses with folders
ELSEWHERE = (
    "Tables of a lake are read from this machine: copy the whole folder here (aws s3 sync, gcloud storage rsync, "
    "azcopy sync) or mount it, and name that folder"
)
_PACKAGES = {"delta": "deltalake", "iceberg": "pyiceberg"}


class LakeFiles(NamedTuple):
    """What a snapshot consists of."""

    identity: str  # of the table and the snapshot, wherever they lie
    files: list[str]  # all data and delete files that the library names


def lake_kind(path: str | Path) -> str | None:
    """delta or iceberg if the folder or file is such a table; None for anything else, for addresses and for paths that
    cannot be looked at."""
    if "://" in str(path):
        return None
    try:
        if Path(path, "_delta_log").is_dir():  # first, because a Delta table may have Iceberg metadata, too
            return "delta"
        is_metadata = _METADATA.match(Path(path).name) is not None and Path(path).is_file()
        return "iceberg" if is_metadata or metadata_files(path) else None
    except (OSError, ValueError):
        return None


def metadata_files(folder: str | Path) -> list[Path]:
    """The metadata files of an Iceberg table; none for any other folder."""
    return [path for path in Path(folder, "metadata").glob("*.metadata.json") if _METADATA.match(path.name)]


def refuse_loose(table: str, files: Iterable[str]) -> None:
    """Raises InputError if a local file, or what a link leads to, belongs to a table of a lake: read by themselves, its
    files have rows that were deleted or replaced."""
    seen: set[Path] = set()
    for file in files:
        path = Path(file)
        for parent in (path.absolute().parent, path.resolve().parent) if "://" not in file else ():
            holders = () if parent in seen else (parent, *parent.parents)
            seen.add(parent)
            for folder in holders:
                if kind := lake_kind(folder):
                    raise InputError(
                        f"{table}: {file} is a file of the {kind.capitalize()} table {folder}. By itself it may hold "
                        f"rows that were deleted. Name the table: {folder}"
                    )


def refuse_remote(con: duckdb.DuckDBPyConnection, table: str, address: str) -> None:
    """Raises InputError if an address, which may be a glob, leads into a table of a lake, as `refuse_loose` does for
    local files. Addresses whose folders cannot be listed, such as https, are not looked at."""
    scheme, _, rest = address.partition("://")
    if scheme.lower() not in _LISTED:
        return
    parts = rest.rstrip("/").split("/")
    for end in range(1, len(parts) + 1):
        folder = f"{scheme}://{'/'.join(parts[:end])}"
        for kind, inside in (("Delta", "_delta_log/*.json"), ("Iceberg", "metadata/*.metadata.json")):
            try:
                found = con.execute(statement("read/glob"), ["/".join((folder, inside))]).fetchall()
            except duckdb.Error:  # no network or no right to list: reading says so in its own words
                return
            if found:
                raise InputError(
                    f"{table}: {address} leads into the {kind} table {folder}, whose files may by themselves hold rows "
                    f"that were deleted. {ELSEWHERE}"
                )


def pin_table(table: str, lake: LakeTable) -> LakeSnapshot:
    """The snapshot of a table that a run reads: the one that is named, else the newest.

    Raises InputError if there is no such table or snapshot, or its package is not installed.
    """
    if "://" in lake.table:
        raise InputError(f"{table}: {lake.table} is not on this machine. {ELSEWHERE}")
    kind = "iceberg" if lake.catalog else lake_kind(lake.table)
    if kind is None:
        raise InputError(
            f"{table}: {lake.table} is no Delta or Iceberg table. Expected a folder of this machine with _delta_log or "
            "metadata/*.metadata.json"
        )
    where = f"{lake.catalog} has {lake.table}, which" if lake.catalog else lake.table
    with _explained(table, where, kind):
        if kind == "delta":
            from data.delta_tables import find_version

            return find_version(lake)
        from data.iceberg_tables import find_snapshot

        return find_snapshot(table, lake)


def digest_snapshot(table: str, snapshot: LakeSnapshot, cache: DigestCache) -> str:
    """SHA-256 of a snapshot: of the identities of table and snapshot, and of the names and contents of its files.

    cache: as of `digest_of`. Raises InputError if a file is missing or the snapshot cannot be read.
    """
    with _explained(table, snapshot.label, snapshot.kind):
        found = _files_of(table, snapshot)
        digest = hashlib.sha256(repr((snapshot.kind, found.identity)).encode())
        folder = os.path.commonpath([str(Path(file).parent) for file in found.files]) if found.files else ""
        for file in sorted(found.files):
            digest.update(f"{os.path.relpath(file, folder)}\0{digest_of(Path(file), cache).digest}\0".encode())
    return digest.hexdigest()


def write_snapshot(table: str, snapshot: LakeSnapshot, out: Path) -> None:
    """Write the rows of a snapshot as one Parquet file, in an order that depends on the snapshot alone.

    Raises InputError if a file is missing, damaged or compressed by Brotli, or the table uses what its library cannot
    read, such as equality deletes of Iceberg.
    """
    with _explained(table, snapshot.label, snapshot.kind):
        files = [file for file in _files_of(table, snapshot).files if not file.endswith(_NOT_PARQUET)]
        with closing(duckdb.connect()) as con:
            if files:
                refuse_brotli(con, table, files)
        with (
            _open_rows(snapshot) as batches,
            pq.ParquetWriter(out, pa.schema([_plain_field(field) for field in batches.schema])) as writer,
        ):
            for batch in batches:
                writer.write_table(pa.Table.from_batches([batch]).cast(writer.schema))


def _plain_type(type_: pa.DataType) -> pa.DataType:
    """The type with views of texts as texts, so that every reader of Parquet knows it."""
    if pa.types.is_struct(type_):
        return pa.struct([_plain_field(field) for field in type_])
    if pa.types.is_map(type_):
        return pa.map_(_plain_type(type_.key_type), _plain_field(type_.item_field))
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return pa.list_(_plain_field(type_.value_field))
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(type_, type_)


def _plain_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _plain_type(field.type), field.nullable)


def _files_of(table: str, snapshot: LakeSnapshot) -> LakeFiles:
    if snapshot.kind == "delta":
        from data.delta_tables import files_of_version

        found = files_of_version(snapshot)
    else:
        from data.iceberg_tables import files_of_snapshot

        found = files_of_snapshot(snapshot)
    files = [file.removeprefix("file://") for file in found.files]
    if remote := [file for file in files if "://" in file]:
        raise InputError(f"{table}: {snapshot.label} has files elsewhere, such as {remote[0]}. {ELSEWHERE}")
    return LakeFiles(found.identity, files)


def _open_rows(snapshot: LakeSnapshot) -> pa.RecordBatchReader:
    if snapshot.kind == "delta":
        from data.delta_tables import open_version

        return open_version(snapshot)
    from data.iceberg_tables import open_snapshot

    return open_snapshot(snapshot)


@contextmanager
def _explained(table: str, where: str, kind: str) -> Iterator[None]:
    """Turn errors of the libraries into InputErrors: they are about the table that they read."""
    try:
        yield
    except InputError:
        raise
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        way_out = f"pip install {package}"  # a driver of a catalog
        if package in (_PACKAGES[kind], "sqlalchemy"):
            package, way_out = _PACKAGES[kind], ".venv/bin/pip install -c constraints.txt -e '.[lakes]'"
        raise InputError(
            f"{table}: {where} is a table of {kind.capitalize()}, and the package {package} that reads it is not "
            f"installed. Install it: {way_out}"
        ) from error
    except Exception as error:
        if not _is_of_table(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f"{table}: {where} cannot be read: {lines[0] if lines else type(error).__name__}\nWrite the table again "
            "without what is named here, or restore its files"
        ) from error


def _is_of_table(error: Exception) -> bool:
    """True if an error is about the table that was read, and not a full disk or a bug of this project."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return False
    about_data = OSError | ValueError | NotImplementedError | pa.ArrowException | duckdb.Error
    return isinstance(error, about_data) or type(error).__module__.split(".")[0] in _LIBRARIES
