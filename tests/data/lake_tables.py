"""Delta and Iceberg tables on disk: written by their libraries, or by hand where these cannot write a feature."""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from deltalake import write_deltalake
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table import StaticTable
from pyiceberg.typedef import Record
from pyroaring import BitMap
from small_logs import DOCUMENTS, RESULTS, SEARCHES

from data.experiment.log_config import Tables
from data.experiment.source_config import LakeTable, Source
from data.sql_result import read_path

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def arrow_of(text: str) -> pa.Table:
    """The rows of a CSV text, with identities as text."""
    options = pc.ConvertOptions(column_types={"search_id": pa.string()})
    return pc.read_csv(pa.BufferReader(text.encode()), convert_options=options)


def delta_by_hand(
    folder: Path,
    fields: dict[str, str],
    files: Sequence[tuple[str, pa.Table, dict[str, str | None], list[int]]],
    mapped: dict[str, str] | None = None,
    partitions: Sequence[str] = (),
) -> str:
    """A Delta table in one commit. fields: column → Delta type. mapped: column → its name in the files.

    files: (name, rows under the names of the files, partition values by those names, numbers of deleted rows).
    """
    (folder / "_delta_log").mkdir(parents=True)
    features = ["deletionVectors", *(["columnMapping"] if mapped else [])]
    schema = {"type": "struct", "fields": [_field(i, *field, mapped) for i, field in enumerate(fields.items(), 1)]}
    mapping = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": str(len(fields))}
    actions: list[dict[str, Any]] = [
        {
            "protocol": {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": features,
                "writerFeatures": features,
            }
        },
        {
            "metaData": {
                "id": str(uuid.uuid4()),
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(schema),
                "partitionColumns": list(partitions),
                "configuration": mapping if mapped else {},
                "createdTime": 0,
            }
        },
    ]
    for number, (name, rows, values, deleted) in enumerate(files):
        pq.write_table(rows, folder / name)
        size = (folder / name).stat().st_size
        add = {"path": name, "partitionValues": values, "size": size, "modificationTime": 0, "dataChange": True}
        if deleted:
            add["deletionVector"] = _deletion_vector(folder, number, deleted)
        actions.append({"add": add})
    commit(folder, 0, actions)
    return str(folder)


def commit(folder: Path, version: int, actions: Sequence[dict[str, Any]]) -> None:
    """Write a commit of a Delta table."""
    text = "".join(json.dumps(action) + "\n" for action in actions)
    (folder / "_delta_log" / f"{version:020}.json").write_text(text)


def _field(number: int, name: str, type_: str, mapped: dict[str, str] | None) -> dict[str, Any]:
    physical = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": mapped[name]} if mapped else {}
    return {"name": name, "type": type_, "nullable": True, "metadata": physical}


def _deletion_vector(folder: Path, number: int, deleted: list[int]) -> dict[str, Any]:
    """A file with a deletion vector, and its description in the log, as the protocol defines them."""
    bits = struct.pack("<IQI", 1681511377, 1, 0) + BitMap(deleted).serialize()
    name = uuid.UUID(int=number + 1)
    content = b"\x01" + struct.pack(">I", len(bits)) + bits + struct.pack(">I", zlib.crc32(bits))
    (folder / f"deletion_vector_{name}.bin").write_bytes(content)
    return {
        "storageType": "u",
        "pathOrInlineDv": "".join(_z85(name.bytes[i : i + 4]) for i in range(0, 16, 4)),
        "offset": 1,
        "sizeInBytes": len(bits),
        "cardinality": len(deleted),
    }


def _z85(four: bytes) -> str:
    value, signs = int.from_bytes(four, "big"), ""
    for _ in range(5):
        signs, value = _Z85[value % 85] + signs, value // 85
    return signs


def iceberg_catalog(folder: Path, name: str = "lake") -> SqlCatalog:
    """A catalog in a SQLite file, catalog.db, with the namespace db and its tables in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    catalog = SqlCatalog(name, uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/tables")
    catalog.create_namespace_if_not_exists("db")
    return catalog


class _DeleteManifest(ManifestWriterV2):
    """A manifest of delete files, which pyiceberg reads and does not write."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return super()._meta | {"content": "deletes"}


def add_deletes(folder: Path, content: DataFileContent, rows: pa.Table) -> None:
    """Add a snapshot with one file of deletes to the Iceberg table in a folder, as Spark or Flink would write it."""
    newest = max((folder / "metadata").glob("*.metadata.json"))
    metadata = json.loads(newest.read_text())
    number, snapshot_id = int(newest.name.split("-")[0]) + 1, 42
    sequence = metadata["last-sequence-number"] + 1
    table = StaticTable.from_metadata(str(newest))
    path = folder / "data" / f"deletes-{number}.parquet"
    pq.write_table(rows, path)
    deletes = DataFile.from_args(
        content=content,
        file_path=f"file://{path}",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=rows.num_rows,
        file_size_in_bytes=path.stat().st_size,
        equality_ids=[1] if content == DataFileContent.EQUALITY_DELETES else None,
    )
    manifest = table.io.new_output(f"file://{folder}/metadata/deletes-m0.avro")
    with _DeleteManifest(table.spec(), table.schema(), manifest, snapshot_id, "null") as writer:
        writer.add_entry(
            ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, data_file=deletes)
        )
    current = table.current_snapshot()
    assert current is not None
    parent, listed = current.snapshot_id, f"file://{folder}/metadata/snap-{snapshot_id}.avro"
    with write_manifest_list(2, table.io.new_output(listed), snapshot_id, parent, sequence, "null") as manifests:
        manifests.add_manifests([*current.manifests(table.io), writer.to_manifest_file()])
    metadata["snapshots"].append(
        {
            "snapshot-id": snapshot_id,
            "parent-snapshot-id": parent,
            "sequence-number": sequence,
            "timestamp-ms": metadata["last-updated-ms"] + 1,
            "manifest-list": listed,
            "summary": {"operation": "delete"},
            "schema-id": metadata["current-schema-id"],
        }
    )
    metadata |= {"current-snapshot-id": snapshot_id, "last-sequence-number": sequence, "refs": {}}
    (folder / "metadata" / f"{number:05}-{uuid.uuid4()}.metadata.json").write_text(json.dumps(metadata))


def rows_of(source: Source, folder: Path) -> list[dict[str, Any]]:
    """The rows of a source, in the order of their first column."""
    folder.mkdir(exist_ok=True)
    with read_path("documents", source, "1GB", folder) as path:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return sorted(rows, key=lambda row: str(next(iter(row.values()))))


def lake_log(folder: Path) -> Tables:
    """The small log as a Delta table of two versions, a folder of Iceberg and a table of its catalog."""
    searches = arrow_of(SEARCHES)
    write_deltalake(folder / "searches", searches.slice(0, 4))
    write_deltalake(folder / "searches", searches.slice(4), mode="append")
    catalog = iceberg_catalog(folder / "ice")
    for name, text in (("results", RESULTS), ("documents", DOCUMENTS)):
        catalog.create_table(f"db.{name}", schema=arrow_of(text).schema).append(arrow_of(text))
    return Tables(
        layout="tables",
        searches=str(folder / "searches"),
        results=str(folder / "ice/tables/db/results"),
        documents=LakeTable(catalog=f"sqlite:///{folder}/ice/catalog.db", table="db.documents"),
    )
