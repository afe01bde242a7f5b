"""Error messages name the table, the file, the value that was got, the expected one, and the way out."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_logs import DOCUMENTS, RESULTS, SEARCHES, SPLIT, small_log, write_text

from data.damaged import is_unreadable
from data.experiment.log_config import Split, Tables
from data.extract import extract
from data.log_fingerprint import fingerprint, refuse_absent
from ebr_core.errors import InputError


def refused(logs: Tables, folder: Path, split: Split = SPLIT) -> str:
    with pytest.raises(InputError) as caught:
        extract(logs, split, folder)
    assert not list(folder.glob("*.parquet")), "nothing may be written for refused logs"
    return str(caught.value)


@pytest.mark.parametrize(
    ("table", "old", "new", "words"),
    [
        ("searches", "searched_at", "search_at", ["searches", "'searched_at'", "searched_at: search_at", "query"]),
        ("results", "clicked", "was_it", ["results", "'clicked'", "was_it", "position"]),
        ("results", "4,hat,1,true", "4,hat,1,maybe", ["results.csv", "clicked", "'maybe'", "true or false"]),
        ("results", "4,hat,1,", "4,hat,first,", ["results.csv", "position", "'first'", "whole number"]),
        ("results", "4,hat,1,", "4,hat,1.5,", ["position", "'1.5'", "whole number"]),
        (
            "searches",
            "2020-01-03 10:00:00",
            "last spring",
            ["searches.csv", "searched_at", "'last spring'", "timestamp"],
        ),
        ("searches", "2020-01-03 10:00:00", "20200103", ["searched_at", "'20200103'", "timestamp"]),
        ("searches", "2020-01-03 10:00:00", "2020-01-03 10:00:00 -5", ["searched_at", "00 -5'", "an offset such as"]),
        ("searches", "2020-01-03 10:00:00", "2020-01-03 10:00:00 Mars", ["searched_at", "Mars"]),
    ],
)
def test_columns_and_values(tmp_path: Path, table: str, old: str, new: str, words: list[str]) -> None:
    text = {"searches": SEARCHES, "results": RESULTS}[table].replace(old, new)
    message = refused(small_log(tmp_path / "in", **{table: text}), tmp_path / "out")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"searches": SEARCHES.splitlines()[0]}, ["searches", "no rows"]),
        ({"documents": ""}, ["documents"]),
        ({"results": RESULTS.replace("true", "false")}, ["nothing was clicked"]),
        (
            {"edges": "source_id,target_id,source_type\nann,hat,searcher\n", "documents": DOCUMENTS + "ann,Ann\n"},
            ["edges", "share identities such as ann", "source_type", "target_type"],
        ),
        (
            {"edges": "source_id,target_id,source_type,target_type\nann,hat,user,document\n"},
            ["source_type", "'user'", "searcher or document"],
        ),
        ({"edges": "source_id,target_id\nx,y\n"}, ["edges", "1 of 1", "unknown source_id", "x → y"]),
        ({"judgements": "document_id,grade,topic\nhat,1,t\n"}, ["judgements", "nobody searched it"]),
        ({"judgements": "document_id,grade\nhat,high\n"}, ["judgements", "grade", "'high'", "number"]),
        (
            {"results": RESULTS + "1,glove,3,false\n"},
            ["results", "1 of 10", "max_dropped = 0.05", "no such document", "1 / glove"],
        ),
        (
            {"searches": SEARCHES.replace("2020-01-05", "2999-01-05").replace("2020-01-04", "0001-01-01")},
            ["searches", "2 of 6", "searched_at is before 1970 or after 2100: 2 (5, 6)"],
        ),
        ({"searches": SEARCHES + "6,2020-01-05,Boots,\n"}, ["searches", "1 of 7", "search_id seen before", "(6)"]),
        ({"searches": SEARCHES + "6,2020-01-09,hat,\n"}, ["2 of 7 searches", "search_id of different searches: 2 (6)"]),
        ({"documents": DOCUMENTS + "hat,Hat\n"}, ["documents", "1 of 4", "document_id seen before", "(hat)"]),
    ],
)
def test_tables(tmp_path: Path, tables: dict[str, str], words: list[str]) -> None:
    logs = small_log(tmp_path / "in", **tables) if tables.get("documents") != "" else small_log(tmp_path / "in")
    if tables.get("documents") == "":
        write_text(tmp_path / "in", "documents.csv", "")
    message = refused(logs, tmp_path / "out")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere/searches.parquet", ["searches", "there is no file", "nowhere/searches.parquet", "logs.searches"]),
        ("nowhere/*.parquet", ["no file matches the glob"]),
        ("in", ["is a folder", "*.parquet"]),
        ("in/notes.xlsx", ["notes.xlsx", ".parquet", ".csv", ".ndjson"]),
        ("in/*", ["several kinds", "csv"]),
        ("in/pipe.csv", ["searches", "pipe.csv", "not a file but a pipe"]),  # reading it would wait for ever
        ("in/link.csv", ["searches", "link.csv"]),
    ],
)
def test_paths(tmp_path: Path, path: str, words: list[str]) -> None:
    logs = small_log(tmp_path / "in").model_copy(update={"searches": str(tmp_path / path)})
    if path.endswith("xlsx"):
        write_text(tmp_path / "in", "notes.xlsx", "x")
    else:
        write_text(tmp_path / "in", "more.ndjson", "{}")
    if "csv" in path:
        os.mkfifo(tmp_path / "in" / "pipe.csv")
        (tmp_path / "in" / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    message = refused(logs, tmp_path / "out")
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", ["searches.parquet", "searches.csv.gz", "searches.ndjson", "searches.csv"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    whole: dict[str, Any] = {
        "search_id": list(range(9999)),
        "query": ["q"] * 9999,
        "searched_at": ["2020-01-01"] * 9999,
    }
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.table(whole), path)
        path.write_bytes(path.read_bytes()[:5000])
    elif name.endswith("gz"):
        path.write_bytes(gzip.compress(b"search_id,query,searched_at\n" + bytes(range(48, 58)) * 9999)[:40])
    elif name.endswith("ndjson"):
        path.write_text('{"search_id": 1, "query": "q", "searched_at": "2020-01-01"}\n{"search_id": 2, "que')
    else:
        path.write_bytes(b"search_id,query,searched_at\n1,caf\xe9,2020-01-01\n")
    logs = small_log(tmp_path / "in").model_copy(update={"searches": str(path)})
    message = refused(logs, tmp_path / "out")
    assert "searches" in message
    assert name in message
    assert "cannot be read" in message


def test_a_problem_in_a_file_is_reported_with_its_line(tmp_path: Path) -> None:
    """The message leaves out DuckDB's options, which users cannot set."""
    latin = tmp_path / "latin.csv"
    latin.write_bytes("search_id,query,searched_at\n1,café,2020-01-01\n".encode("latin-1"))
    cases = [
        (latin, ["Line: 2", "not utf-8", "Save it as UTF-8"]),
        (
            Path(write_text(tmp_path, "long.csv", SEARCHES.replace("hat,ann", "hat,ann,x,y"))),
            ["Line: 6", "hat,ann,x,y", "Expected Number of Columns: 4 Found: 5", "as many fields as the header"],
        ),
        (
            Path(write_text(tmp_path, "short.csv", SEARCHES.replace(",hat,ann", ""))),
            ["Line: 6", "5,2020-01-04 10:00:00", "Expected Number of Columns: 4 Found: 2"],
        ),
        (Path(write_text(tmp_path, "huge.csv", SEARCHES.replace("blue", "b" * 2_500_000))), ["2 MB", "Parquet"]),
        (Path(write_text(tmp_path, "list.ndjson", '{"search_id": 1}\n[1, 2]\n')), ["does not hold records"]),
    ]
    for path, words in cases:
        logs = small_log(tmp_path / "in").model_copy(update={"searches": str(path)})
        message = refused(logs, tmp_path / "out")
        for word in (f"searches: {path}", *words):
            assert word in message
        for option in ("strict_mode", "Possible", "max_line_size", "ignore_errors"):
            assert option not in message
        assert len(message) < 1000


def test_a_remote_file_that_cannot_be_reached(tmp_path: Path) -> None:
    url = "https://127.0.0.1:1/searches.parquet"  # nobody listens, and the extension may be missing too
    logs = small_log(tmp_path / "in").model_copy(update={"searches": url})
    assert f"searches: {url} cannot be read" in refused(logs, tmp_path / "out")
    with pytest.raises(InputError, match="copy the file to this machine"):
        fingerprint(logs)


def test_a_full_disk_is_not_blamed_on_the_files() -> None:
    assert is_unreadable(duckdb.IOException("IO Error: Could not read file"))
    assert not is_unreadable(duckdb.IOException('Could not write file "x.wal": No space left on device'))


def test_all_absent_files_are_named_at_once(tmp_path: Path) -> None:
    logs = small_log(tmp_path / "in").model_copy(
        update={"searches": "no.csv", "documents": str(tmp_path / "*.parquet")}
    )
    with pytest.raises(InputError, match=r"(?s)searches: there is no file no.csv.*documents: no file matches the glob"):
        refuse_absent(logs)
    refuse_absent(small_log(tmp_path / "in"))


def test_a_damaged_page_of_a_whole_file(tmp_path: Path) -> None:
    """The footer is intact and the rows are not, which shows only when they are read."""
    path = tmp_path / "results.parquet"
    rows = {
        "search_id": [str(i % 6 + 1) for i in range(50_000)],
        "document_id": [f"d{i * 7919}" for i in range(50_000)],
    }
    pq.write_table(pa.table(rows | {"clicked": [True] * 50_000}), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[2000:60_000] = bytes(58_000)
    path.write_bytes(data)
    message = refused(small_log(tmp_path / "in").model_copy(update={"results": str(path)}), tmp_path / "out")
    assert "results.parquet" in message
    assert "cannot be read" in message


def test_a_damaged_header_of_a_page(tmp_path: Path) -> None:
    """DuckDB raises a plain Error for it."""
    path = tmp_path / "results.parquet"
    columns = {"search_id": ["1", "2"], "document_id": ["hat", "shoe"], "clicked": [True, False]}
    pq.write_table(pa.table(columns), path)
    data = bytearray(path.read_bytes())
    data[4:12] = b"\xff" * 8
    path.write_bytes(data)
    message = refused(small_log(tmp_path / "in").model_copy(update={"results": str(path)}), tmp_path / "out")
    assert "results.parquet cannot be read" in message
    assert "Write the file again" in message


def test_types_that_cannot_be_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"search_id": [[1]], "searched_at": [1], "query": ["q"]}), tmp_path / "s.parquet")
    message = refused(
        small_log(tmp_path / "in").model_copy(update={"searches": str(tmp_path / "s.parquet")}), tmp_path / "out"
    )
    assert "'search_id' is of type BIGINT[]" in message
    pq.write_table(pa.table({"search_id": [1], "searched_at": [1], "query": ["q"]}), tmp_path / "s.parquet")
    message = refused(
        small_log(tmp_path / "in").model_copy(update={"searches": str(tmp_path / "s.parquet")}), tmp_path / "out"
    )
    assert "'searched_at' holds '1'. Expected a timestamp" in message
    pq.write_table(pa.table({"search_id": [1], "searched_at": [True], "query": ["q"]}), tmp_path / "s.parquet")
    message = refused(
        small_log(tmp_path / "in").model_copy(update={"searches": str(tmp_path / "s.parquet")}), tmp_path / "out"
    )
    assert "'searched_at' is of type BOOLEAN" in message


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (
            Split(validation_from="2019-01-01", test_from="2020-01-05"),
            ["train has no search", "2020-01-01", "split.validation_from"],
        ),
        (Split(validation_from="2020-01-04", test_from="2021-01-01"), ["test has no search", "2020-01-05"]),
        (Split(validation_from="2020-01-04 12:00", test_from="2020-01-05"), ["validation has no search"]),
    ],
)
def test_empty_parts(tmp_path: Path, split: Split, words: list[str]) -> None:
    message = refused(small_log(tmp_path / "in"), tmp_path / "out", split)
    for word in words:
        assert word in message


def test_no_cut_in_one_instant(tmp_path: Path) -> None:
    searches = "search_id,searched_at,query\n" + "".join(f"{i},2020-01-01,q\n" for i in range(1, 7))
    assert "fewer than three instants" in refused(
        small_log(tmp_path / "in", searches=searches), tmp_path / "out", Split()
    )


def test_a_part_without_clicks(tmp_path: Path) -> None:
    message = refused(
        small_log(tmp_path / "in", results=RESULTS.replace("5,hat,1,true", "5,hat,1,false")), tmp_path / "out"
    )
    assert "validation has no clicked search out of 1" in message


@pytest.mark.parametrize(
    ("dates", "part"),
    [
        ({"created_at": "2019-12-01", "removed_at": "2020-01-04 09:00"}, "test"),  # all removed by then
        ({"created_at": "2020-01-03 10:01", "removed_at": ""}, "train"),  # none created yet
    ],
)
def test_a_part_whose_clicked_documents_did_not_exist(tmp_path: Path, dates: dict[str, str], part: str) -> None:
    ends = ",".join(dates.values())
    documents = f"document_id,title,{','.join(dates)}\nshoe,Red shoe,{ends}\nboot,Boot,{ends}\nhat,Hat,{ends}\n"
    message = refused(small_log(tmp_path / "in", documents=documents), tmp_path / "out")
    for word in ("documents", f"clicks in {part}", "created_at and removed_at"):
        assert word in message
