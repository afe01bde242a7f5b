"""Raw files read one by one: extraction from their partitions gives the same bytes as extraction from the files."""

from __future__ import annotations

import csv
import json
import os
import random
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from both_readings import extract_both, write_partitions
from small_logs import SPLIT, small_log, write_text

from data.experiment.log_config import Split, Tables, Ubi
from data.extract import extract
from data.file_digests import DigestCache, digest_of, extend_digest_cache, read_digest_cache
from data.file_partitions import count_days, list_files, read_file
from ebr_core.errors import InputError

Rows = list[dict[str, Any]]
FORMS = ("parquet", "csv", "ndjson")
SPLITS = {
    "all": Split(),
    "until": Split(validation_from="2020-01-13", test_from="2020-01-15", until="2020-01-17"),
    "without": Split(validation_from="2020-01-13", test_from="2020-01-15", until="2020-01-17", without=["2020-01-12"]),
}


def write(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".ndjson":
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)


def time_of(rng: random.Random) -> datetime:
    return datetime(2020, 1, rng.randrange(1, 21), rng.randrange(24), rng.randrange(60))


def mixed_tables(folder: Path, form: str) -> Tables:
    """Three files for each table, with dirty rows: identities are int, float and text, and some lack columns."""
    rng = random.Random(3)
    as_id: list[Callable[[int], Any]] = [int, float, lambda i: f"{i}" if i % 9 else f"0{i}"]
    for part in range(3):
        searches: Rows = [
            {
                "search_id": as_id[part](rng.randrange(part * 250, part * 250 + 300)) if rng.random() < 0.98 else None,
                "searched_at": time_of(rng) if rng.random() < 0.98 else None,
                "query": rng.choice([f"q{rng.randrange(60)}", " "]) if part else f"q{rng.randrange(60)}",
                "searcher_id": as_id[2 - part](rng.randrange(40)),
                "session_id": None if part == 1 else as_id[part](1000 * part + rng.randrange(900)),
            }
            | ({"city": "Rome", "Topic": "t"} if part == 2 else {})
            for _ in range(300)
        ]
        results: Rows = [
            {
                "search_id": as_id[(part + 1) % 3](rng.randrange(800)),
                "document_id": as_id[part](rng.randrange(50)),
                "clicked": [rng.random() < 0.4, rng.randrange(2), rng.choice(["true", "0", None])][part],
            }
            | ({"position": [rng.randrange(9), 1, f"{rng.randrange(9)}.0"][part]} if part != 1 else {})
            for _ in range(1500)
        ]
        write(folder / f"searches-{part}.{form}", searches)
        write(folder / f"results-{part}.{form}", results)
    write(folder / f"results-3.{form}", [{"search_id": 1, "document_id": 2}])  # without a required column
    documents: Rows = [{"document_id": f"{i}" if i % 9 else f"0{i}", "title": f"t{i}"} for i in range(50)]
    write(folder / f"documents.{form}", [*documents, *({"document_id": str(i), "title": "t"} for i in range(0, 50, 9))])
    paths = {table: str(folder / f"{table}-*.{form}") for table in ("searches", "results")}
    return Tables(layout="tables", documents=str(folder / f"documents.{form}"), **paths, max_dropped=1)


def mixed_ubi(folder: Path, form: str) -> Ubi:
    """As mixed_tables; in Parquet, attributes are records of several types in one file and texts in another."""
    rng = random.Random(4)
    for part in range(3):
        nested: Callable[[Any], Any] = (lambda x: x) if part < 2 and form != "csv" else json.dumps
        queries: Rows = [
            {
                "query_id": f"{part}-{rng.randrange(300)}" if rng.random() < 0.98 else None,
                "user_query": f"q{rng.randrange(60)}",
                "timestamp": time_of(rng).isoformat() + "+01:00" if part else time_of(rng),
                "client_id": rng.randrange(40) if part else float("nan"),
            }
            | ({"query_response_hit_ids": nested([str(rng.randrange(50)) for _ in range(5)])} if part != 1 else {})
            | ({"query_attributes": nested({"topic": "t"})} if part == 2 else {})
            for _ in range(300)
        ]
        events: Rows = [
            {
                "action_name": rng.choice(["click", "impression", "scroll"]),
                "query_id": f"{part}-{rng.randrange(330)}" if rng.random() < 0.95 else None,
                "session_id": rng.choice([None, f"s{part}-{rng.randrange(900)}"]),
                "event_attributes": nested(
                    {"object": {"object_id": str(rng.randrange(55))}} | ({"position": {"ordinal": 3}} if part else {})
                ),
            }
            for _ in range(1500)
        ]
        write(folder / f"queries-{part}.{form}", queries)
        write(folder / f"events-{part}.{form}", events)
    write(folder / f"documents.{form}", [{"document_id": str(i), "title": f"t{i}"} for i in range(50)])
    paths = {table: str(folder / f"{table}-*.{form}") for table in ("queries", "events")}
    return Ubi(layout="ubi", documents=str(folder / f"documents.{form}"), **paths, max_dropped=1)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mixed", [mixed_tables, mixed_ubi])
def test_partitions_give_the_same_bytes_as_the_files(
    tmp_path: Path, mixed: Callable[[Path, str], Tables | Ubi], form: str, split: str
) -> None:
    raw, parts = extract_both(mixed(tmp_path / "in", form), SPLITS[split], tmp_path)
    assert len(raw) == 8
    assert parts == raw
    report = json.loads(raw["report.json"])
    assert all(report["tables"][table]["dropped"] for table in ("searches", "results"))
    if mixed is mixed_tables:  # a search without a time comes before any end
        assert "searched_at is missing" in [dropped["reason"] for dropped in report["tables"]["searches"]["dropped"]]


def test_the_days_of_partitions_are_those_of_the_rows(tmp_path: Path) -> None:
    logs = mixed_tables(tmp_path, "parquet")
    counted = count_days(write_partitions(logs, tmp_path / "kept")["searches"])
    expected: dict[date, int] = {}
    for file in tmp_path.glob("searches-*"):
        for row in pq.read_table(file).to_pylist():
            if row["search_id"] is not None and row["searched_at"] is not None:
                day = row["searched_at"].date()
                expected[day] = expected.get(day, 0) + 1
    assert counted == expected
    assert list(counted) == sorted(expected)


def test_an_identity_does_not_depend_on_other_files(tmp_path: Path) -> None:
    """12.0 in one file and '007' in another are the identities 12 and 007, and not-a-number is null."""
    for i, ids in enumerate(([12.0, 13.0], ["007", "x"])):
        rows = {"search_id": ids, "searched_at": [datetime(2020, 1, 1 + i)] * 2, "query": ["a", "b"]}
        pq.write_table(
            pa.table(rows | {"searcher_id": [float("nan"), 5.0] if i else ["u", "v"]}), tmp_path / f"s{i}.parquet"
        )
    results = "search_id,document_id,clicked\n" + "".join(f"{i},hat,1\n" for i in ("12", "13", "007", "x"))
    logs = small_log(tmp_path / "in", results=results).model_copy(update={"searches": str(tmp_path / "s*.parquet")})
    split = Split(kind="random", validation=0.3, test=0.3)
    raw, parts = extract_both(logs, split, tmp_path / "out")
    assert parts == raw
    search_ids = pq.read_table(tmp_path / "out" / "parts" / "searches.parquet")["search_id"].to_pylist()
    assert sorted(search_ids) == ["007", "12", "13", "x"]
    assert pq.read_table(tmp_path / "out" / "parts" / "searchers.parquet")["searcher_id"].to_pylist() == ["5", "u", "v"]


def test_a_column_without_values_may_be_of_any_type(tmp_path: Path) -> None:
    """pandas writes it as all not-a-number."""
    logs = mixed_ubi(tmp_path / "in", "csv")
    for part in range(2):
        rows = {
            "query_id": [f"{part}-{i}" for i in range(20)],
            "user_query": ["q"] * 20,
            "timestamp": [datetime(2020, 1, 1 + i) for i in range(20)],
            "query_response_hit_ids": [float("nan")] * 20 if part else ['["7"]'] * 20,
        }
        pq.write_table(pa.table(rows), tmp_path / "in" / f"queries-{part}.parquet")
    raw, parts = extract_both(
        logs.model_copy(update={"queries": f"{tmp_path}/in/queries-*.parquet"}), SPLITS["all"], tmp_path
    )
    assert len(raw) == 8
    assert parts == raw


def test_folders_that_are_columns(tmp_path: Path) -> None:
    """Folders are columns if all files lie in such folders; equal files in two of them give two partitions."""
    logs = mixed_tables(tmp_path / "in", "csv")
    rows = (tmp_path / "in" / "searches-0.csv").read_text()
    for city in ("rome", "paris"):
        write_text(tmp_path / f"in/city={city}", "searches.csv", rows)
    logs = logs.model_copy(update={"searches": str(tmp_path / "in" / "*" / "searches.csv")})
    first, second = list_files(logs, {})[:2]
    assert first.digest == second.digest
    assert first.identity_settings() != second.identity_settings()
    raw, parts = extract_both(logs, SPLITS["all"], tmp_path)
    assert parts == raw
    cities = pq.read_table(tmp_path / "parts" / "searches.parquet")["city"].to_pylist()
    assert set(cities) == {"paris"}  # the first in order, because the searches are repeated
    write_text(tmp_path / "in/nowhere", "searches.csv", rows)
    raw, parts = extract_both(logs, SPLITS["all"], tmp_path / "again")
    assert parts == raw
    assert set(pq.read_table(tmp_path / "again" / "parts" / "searches.parquet")["city"].to_pylist()) == {None}


def test_files_at_a_url(tmp_path: Path) -> None:
    logs = mixed_tables(tmp_path / "in", "parquet")
    remote = logs.model_copy(update={"results": f"file://{tmp_path}/in/results-*.parquet"})
    files = [file for file in list_files(remote, {}) if file.table == "results"]
    assert [(file.stat, Path(file.path).name) for file in files] == [(None, f"results-{i}.parquet") for i in range(4)]
    raw, parts = extract_both(remote, SPLITS["until"], tmp_path)
    assert len(raw) == 8
    assert parts == raw


def test_files_without_rows_and_the_same_file_twice(tmp_path: Path) -> None:
    logs = mixed_tables(tmp_path / "in", "ndjson")
    write_text(tmp_path / "in", "results-4.ndjson", "")
    (tmp_path / "in" / "searches-3.ndjson").write_bytes((tmp_path / "in" / "searches-1.ndjson").read_bytes())
    raw, parts = extract_both(logs, SPLITS["all"], tmp_path)
    assert len(raw) == 8
    assert parts == raw


def test_missing_columns_and_rows_give_the_same_message(tmp_path: Path) -> None:
    logs = mixed_tables(tmp_path / "in", "csv")
    for file in (tmp_path / "in").glob("results-*"):
        file.write_text(file.read_text().replace("clicked", "clickd"))
    raw, parts = extract_both(logs, SPLITS["all"], tmp_path)
    assert "no column 'clicked'" in raw["refused"]
    assert parts == raw
    for file in (tmp_path / "in").glob("results-*"):
        file.write_text("search_id,document_id,clicked\n")
    raw, parts = extract_both(logs, SPLITS["all"], tmp_path / "again")
    assert "holds no rows" in raw["refused"]
    assert parts == raw


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("csv", "search_id,document_id,clicked\n1,2,perhaps\n", ["column 'clicked' holds 'perhaps'"]),
        ("csv", "search_id,document_id,clicked\n1,2\n", ["Line: 2", "as many fields"]),
        ("ndjson", '{"search_id": 1, "docu', ["cannot be read"]),
        ("ndjson", "[1, 2]\n", ["does not hold records"]),
        ("parquet", "PAR1", ["cannot be read"]),
    ],
)
def test_a_problem_in_a_file_is_reported_with_its_name(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    logs = mixed_tables(tmp_path / "in", name)
    bad = Path(write_text(tmp_path / "in", f"results-9.{name}", text))
    with pytest.raises(InputError) as refused:
        write_partitions(logs, tmp_path / "kept")
    for word in (f"results: {bad}", *words):
        assert word in str(refused.value)


def test_brotli_is_refused_in_a_raw_file(tmp_path: Path) -> None:
    logs = mixed_tables(tmp_path / "in", "parquet")
    rows = {"search_id": ["1"], "document_id": ["2"], "clicked": [True]}
    pq.write_table(pa.table(rows), tmp_path / "in" / "results-9.parquet", compression="brotli")
    with pytest.raises(InputError, match=r"results: .*results-9.parquet is compressed by Brotli"):
        write_partitions(logs, tmp_path / "kept")


def test_a_damaged_partition_is_reported_with_the_way_out(tmp_path: Path) -> None:
    logs = mixed_tables(tmp_path / "in", "csv")
    parts = write_partitions(logs, tmp_path / "kept")
    rows = parts["results"][1] / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:200])
    with pytest.raises(InputError, match=rf"(?s)results: {parts['results'][1]} cannot be read.*Remove it"):
        extract(logs, SPLITS["all"], tmp_path / "out", parts)
    (parts["searches"][0] / "facts.json").write_text("{")
    with pytest.raises(InputError, match=rf"(?s){parts['searches'][0]} cannot be read.*Remove it"):
        extract(logs, SPLITS["all"], tmp_path / "out", parts)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    logs = small_log(tmp_path / "in")
    file = list_files(logs, {})[0]
    with Path(file.path).open("a") as stream:
        stream.write("7,2020-01-06 10:00:00,hat,ann\n")
    (tmp_path / "kept").mkdir()
    with pytest.raises(InputError, match="changed while it was read"):
        read_file(file, tmp_path / "kept")


def test_digests_are_computed_once(tmp_path: Path) -> None:
    """The cache key is size, time of change and inode. A new file is read again, because its time may hide a change."""
    file, old = tmp_path / "a.csv", time.time() - 100
    file.write_text("one")
    cache: DigestCache = {}
    digest_of(file, cache)
    assert cache == {}
    os.utime(file, (old, old))
    first = digest_of(file, cache)
    assert list(cache) == [str(file)]
    file.write_text("two")
    os.utime(file, (old, old))
    assert digest_of(file, cache) == first  # the change cannot be noticed
    os.utime(file, (old, old + 1))
    assert digest_of(file, cache).digest != first.digest
    os.utime(file, (old, old))
    (tmp_path / "b").write_text("six")
    os.utime(tmp_path / "b", (old, old))
    (tmp_path / "b").rename(file)
    assert digest_of(file, cache).digest not in (first.digest, "")
    assert digest_of(file, cache).stat.inode != first.stat.inode


def test_a_digest_cache_is_extended_and_may_be_damaged(tmp_path: Path) -> None:
    old, cache_file = time.time() - 100, tmp_path / "home" / "digests.json"
    for name in "ab":
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (old, old))
        extend_digest_cache({str(tmp_path / name): digest_of(tmp_path / name, {})}, cache_file)
    assert sorted(read_digest_cache(cache_file)) == [str(tmp_path / "a"), str(tmp_path / "b")]
    for damage in (b"", b"[]", b'{"a": 1}', cache_file.read_bytes()[:50], b"\xff"):
        cache_file.write_bytes(damage)
        assert read_digest_cache(cache_file) == {}
    extend_digest_cache({str(tmp_path / "a"): digest_of(tmp_path / "a", {})}, cache_file)
    assert list(read_digest_cache(cache_file)) == [str(tmp_path / "a")]
    assert [path.name for path in cache_file.parent.iterdir()] == ["digests.json"]


def test_small_logs_give_the_same_bytes(tmp_path: Path) -> None:
    raw, parts = extract_both(small_log(tmp_path / "in"), SPLIT, tmp_path)
    assert len(raw) == 8
    assert parts == raw
