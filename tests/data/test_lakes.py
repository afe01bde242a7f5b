"""Delta and Iceberg tables: the rows of one snapshot as its library reads them, or refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from both_readings import extract_both
from deltalake import write_deltalake
from lake_tables import add_deletes, arrow_of, commit, delta_by_hand, iceberg_catalog, lake_log, rows_of
from pyiceberg.manifest import DataFileContent
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType
from small_logs import DOCUMENTS, RESULTS, SPLIT, extract_rows, small_log

from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Impressions, Tables
from data.experiment.source_config import LakeTable, Sql
from data.extract import extract
from data.guess.first_experiment import write_experiment
from data.lakes import refuse_loose
from data.log_fingerprint import digest_source, refuse_absent
from ebr_core.errors import InputError

ROWS = pa.table({"id": [1, 2, 3], "title": ["a", "b", "c"]})


def test_a_lake_gives_the_same_bytes_as_files(tmp_path: Path) -> None:
    plain, _ = extract_both(small_log(tmp_path / "in"), SPLIT, tmp_path / "a")
    runs, nights = extract_both(lake_log(tmp_path / "lake"), SPLIT, tmp_path / "b")
    reports = [json.loads(output.pop("report.json")) for output in (plain, runs, nights)]
    assert len(plain) == 7
    assert runs == plain
    assert nights == plain
    found, notes = reports[1].pop("snapshots"), reports[1].pop("notes")
    assert notes[0]["note"] == "searches: read from version 1 of a Delta table."
    assert notes[3:] == reports[0].pop("notes")
    assert found["searches"] == [{"kind": "delta", "snapshot": 1}]
    assert [found[table][0]["kind"] for table in ("results", "documents")] == ["iceberg", "iceberg"]
    assert reports[1] == {key: value for key, value in reports[0].items() if key != "snapshots"}
    assert (reports[2]["snapshots"], reports[2]["notes"]) == (found, notes)


@pytest.mark.parametrize("mapped", [None, {"id": "col-1", "title": "col-2", "city": "col-3"}])
def test_delta_deletes_partitions_and_added_columns(tmp_path: Path, mapped: dict[str, str] | None) -> None:
    names = mapped or {name: name for name in ("id", "title", "city")}
    files = [
        ("old.parquet", pa.table({names["id"]: [1, 2, 3]}), {names["city"]: "rome"}, []),
        (
            "new.parquet",
            pa.table({names["id"]: [4, 5, 6], names["title"]: ["d", "e", "f"]}),
            {names["city"]: None},
            [1],
        ),
    ]
    fields = {"id": "long", "title": "string", "city": "string"}
    table = delta_by_hand(tmp_path / "t", fields, files, mapped, ["city"])
    assert rows_of(table, tmp_path) == [
        *({"id": i, "title": None, "city": "rome"} for i in (1, 2, 3)),
        {"id": 4, "title": "d", "city": None},
        {"id": 6, "title": "f", "city": None},
    ]


def test_a_damaged_or_unknown_delta_table_is_refused(tmp_path: Path) -> None:
    table = Path(delta_by_hand(tmp_path / "t", {"id": "long"}, [("a.parquet", pa.table({"id": [1, 2]}), {}, [1])]))
    vector = next(table.glob("*.bin"))
    vector.write_bytes(vector.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"documents: .*t \(Delta, version 0\) cannot be read: .*checksum"):
        rows_of(str(table), tmp_path)
    vector.unlink()
    with pytest.raises(InputError, match="File not found"):
        rows_of(str(table), tmp_path)
    commit(table, 1, [{"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["future"],
                                    "writerFeatures": ["future"]}}])  # fmt: skip
    with pytest.raises(InputError, match="'future' is not supported"):
        rows_of(str(table), tmp_path)


def test_iceberg_renamed_and_added_columns_and_partitions(tmp_path: Path) -> None:
    catalog = iceberg_catalog(tmp_path)
    schema = pa.schema({"id": pa.int64(), "title": pa.string(), "city": pa.string()})
    table = catalog.create_table("db.docs", schema=schema)
    with table.update_spec() as spec:
        spec.add_field("city", IdentityTransform())
    table.append(pa.table({"id": [1, 2], "title": ["a", "b"], "city": ["rome", None]}, schema=schema))
    with table.update_schema() as changed:
        changed.rename_column("title", "name")
        changed.add_column("clicks", LongType())
    folder = str(tmp_path / "tables/db/docs")
    assert rows_of(folder, tmp_path) == [
        {"id": 1, "name": "a", "city": "rome", "clicks": None},
        {"id": 2, "name": "b", "city": None, "clicks": None},
    ]
    earlier = table.current_snapshot()
    assert earlier is not None
    table.append(pa.table({"id": [3], "name": ["c"], "city": ["oslo"], "clicks": [7]}))
    assert rows_of(folder, tmp_path)[2] == {"id": 3, "name": "c", "city": "oslo", "clicks": 7}
    named = LakeTable(table=folder, snapshot=earlier.snapshot_id)
    assert [row["id"] for row in rows_of(named, tmp_path)] == [1, 2]


def test_iceberg_deletes_are_applied_or_refused(tmp_path: Path) -> None:
    catalog = iceberg_catalog(tmp_path)
    for name in ("positions", "values"):
        catalog.create_table(f"db.{name}", schema=ROWS.schema).append(ROWS)
    table = tmp_path / "tables/db/positions"
    [file] = (table / "data").glob("*.parquet")
    add_deletes(table, DataFileContent.POSITION_DELETES, pa.table({"file_path": [f"file://{file}"], "pos": [1]}))
    assert [row["id"] for row in rows_of(str(table), tmp_path)] == [1, 3]
    by_value = tmp_path / "tables/db/values"
    add_deletes(by_value, DataFileContent.EQUALITY_DELETES, pa.table({"id": [2]}))
    with pytest.raises(InputError, match=r"snapshot 42.* cannot be read: .*equality deletes"):
        rows_of(str(by_value), tmp_path)


def test_files_of_a_lake_are_never_read_loose(tmp_path: Path) -> None:
    logs = lake_log(tmp_path)
    write_deltalake(tmp_path / "placed", arrow_of(DOCUMENTS), partition_by=["title"])
    for path in ("searches/*.parquet", "placed/**/*.parquet", "ice/tables/db/results/data/*.parquet", "**/*.parquet"):
        for source in (str(tmp_path / path), Sql(sql=f"FROM '{tmp_path / path}'")):
            with pytest.raises(InputError, match=r"is a file of the (Delta|Iceberg) table .*Name the table"):
                digest_source("documents", source, {})
            with pytest.raises(InputError, match="is a file of the"):
                extract(logs.model_copy(update={"documents": source}), SPLIT, tmp_path / "out")
    single = next((tmp_path / "searches").glob("*.parquet"))
    with pytest.raises(InputError, match="is a file of the Delta table"):
        refuse_absent(logs.model_copy(update={"searches": str(single)}))
    with pytest.raises(InputError, match=r"lists.own: .*searches is a table of Delta, which is read under logs alone"):
        refuse_absent(None, {"own": str(tmp_path / "searches")})


def test_addresses_into_a_lake_are_refused_as_local_paths_are(tmp_path: Path) -> None:
    """By file://, which DuckDB lists as it lists s3:// and the like."""
    logs = lake_log(tmp_path)
    (tmp_path / "plain").mkdir()
    pq.write_table(ROWS, tmp_path / "plain" / "a.parquet")
    single = next((tmp_path / "searches").glob("*.parquet")).name
    for path, kind in (
        *(("searches/*.parquet", "Delta"), (f"searches/{single}", "Delta"), ("*/*.parquet", "Delta")),
        *(("**/*.parquet", "Delta"), ("ice/tables/db/results/data/*.parquet", "Iceberg")),
    ):
        address = f"file://{tmp_path}/{path}"
        for source in (address, Sql(sql=f"FROM '{address}'")):
            with pytest.raises(InputError, match=rf"leads into the {kind} table file://.*copy the whole folder here"):
                digest_source("documents", source, {})
        with pytest.raises(InputError, match="leads into the"):
            refuse_absent(logs.model_copy(update={"documents": address}))
    assert digest_source("documents", f"file://{tmp_path}/plain/*.parquet", {})


def test_sql_reads_tables_of_a_lake(tmp_path: Path) -> None:
    lake_log(tmp_path)
    expected = sorted(line.split(",")[1] for line in RESULTS.splitlines()[1:])
    table = "ice/tables/db/results"
    for given in (f"'{table}'", f"'{table}/'", f"iceberg_scan('{tmp_path}/{table}')"):
        sql = Sql(sql=f"SELECT r.document_id FROM {given} AS r", folder=str(tmp_path))
        assert [row["document_id"] for row in rows_of(sql, tmp_path)] == expected
    joined = f"SELECT search_id, query FROM delta_scan('searches') JOIN '{table}' AS r USING (search_id)"
    assert len(rows_of(Sql(sql=joined, folder=str(tmp_path)), tmp_path)) == 9
    numbered = Sql(sql="SELECT row_number() OVER () AS n, query FROM 'searches'", folder=str(tmp_path))
    assert rows_of(numbered, tmp_path / "1") == rows_of(numbered, tmp_path / "2")
    for wrong, words in (
        (f"FROM delta_scan('{table}')", "is not the folder of a Delta table"),
        ("FROM delta_scan('searches', version := 0)", "takes the folder of one table in quotes, and nothing else"),
        ("FROM 'none'", "there is no table 'none'"),
    ):
        with pytest.raises(InputError, match=words):
            rows_of(Sql(sql=wrong, folder=str(tmp_path)), tmp_path)


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = lake_log(tmp_path)
    for name, message in (("deltalake", "of Delta, and the package deltalake"), ("pyiceberg", "of Iceberg, and the")):
        with monkeypatch.context() as absent:
            absent.setitem(sys.modules, name, None)  # as if it were not installed
            for module in ("data.delta_tables", "data.iceberg_tables"):
                absent.delitem(sys.modules, module, raising=False)
            with pytest.raises(InputError, match=rf"{message}.*pip install -c constraints.txt -e '\.\[lakes\]'"):
                refuse_absent(logs)


def test_a_lake_in_an_experiment_file(tmp_path: Path) -> None:
    lake_log(tmp_path)
    text = (
        "logs: {layout: tables, searches: searches/, results: {table: ice/tables/db/results}, "
        "documents: {catalog: 'sqlite:///ice/catalog.db', table: db.documents}}\n"
    )
    (tmp_path / "my.yaml").write_text(text)
    logs = load_experiment(tmp_path / "my.yaml").logs
    assert isinstance(logs, Tables)
    assert len(extract_rows(logs, tmp_path / "out")["results"]) == 9
    for given, words in (
        ("{table: x, snapshots: 3}", "logs.results: unknown key 'snapshots'; allowed beside table: catalog, snapshot"),
        ("{table: x, sql: y}", "logs.results: unknown key 'sql'; allowed beside table"),
        ("{table: x, snapshot: newest}", "logs.results.snapshot: got 'newest'"),
        ("{catalog: x}", "logs.results.sql: missing"),
        ("{table: t, catalog: 'postgresql://me:word@host/db'}", "logs.results.catalog: an address with a user"),
    ):
        (tmp_path / "my.yaml").write_text(text.replace("{table: ice/tables/db/results}", given))
        with pytest.raises(InputError, match=words):
            load_experiment(tmp_path / "my.yaml")


def test_brotli_in_a_lake_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", ROWS)
    [file] = (tmp_path / "t").glob("*.parquet")
    pq.write_table(pq.read_table(file), file, compression="brotli")
    with pytest.raises(InputError, match=r"\.parquet is compressed by Brotli"):
        rows_of(str(tmp_path / "t"), tmp_path)


def test_a_table_without_rows_is_empty(tmp_path: Path) -> None:
    iceberg_catalog(tmp_path).create_table("db.docs", schema=arrow_of(DOCUMENTS).schema)
    assert rows_of(str(tmp_path / "tables/db/docs"), tmp_path) == []
    logs = lake_log(tmp_path / "lake").model_copy(update={"documents": str(tmp_path / "tables/db/docs")})
    with pytest.raises(InputError, match=r"docs \(Iceberg, snapshot None\) holds no rows"):
        extract(logs, SPLIT, tmp_path / "out")


def test_ebr_init_looks_at_tables_of_a_lake(tmp_path: Path) -> None:
    log = [
        f"2020-01-{1 + i // 3:02} 10:00:00,{word} shoe,d{i % 9},{i % 2}" for i, word in enumerate(["red", "old"] * 30)
    ]
    write_deltalake(tmp_path / "log", arrow_of("ts,q,sku,is_click\n" + "\n".join(log)))
    catalogue = arrow_of("sku,name\n" + "".join(f"d{i},Shoe number {i}\n" for i in range(9)))
    iceberg_catalog(tmp_path).create_table("db.shop", schema=catalogue.schema).append(catalogue)
    paths = [str(tmp_path / "log"), str(tmp_path / "tables/db/shop")]
    spec = load_experiment(write_experiment(paths, tmp_path / "my.yaml", False))
    assert isinstance(spec.logs, Impressions)
    assert [spec.logs.impressions, spec.logs.documents] == paths
    assert spec.logs.columns["searched_at"] == "ts"
    assert spec.logs.columns["clicked"] == "is_click"


def test_a_link_to_a_file_of_a_lake_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lake" / "_delta_log").mkdir(parents=True)
    (tmp_path / "lake" / "part.parquet").touch()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "lake" / "part.parquet")
    with pytest.raises(InputError, match=r"link\.parquet is a file of the Delta table .*lake\."):
        refuse_loose("documents", [str(tmp_path / "link.parquet")])


def test_a_snapshot_below_0_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        LakeTable(table="lake", snapshot=-1)
