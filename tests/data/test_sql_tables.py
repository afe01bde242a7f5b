"""Tables that are the result of a SELECT: the same bytes as the files that it stands for, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from both_readings import extract_both, write_partitions
from small_logs import DOCUMENTS, SEARCHES, SPLIT, extract_rows, small_log, write_text

from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Tables
from data.experiment.source_config import Sql
from data.extra_columns import read_columns
from data.extract import extract
from data.file_partitions import list_files, read_file
from data.log_fingerprint import fingerprint, refuse_absent
from data.sql_result import write_result
from data.sql_source import parse_sql
from ebr_core.errors import InputError

SEARCHES_SQL = """
    WITH typed AS (SELECT id, ts, q, who FROM 'raw/day=*/s.csv' WHERE kind = 'search')
    SELECT id AS search_id, ts AS searched_at, q AS query, who AS searcher_id FROM typed
"""
RESULTS_SQL = """
    SELECT s.id AS search_id, r.shown.sku AS document_id, r.place AS position, r.shown.click AS clicked
    FROM read_json(['raw/shown.ndjson']) AS s, unnest(s.results) WITH ORDINALITY AS r(shown, place)
"""


def flat_log(folder: Path) -> Tables:
    """The small log as other files: searches by day, results nested in one record for each search."""
    plain = small_log(folder / "plain")
    lines = SEARCHES.splitlines()
    for line in lines[1:]:
        day = line.split(",")[1][:10]
        path = folder / f"raw/day={day}/s.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        earlier = path.read_text() if path.exists() else "id,ts,q,who,kind\nx,2020-01-01,,,login\n"
        path.write_text(f"{earlier}{line},search\n")
    results: dict[str, list[dict[str, Any]]] = {}
    for line in Path(str(plain.results)).read_text().splitlines()[1:]:
        search, document, _, clicked = line.split(",")
        results.setdefault(search, []).append({"sku": document, "click": clicked == "true"})
    rows = (json.dumps({"id": search, "results": shown}) + "\n" for search, shown in results.items())
    write_text(folder / "raw", "shown.ndjson", "".join(rows))
    return plain.model_copy(
        update={
            "searches": Sql(sql=SEARCHES_SQL, folder=str(folder)),
            "results": Sql(sql=RESULTS_SQL, folder=str(folder)),
        }
    )


def test_sql_gives_the_same_bytes_as_files(tmp_path: Path) -> None:
    plain, _ = extract_both(small_log(tmp_path / "in"), SPLIT, tmp_path / "a")
    runs, nights = extract_both(flat_log(tmp_path / "in2"), SPLIT, tmp_path / "b")
    assert len(plain) == 8
    assert runs == plain
    assert nights == plain


def test_paths_in_sql_start_from_the_experiment_file(tmp_path: Path) -> None:
    write_text(tmp_path, "c.csv", DOCUMENTS)
    text = "logs: {layout: tables, searches: a.csv, results: b.csv, documents: {sql: SELECT * FROM 'c.csv'}}\n"
    logs = load_experiment(Path(write_text(tmp_path, "my.yaml", text))).logs
    assert isinstance(logs, Tables)
    assert isinstance(logs.documents, Sql)
    path = write_result("documents", logs.documents, "1GB", tmp_path)
    assert pq.read_table(path).to_pydict()["document_id"] == ["shoe", "boot", "hat"]
    for given, words in (
        ("{sqll: x}", r"logs.documents.sqll: unknown key \(did you mean sql\?\)"),
        ("{sql: [x]}", r"logs.documents.sql: got .*expected text"),
        ("[x]", r"logs.documents: got \['x'\]; expected a path, \{sql: SELECT …\}, or \{table: …\}"),
        ("{sql: FROM 's3://me:word@b/c.csv'}", "store the secret in DuckDB"),
    ):
        write_text(tmp_path, "my.yaml", text.replace("{sql: SELECT * FROM 'c.csv'}", given))
        with pytest.raises(InputError, match=words):
            load_experiment(tmp_path / "my.yaml")


@pytest.mark.parametrize(
    ("sql", "files"),
    [
        ("FROM 'a.csv'", ["a.csv"]),
        ("SELECT a.x FROM 'a.csv' JOIN 'b.parquet' AS b USING (x)", ["a.csv", "b.parquet"]),
        ("SELECT x FROM read_csv(['a.csv', 'a?.csv'], all_varchar = true) AS t", ["a.csv", "a2.csv"]),
        ("WITH t AS (SELECT * FROM 'a.csv') SELECT * FROM t, (SELECT max(y) AS m FROM 'b.parquet')",
         ["a.csv", "b.parquet"]),
        ("SELECT * FROM 'a.csv' WHERE x IN (SELECT x FROM read_parquet('*.parquet'))", ["a.csv", "b.parquet"]),
        ("SELECT x FROM 'a.csv' UNION ALL SELECT y FROM 'b.parquet'", ["a.csv", "b.parquet"]),
        ("SELECT unnest([x, 7]) AS x FROM 'a.csv', range(2) ORDER BY ALL", ["a.csv"]),
        ("SELECT * FROM (PIVOT 'a.csv' ON x IN (1, 3) USING count(*))", ["a.csv"]),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT * FROM n, 'a.csv';",
         ["a.csv"]),
        ("SELECT row_number() OVER (ORDER BY x) AS n, count(x) AS s FROM 'a.csv' GROUP BY x QUALIFY n > 0", ["a.csv"]),
        ("SELECT x, EXISTS (FROM 'b.parquet' AS b WHERE b.x = a.x) AS e FROM 'a.csv'", ["a.csv", "b.parquet"]),
        ("SELECT content FROM read_text('a.csv')", ["a.csv"]),
        ("SELECT * FROM 'odd [1]*.csv'", ["odd [1]*.csv"]),
    ],
)  # fmt: skip
def test_all_files_of_a_statement_are_found(tmp_path: Path, sql: str, files: list[str]) -> None:
    """The result is that of DuckDB in that folder, and depends on a file exactly if it was found."""
    for name, rows in (("a.csv", "x\n1\n2\n"), ("a2.csv", "x\n3\n"), ("odd [1]*.csv", "x\n5\n")):
        write_text(tmp_path, name, rows)
    pq.write_table(pa.table({"x": [1, 4], "y": [7, 8]}), tmp_path / "b.parquet")
    given = Sql(sql=sql, folder=str(tmp_path))
    logs = small_log(tmp_path / "in").model_copy(update={"documents": given})
    before = fingerprint(logs)["documents"]
    (tmp_path / "out").mkdir()
    rows = pq.read_table(write_result("documents", given, "1GB", tmp_path / "out"))
    with duckdb.connect() as con:
        con.execute(f"SET file_search_path = '{tmp_path}'")
        expected = con.sql(sql if "odd" not in sql else sql.replace("[1]*", "[[]1][*]"))
        assert list(map(str, rows.to_pylist())) == [
            str(dict(zip(expected.columns, row, strict=True))) for row in expected.fetchall()
        ]
    found = []
    for file in sorted(tmp_path.glob("*.*")):
        kept = file.read_bytes()
        file.write_bytes(kept + b"\n")
        if fingerprint(logs)["documents"] != before:
            found.append(file.name)
        file.write_bytes(kept)
    assert found == sorted(files)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELEC x", r"logs.documents.sql: syntax error at or near \"SELEC\". Expected one SELECT over files"),
        ("COPY (FROM 'a.csv') TO 'b.csv'", "it is not a SELECT"),
        ("ATTACH 'a.db'", "it is not a SELECT"),
        ("INSTALL httpfs", "it is not a SELECT"),
        ("LOAD 'a.so'", "it is not a SELECT"),
        ("CREATE TABLE t AS FROM 'a.csv'", "it is not a SELECT"),
        ("FROM 'a.csv'; FROM 'a.csv'", "got 2 statements"),
        ("SELECT 1 AS document_id", "it reads no file"),
        ("FROM a.csv", "there is no table 'a.csv'. Name files in quotes"),
        ("FROM documents", "there is no table 'documents'"),
        ("FROM duckdb_settings()", "the function duckdb_settings cannot be used in FROM"),
        ("FROM query('FROM ''a.csv''')", "the function query cannot be used"),
        ("FROM sqlite_scan('a.db', 't')", "the function sqlite_scan cannot be used"),
        ("FROM 'a.xlsx'", "there is no table 'a.xlsx'"),
        ("FROM 'a.csv' AS a, read_csv(a.path)", "the first argument of read_csv must be a path"),
        ("FROM read_csv('a' || '.csv')", "the first argument of read_csv must be a path"),
        ("FROM (DESCRIBE FROM 'a.csv')", "DESCRIBE, SHOW and SUMMARIZE read no rows"),
        ("SELECT random() FROM 'a.csv'", r"random\(\) has another value each time"),
        ("SELECT now() FROM 'a.csv'", r"now\(\) has another value each time"),
        ("SELECT age(ts) FROM 'a.csv'", r"age\(\) of one time counts from today"),
        ("SELECT current_date FROM 'a.csv'", "current_date has another value each time"),
        ("SELECT current_localtimestamp() FROM 'a.csv'", r"current_localtimestamp\(\) has another value each time"),
        ("SELECT ago(INTERVAL 1 DAY) FROM 'a.csv'", r"ago\(\) has another value each time"),
        ("SELECT Pg_Conf_Load_Time() FROM 'a.csv'", r"pg_conf_load_time\(\) has another value each time"),
        ("SELECT last_modified FROM read_text('a.csv')", "last_modified changes when a file is copied"),
        ("FROM 'a.csv' USING SAMPLE 10%", "a sample has other rows each time"),
        ("FROM 'none.csv'", r"logs.documents.sql: there is no file .*none.csv"),
        ("SELECT nothing FROM 'a.csv'", 'logs.documents.sql: .*Referenced column "nothing" not found'),
        ("SELECT CAST(title AS INT) FROM 'a.csv'", "(?s)logs.documents.sql: .*Could not convert"),
        ("SELECT document_id FROM 'a.csv'", "documents: the result of logs.documents.sql has no column 'title'"),
        ("SELECT * FROM 'a.csv' WHERE false", "documents: the result of logs.documents.sql holds no rows"),
        ("SELECT * FROM 'a.csv' LIMIT ?", "logs.documents.sql: "),
    ],
)
def test_other_statements_are_refused(tmp_path: Path, sql: str, words: str) -> None:
    write_text(tmp_path, "a.csv", DOCUMENTS)
    logs = small_log(tmp_path / "in").model_copy(update={"documents": Sql(sql=sql, folder=str(tmp_path))})
    with pytest.raises(InputError, match=words):
        extract(logs, SPLIT, tmp_path / "out")
    assert not (tmp_path / "b.csv").exists()


def test_a_missing_file_is_found_before_anything_starts(tmp_path: Path) -> None:
    sql = Sql(sql="FROM 'none-*.csv'", folder=str(tmp_path))
    with pytest.raises(InputError, match=r"logs.documents.sql: no file matches the glob .*none-\*.csv"):
        refuse_absent(small_log(tmp_path / "in").model_copy(update={"documents": sql}))


def test_the_statement_reads_nothing_but_its_files(tmp_path: Path) -> None:
    """The names of files are in the tree, and DuckDB refuses every other file."""
    write_text(tmp_path, "a.csv", DOCUMENTS)
    write_text(tmp_path, "b.csv", DOCUMENTS)
    from data.sql_result import _fence  # the second barrier, which the first hides

    with duckdb.connect(config={"python_enable_replacements": False}) as con:
        _fence(con, [str(tmp_path / "a.csv")], tmp_path / "out", False)
        assert len(con.execute(f"FROM '{tmp_path}/a.csv'").fetchall()) == 3
        for other in (f"FROM '{tmp_path}/b.csv'", f"COPY (SELECT 1) TO '{tmp_path}/c.csv'", f"ATTACH '{tmp_path}/d'",
                      "SET enable_external_access = true", "INSTALL httpfs"):  # fmt: skip
            with pytest.raises(duckdb.Error):
                con.execute(other)


def test_the_name_of_the_artifact_depends_on_the_statement_and_not_on_its_form(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_text(tmp_path / folder, "a.csv", DOCUMENTS)
    base = small_log(tmp_path / "in")

    def name(sql: str, folder: str = "one") -> str:
        logs = base.model_copy(update={"documents": Sql(sql=sql, folder=str(tmp_path / folder))})
        return fingerprint(logs)["documents"]

    first = name("SELECT * FROM 'a.csv'")
    assert first == name("select  *\nfrom 'a.csv' ;")
    assert first == name("SELECT * FROM 'a.csv'", "two")
    assert first == name(f"SELECT * FROM '{tmp_path}/two/a.csv'")
    assert first != name("SELECT * FROM 'a.csv' WHERE title <> ''")
    assert first != name("SELECT * FROM read_csv('a.csv')")
    write_text(tmp_path / "one", "a.csv", DOCUMENTS + "cap,Cap\n")
    assert first != name("SELECT * FROM 'a.csv'")


def test_wide_numbers_keep_their_digits(tmp_path: Path) -> None:
    write_text(tmp_path, "a.csv", "document_id,title\n9007199254740993,x\n")
    sql = "SELECT sum(document_id) AS document_id, title FROM 'a.csv' GROUP BY title"
    path = write_result("documents", Sql(sql=sql, folder=str(tmp_path)), "1GB", tmp_path)
    assert pq.read_table(path)["document_id"].to_pylist() == ["9007199254740993"]


def test_nights_read_the_result_anew_when_a_file_changes(tmp_path: Path) -> None:
    logs = flat_log(tmp_path / "in")
    first = list_files(logs, {})
    assert [file.table for file in first] == ["searches", "results"]
    assert list_files(logs, {}) == first
    path = tmp_path / "in" / "raw" / "day=2020-01-06" / "s.csv"
    path.parent.mkdir()
    path.write_text("id,ts,q,who,kind\n7,2020-01-06 10:00:00,hat,ann,search\n")
    second = list_files(logs, {})
    assert [a.digest == b.digest for a, b in zip(first, second, strict=True)] == [False, True]
    (tmp_path / "kept").mkdir()
    with pytest.raises(InputError, match=r"the result of logs.searches.sql changed while it was read"):
        read_file(first[0], tmp_path / "kept")
    parts = write_partitions(logs, tmp_path / "parts")
    extract(logs, SPLIT, tmp_path / "out", parts)
    assert pq.read_table(tmp_path / "out" / "searches.parquet").num_rows == 7


def test_other_columns_of_a_result_are_features(tmp_path: Path) -> None:
    write_text(tmp_path, "c.csv", "sku,name,brand\nshoe,Red shoe,Acme\nboot,Brown boot,Zen\nhat,Hat,Zen\n")
    sql = Sql(sql="SELECT sku AS document_id, name AS title, lower(brand) AS brand FROM 'c.csv'", folder=str(tmp_path))
    logs = small_log(tmp_path / "in").model_copy(update={"documents": sql})
    extract_rows(logs, tmp_path / "log")
    (out := tmp_path / "out").mkdir()
    read_columns(logs, tmp_path / "log", {"documents": ["brand"]}, out)
    assert sorted(pq.read_table(out / "documents.parquet")["brand"].to_pylist()) == [["acme"], ["zen"], ["zen"]]
    assert sorted(path.name for path in out.iterdir()) == ["documents.parquet"]


def test_a_url_asks_for_the_network(tmp_path: Path) -> None:
    with duckdb.connect() as con:
        local = Sql(sql="FROM 'a.csv'", folder=str(tmp_path))
        remote = Sql(sql="FROM 'a.csv' UNION ALL FROM read_csv('https://example.org/b.csv')", folder=str(tmp_path))
        assert not parse_sql(con, "documents", local).is_remote
        assert parse_sql(con, "documents", remote).is_remote


@pytest.mark.parametrize("by_sql", [True, False])
def test_columns_of_the_type_json_are_the_values_in_them(tmp_path: Path, by_sql: bool) -> None:
    """DuckDB gives a column of NDJSON this type where its values differ in kind, as where a NaN stands for no value."""
    searchers = ('"ann"', "NaN", "7", "null", '"bob"', '"ann"')
    lines = [
        f'{{"search_id": {row[0]}, "searched_at": "{row[1]}", "query": "{row[2]}", "searcher_id": {searcher}}}\n'
        for row, searcher in zip((line.split(",") for line in SEARCHES.splitlines()[1:]), searchers, strict=True)
    ]
    write_text(tmp_path, "s.ndjson", "".join(lines))
    source: Any = Sql(sql="FROM 's.ndjson'", folder=str(tmp_path))
    if not by_sql:
        duckdb.sql(f"COPY (FROM read_json('{tmp_path}/s.ndjson')) TO '{tmp_path}/s.parquet'")
        source = str(tmp_path / "s.parquet")
    logs = small_log(tmp_path / "in").model_copy(update={"searches": source})
    rows = extract_rows(logs, tmp_path / "out")
    assert [row["searcher"] for row in rows["searches"]] == ["ann", None, "7", None, "bob", "ann"]
    nested = Sql(sql="SELECT * REPLACE (CAST({'name': query} AS JSON) AS query) FROM 's.ndjson'", folder=str(tmp_path))
    with pytest.raises(InputError, match=r"column 'query' holds .*name.*, a record or a list"):
        extract_rows(logs.model_copy(update={"searches": nested}), tmp_path / "nested")
