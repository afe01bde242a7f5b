"""A time is the same instant in every format, on every machine, in runs and in nights."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shared_cases import case_tables
from small_logs import SEARCHES, SPLIT, extract_rows, small_log

from data.extract import extract
from ebr_core.errors import InputError

MORNING = datetime(2020, 1, 3, 10, 0)


def third_time(tmp_path: Path, written: str) -> datetime:
    """The time of the third search of a small log in which it is written like that."""
    logs = small_log(tmp_path / "in", searches=SEARCHES.replace("2020-01-03 10:00:00", written))
    rows = extract_rows(logs, tmp_path / "log")["searches"]
    return next(row["searched_at"] for row in rows if row["search_id"] == "4").replace(tzinfo=None)


@pytest.mark.parametrize(
    "written",
    [
        *(
            "2020-01-03 05:00:00-05:00 ",
            " 2020-01-03 05:00:00-05:00",
            "2020-01-03T15:30+05:30",
            "2020-01-03 12:00:00.000+0200\t",
        ),
        *(
            "2020-01-03 10:00:00 ",
            "2020-01-03T10:00:00Z ",
            "2020-01-03 10:00:00 UTC",
            "2020/1/3 10:00",
            "2020-01-03 10:00 GMT",
        ),
        *(
            "1578045600",
            "1578045600000",
            "1578045600000000",
            "1578045600000000000",
            "1578045600.0",
            "1578045600000.000",
        ),
    ],
)
def test_texts(tmp_path: Path, written: str) -> None:
    assert third_time(tmp_path, written) == MORNING


def columns() -> dict[str, pa.Array]:
    instants = [datetime(2020, 1, day, 10, tzinfo=UTC) for day in range(1, 7)]
    ns = [int(instant.timestamp()) * 10**9 for instant in instants]
    tokyo = [instant.astimezone(timezone(timedelta(hours=9))) for instant in instants]
    return {
        "us": pa.array([instant.replace(tzinfo=None) for instant in instants], pa.timestamp("us")),
        "ns": pa.array(ns, pa.timestamp("ns")),
        "us in UTC": pa.array(instants, pa.timestamp("us", "UTC")),
        "ns in UTC": pa.array(ns, pa.timestamp("ns", "UTC")),
        "ns in Tokyo": pa.array(ns, pa.timestamp("ns", "Asia/Tokyo")),
        "text with offset": pa.array([instant.isoformat() + " " for instant in tokyo]),
        "seconds": pa.array([n // 10**9 for n in ns], pa.int32()),
        "milliseconds": pa.array([n // 10**6 for n in ns], pa.int64()),
        "seconds with fraction": pa.array([n / 10**9 for n in ns], pa.float64()),
        "nanoseconds": pa.array(ns, pa.uint64()),
    }


def searches_table(times: pa.Array) -> pa.Table:
    queries = ["red shoes", "red boots", "red shoes", "blue hat", "hat", "boots"]
    return pa.table({"search_id": list(range(1, 7)), "searched_at": times, "query": queries})


@pytest.mark.parametrize("name", list(columns()))
def test_types_of_parquet_beside_each_other(tmp_path: Path, name: str) -> None:
    """The first three searches in plain times, the others in another type, in files of one table."""
    (tmp_path / "searches").mkdir()
    pq.write_table(searches_table(columns()["us"]).slice(0, 3), tmp_path / "searches" / "a.parquet")
    pq.write_table(searches_table(columns()[name]).slice(3), tmp_path / "searches" / "b.parquet")
    logs = small_log(tmp_path / "in").model_copy(update={"searches": str(tmp_path / "searches" / "*.parquet")})
    rows = extract_rows(logs, tmp_path / "log")["searches"]
    assert [row["searched_at"].day for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {(row["searched_at"].hour, row["searched_at"].microsecond) for row in rows} == {(10, 0)}


def test_the_zone_of_the_machine_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "searches").mkdir()
    for file, name in (("a", "us"), ("b", "us in UTC")):
        part = searches_table(columns()[name]).slice(0 if file == "a" else 3, 3)
        pq.write_table(part, tmp_path / "searches" / f"{file}.parquet")
    logs = small_log(tmp_path / "in").model_copy(update={"searches": str(tmp_path / "searches" / "*.parquet")})
    extract(logs, SPLIT, tmp_path / "here")
    code = (
        "import sys; from pathlib import Path; from data.extract import extract; "
        "from data.experiment.log_config import Split, Tables; logs, split, out = sys.argv[1:]; "
        "extract(Tables.model_validate_json(logs), Split.model_validate_json(split), Path(out))"
    )
    arguments = [logs.model_dump_json(), SPLIT.model_dump_json(), str(tmp_path / "there")]
    subprocess.run([sys.executable, "-c", code, *arguments], env={**os.environ, "TZ": "Asia/Tokyo"}, check=True)
    for name in ("searches.parquet", "report.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_number_that_is_no_time_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(searches_table(pa.array([20200101, 1, 2, 3, 4, 5])), tmp_path / "in" / "s.parquet")
    logs = small_log(tmp_path / "in").model_copy(update={"searches": str(tmp_path / "in" / "s.parquet")})
    with pytest.raises(InputError, match=r"searched_at.*'20200101'.*seconds, milliseconds"):
        extract(logs, SPLIT, tmp_path / "log")


def test_shared_cases(tmp_path: Path) -> None:
    logs, split = case_tables("20o-offset-with-trailing-blank")
    first = min(row["searched_at"] for row in extract_rows(logs, tmp_path / "20o", split)["searches"])
    assert first.replace(tzinfo=None) == datetime(2025, 1, 1, 13, 4)
    logs, split = case_tables("12-naive-and-zoned-part-files")
    first = min(row["searched_at"] for row in extract_rows(logs, tmp_path / "12", split)["searches"])
    assert first.replace(tzinfo=None) == datetime(2025, 1, 1, 8, 4)
