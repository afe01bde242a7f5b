"""Snapshots of Iceberg tables, by `pyiceberg`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyiceberg import __version__
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import DataScan, StaticTable
from sqlalchemy import select

from data.experiment.source_config import LakeSnapshot, LakeTable
from data.lakes import LakeFiles, metadata_files
from ebr_core.errors import InputError


def find_snapshot(table: str, lake: LakeTable) -> LakeSnapshot:
    """The snapshot that the table's key names, else the newest, with the metadata file that describes it.

    Raises InputError if the catalog or the table has no such thing, else errors of pyiceberg.
    """
    place = _in_catalog(table, lake) if lake.catalog else _newest_metadata(table, lake.table)
    name = f"{lake.table} of {lake.catalog}" if lake.catalog else lake.table
    metadata = StaticTable.from_metadata(place).metadata
    known = [snapshot.snapshot_id for snapshot in metadata.snapshots]
    if lake.snapshot is not None and lake.snapshot not in known:
        raise InputError(
            f"{table}: {name} has no snapshot {lake.snapshot}. Its snapshots are {', '.join(map(str, known)) or 'none'}"
        )
    chosen = metadata.current_snapshot_id if lake.snapshot is None else lake.snapshot
    return LakeSnapshot(kind="iceberg", name=name, place=place, snapshot=chosen)


def files_of_snapshot(snapshot: LakeSnapshot) -> LakeFiles:
    """The data and delete files of a snapshot."""
    opened = StaticTable.from_metadata(snapshot.place)
    tasks = list(_scan(snapshot).plan_files())
    files = {part.file_path for task in tasks for part in (task.file, *task.delete_files)}
    metadata = opened.metadata
    schema = metadata.current_schema_id  # a column may be renamed without a new snapshot
    return LakeFiles(f"{__version__} {metadata.table_uuid} {snapshot.snapshot} {schema}", sorted(files))


def open_snapshot(snapshot: LakeSnapshot) -> pa.RecordBatchReader:
    """The rows of a snapshot, batch by batch, file by file in the order of its manifests."""
    return _scan(snapshot).to_arrow_batch_reader()


def _scan(snapshot: LakeSnapshot) -> DataScan:
    """The newest snapshot is read under the columns of today, an earlier one under those that it had."""
    opened = StaticTable.from_metadata(snapshot.place)
    is_newest = snapshot.snapshot == opened.metadata.current_snapshot_id
    return opened.scan(snapshot_id=None if is_newest else snapshot.snapshot)


def _newest_metadata(table: str, path: str) -> str:
    """The metadata file with the highest number. Raises InputError if several have it: a catalog knows which counts."""
    if Path(path).is_file():
        return path
    numbered: dict[int, list[Path]] = {}
    for file in metadata_files(path):
        numbered.setdefault(int(file.name.removeprefix("v").split("-")[0].split(".")[0]), []).append(file)
    newest = sorted(numbered[max(numbered)])
    if len(newest) > 1:
        raise InputError(
            f"{table}: {path} has several newest metadata files, {' and '.join(file.name for file in newest)}. Name "
            "the catalog that knows which one counts, as in {catalog: …, table: …}, or the path of one of them"
        )
    return str(newest[0])


def _in_catalog(table: str, lake: LakeTable) -> str:
    """The metadata file that a catalog has for a table. Raises InputError if it has no such table."""
    assert lake.catalog is not None  # the caller checked
    address = lake.catalog
    if "://" not in address:
        catalog = load_catalog(address)
    elif address.startswith(("sqlite:", "postgresql:")):
        catalog = _sql_catalog(table, lake, address)
    else:
        catalog = load_catalog("ebr", uri=address)
    try:
        return catalog.load_table(lake.table).metadata_location
    except (NoSuchTableError, NoSuchNamespaceError) as error:
        raise InputError(
            f"{table}: the catalog {address} has no table {lake.table}. Expected a namespace and a name, as in "
            "db.results"
        ) from error


def _sql_catalog(table: str, lake: LakeTable, address: str) -> Catalog:
    """The catalog in a database. A database may hold several, by name, and the table decides which is meant."""
    from pyiceberg.catalog.sql import IcebergTables, SqlCatalog

    file = address.removeprefix("sqlite:///")
    if address.startswith("sqlite:") and not Path(file).is_file():  # SQLite would create it
        raise InputError(f"{table}: there is no catalog {file}. Correct logs.{table}.catalog in the experiment file")
    catalog = SqlCatalog("ebr", uri=address, init_catalog_tables="false")
    namespace, _, name = lake.table.rpartition(".")
    with catalog.engine.connect() as connection:
        rows = select(IcebergTables.catalog_name).distinct()
        rows = rows.where(IcebergTables.table_namespace == namespace, IcebergTables.table_name == name)
        names = sorted(connection.execute(rows).scalars())
    if len(names) > 1:
        raise InputError(
            f"{table}: {address} holds the catalogs {', '.join(names)}, each with a table {lake.table}. Configure the "
            "one that is meant in .pyiceberg.yaml, and write its name as catalog"
        )
    return SqlCatalog(names[0] if names else "ebr", uri=address, init_catalog_tables="false")
