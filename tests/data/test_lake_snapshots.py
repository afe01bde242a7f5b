"""Which snapshot of a Delta or Iceberg table is read, and how it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from lake_tables import arrow_of, iceberg_catalog, lake_log, rows_of
from small_logs import RESULTS, SEARCHES, extract_rows

from data.experiment.source_config import LakeTable, Sql
from data.file_partitions import list_files
from data.log_fingerprint import digest_source, fingerprint
from data.pinned_sources import pin, pin_source
from data.sql_result import read_path
from ebr_core.errors import InputError

ROWS = pa.table({"id": [1, 2, 3], "title": ["a", "b", "c"]})


def test_a_run_reads_the_snapshot_that_it_began_with(tmp_path: Path) -> None:
    logs = lake_log(tmp_path / "lake")
    logs = logs.model_copy(update={"results": Sql(sql=f"FROM '{logs.results}'")})
    pinned = pin(logs)
    before, rows = fingerprint(pinned), extract_rows(pinned, tmp_path / "a")
    more = "7,2020-01-05 11:00:00,late,ann\n"
    write_deltalake(tmp_path / "lake/searches", arrow_of(SEARCHES.splitlines()[0] + "\n" + more), mode="append")
    iceberg_catalog(tmp_path / "lake/ice").load_table("db.results").append(
        arrow_of(RESULTS.splitlines()[0] + "\n7,shoe,1,true\n")
    )
    assert pin(pinned) == pinned
    assert fingerprint(pinned) == before
    assert extract_rows(pinned, tmp_path / "b") == rows
    later = fingerprint(pin(logs))
    assert [table for table in before if later[table] != before[table]] == ["searches", "results"]
    assert [row["search_id"] for row in extract_rows(pin(logs), tmp_path / "c")["searches"]][-1] == "7"
    assert json.loads((tmp_path / "c/report.json").read_text())["snapshots"]["searches"][0]["snapshot"] == 2


def test_a_digest_names_the_snapshot_and_not_the_place(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "a/t", ROWS)
    first = digest_source("documents", str(tmp_path / "a/t"), {})
    (tmp_path / "a").rename(tmp_path / "b")
    moved = str(tmp_path / "b/t")
    assert digest_source("documents", moved, {}) == first
    write_deltalake(moved, ROWS.slice(0, 0), mode="append")  # the same rows in a new version
    assert digest_source("documents", moved, {}) != first
    assert digest_source("documents", LakeTable(table=moved, snapshot=0), {}) == first
    [file] = [path for path in (tmp_path / "b/t").glob("*.parquet") if pq.read_metadata(path).num_rows]
    file.unlink()
    with pytest.raises(InputError, match=r"version 0.*cannot be read"):
        digest_source("documents", LakeTable(table=moved, snapshot=0), {})


def test_a_new_snapshot_is_new_input_of_a_night(tmp_path: Path) -> None:
    logs = lake_log(tmp_path)
    first = {file.table: file.digest for file in list_files(logs, {})}
    assert {file.table: file.digest for file in list_files(logs, {})} == first
    write_deltalake(tmp_path / "searches", arrow_of(SEARCHES).slice(0, 0), mode="append")
    second = {file.table: file.digest for file in list_files(logs, {})}
    assert second["results"] == first["results"]
    assert second["searches"] != first["searches"]


def test_tables_that_cannot_be_found(tmp_path: Path) -> None:
    lake_log(tmp_path)
    catalog = f"sqlite:///{tmp_path}/ice/catalog.db"
    for source, words in (
        (LakeTable(table=str(tmp_path)), r"is no Delta or Iceberg table\. Expected a folder"),
        (LakeTable(table="s3://bucket/t"), r"is not on this machine\. .*copy the whole folder here \(aws s3 sync"),
        (LakeTable(table=str(tmp_path / "searches"), snapshot=9), "searches cannot be read: "),
        (LakeTable(table=str(tmp_path / "ice/tables/db/results"), snapshot=9), "has no snapshot 9. Its snapshots are"),
        (
            LakeTable(table="db.none", catalog=catalog),
            f"the catalog {catalog} has no table db.none. Expected a namespace",
        ),
        (LakeTable(table="db.results", catalog=f"sqlite:///{tmp_path}/no.db"), "there is no catalog .*/no.db. Correct"),
        (LakeTable(table="db.results", catalog="unknown"), "unknown has db.results, which cannot be read: URI missing"),
    ):
        with pytest.raises(InputError, match=words):
            pin_source("results", source)
    assert not (tmp_path / "no.db").exists()
    iceberg_catalog(tmp_path / "ice", "other").register_table(
        "db.results", str(next((tmp_path / "ice/tables/db/results/metadata").glob("00000-*.json")))
    )
    with pytest.raises(InputError, match=r"holds the catalogs lake, other, each with a table db.results"):
        pin_source("results", LakeTable(table="db.results", catalog=catalog))


def test_several_newest_metadata_files_are_refused(tmp_path: Path) -> None:
    lake_log(tmp_path)
    metadata = tmp_path / "ice/tables/db/results/metadata"
    newest = max(metadata.glob("*.metadata.json"))
    number = newest.name.partition("-")[0]
    copy = metadata / f"{number}-00000000-0000-0000-0000-000000000000.metadata.json"
    copy.write_bytes(newest.read_bytes())
    with pytest.raises(InputError, match=r"several newest metadata files, .* and .*Name the catalog"):
        pin_source("results", str(metadata.parent))
    assert len(rows_of(str(newest), tmp_path)) == 9


def test_rows_of_a_version_have_one_order(tmp_path: Path) -> None:
    table = tmp_path / "t"
    for i in range(12):
        write_deltalake(table, pa.table({"id": range(10 * i, 10 * i + 10)}), mode="append")
    orders = set()
    for i in range(5):
        (tmp_path / str(i)).mkdir()
        with read_path("documents", str(table), "1GB", tmp_path / str(i)) as path:
            orders.add(tuple(pq.read_table(path).to_pydict()["id"]))
    assert len(orders) == 1
    assert DeltaTable(table).version() == 11
