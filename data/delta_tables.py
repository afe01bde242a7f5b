"""Versions of Delta tables, by `deltalake`."""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder, __version__

from data.experiment.source_config import LakeSnapshot, LakeTable
from data.lakes import LakeFiles


def find_version(lake: LakeTable) -> LakeSnapshot:
    """The version that the table's key names, else the newest. Raises errors of deltalake."""
    version = DeltaTable(lake.table, version=lake.snapshot).version()
    return LakeSnapshot(kind="delta", name=lake.table, place=lake.table, snapshot=version)


def files_of_version(snapshot: LakeSnapshot) -> LakeFiles:
    """The files of a version. Its deletion vectors are named by the version, and have checksums of their own."""
    table = _open(snapshot)
    return LakeFiles(f"{__version__} {table.metadata().id} {snapshot.snapshot}", table.file_uris())


def open_version(snapshot: LakeSnapshot) -> pa.RecordBatchReader:
    """The rows of a version, batch by batch, in the order of the log: in one thread, because several mix them."""
    query = QueryBuilder({"datafusion.execution.target_partitions": "1"}).register("lake", _open(snapshot))
    return pa.RecordBatchReader.from_stream(query.execute("SELECT * FROM lake"))


def _open(snapshot: LakeSnapshot) -> DeltaTable:
    return DeltaTable(snapshot.place, version=snapshot.snapshot)
