"""A log that changes from night to night: which files are read again, and the resulting log, on real files."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from data.experiment.log_config import Split, Tables
from data.extract import extract
from ebr_core.errors import InputError
from flows.raw_files import partitions_of
from tasks.artifacts import UNFINISHED, Artifact
from tasks.home import artifacts
from tasks.log_stages import contents_of
from tasks.log_stages import extract as extract_stage
from tasks.partition_stage import days_of

DAYS = range(1, 7)
Parts = dict[str, list[Artifact]]


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """Six days of two searches, a file for each day, not written just now; in a home of its own."""
    monkeypatch.setenv("EBR_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "artifacts").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "documents.csv").write_text("document_id,title\nhat,Hat\nshoe,Shoe\n")
    for day in DAYS:
        write_day(tmp_path / "in", day, "hat")
    paths = {table: str(tmp_path / "in" / f"{table}-*.csv") for table in ("searches", "results")}
    return Tables(layout="tables", documents=str(tmp_path / "in" / "documents.csv"), **paths)


def write_day(folder: Path, day: int, query: str) -> None:
    ids = (10 * day, 10 * day + 1)
    texts = {
        "searches": "search_id,searched_at,query\n" + "".join(f"{i},2020-01-0{day} 10:00:00,{query}\n" for i in ids),
        "results": "search_id,document_id,clicked\n" + "".join(f"{i},hat,1\n{i},shoe,0\n" for i in ids),
    }
    for table, text in texts.items():
        path = folder / f"{table}-{day}.csv"
        path.write_text(text)
        backdate(path)


def backdate(path: Path) -> None:
    os.utime(path, (time.time() - 100,) * 2)


def spoil(path: Path) -> None:
    """Overwrite the bytes of a file but keep its size and times."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"\0" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def partition_names() -> set[str]:
    return {path.name for path in artifacts().glob("partition-*")}


def agrees(logs: Tables, parts: Parts, folder: Path) -> bool:
    """True if the log that a night reads has the same bytes as a log extracted from the files now."""
    split = Split(validation_from="2020-01-05", test_from="2020-01-06", until="2020-01-07")
    log_folder = extract_stage.fn(logs, split, contents_of(logs, parts), parts).folder
    shutil.rmtree(folder, ignore_errors=True)
    extract(logs, split, folder)
    assert len(list(folder.iterdir())) == 8
    return all((log_folder / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())


def test_every_file_is_read_once(logs: Tables, tmp_path: Path) -> None:
    parts = partitions_of(logs)
    assert {table: len(partitions) for table, partitions in parts.items()} == {"searches": 6, "results": 6}
    assert days_of(logs, parts) == {date(2020, 1, day): 2 for day in DAYS}
    assert agrees(logs, parts, tmp_path / "raw")
    names = partition_names()
    for path in (tmp_path / "in").glob("*-*.csv"):
        spoil(path)
    assert partitions_of(logs) == parts
    assert partition_names() == names
    assert len(names) == 12


@pytest.mark.parametrize("moved", [False, True])
def test_a_log_in_another_folder_is_the_same(logs: Tables, tmp_path: Path, moved: bool) -> None:
    parts = partitions_of(logs)
    split = Split(validation_from="2020-01-05", test_from="2020-01-06")
    log = extract_stage.fn(logs, split, contents_of(logs, parts), parts)
    (shutil.move if moved else shutil.copytree)(tmp_path / "in", tmp_path / "there")
    elsewhere = Tables.model_validate_json(logs.model_dump_json().replace(f"{tmp_path}/in", f"{tmp_path}/there"))
    assert partitions_of(elsewhere) == parts
    assert extract_stage.fn(elsewhere, split, contents_of(elsewhere, parts), parts) == log


def add_late(folder: Path) -> None:
    """Add a file of the second day that arrives late."""
    text = (folder / "searches-2.csv").read_text()
    (folder / "searches-later.csv").write_text(text.replace("20,", "28,").replace("21,", "29,"))


def rewrite(folder: Path) -> None:
    """Rewrite a file of the second day with as many other bytes."""
    write_day(folder, 2, "cap")
    os.utime(folder / "searches-2.csv", (time.time() - 50,) * 2)


def delete(folder: Path) -> None:
    for table in ("searches", "results"):
        (folder / f"{table}-2.csv").unlink()


def duplicate(folder: Path) -> None:
    shutil.copy(folder / "results-2.csv", folder / "results-2-again.csv")


@pytest.mark.parametrize(
    ("change", "new", "second_day"), [(add_late, 1, 4), (rewrite, 1, 2), (delete, 0, None), (duplicate, 0, 2)]
)
def test_a_change_among_old_files_is_noticed(
    logs: Tables, tmp_path: Path, change: Callable[[Path], None], new: int, second_day: int | None
) -> None:
    first = partitions_of(logs)
    names = partition_names()
    change(tmp_path / "in")
    parts = partitions_of(logs)
    assert parts != first
    assert len(partition_names() - names) == new
    assert days_of(logs, parts).get(date(2020, 1, 2)) == second_day
    logs = logs.model_copy(update={"max_dropped": 1})
    assert agrees(logs, parts, tmp_path / "raw")


def test_a_damaged_file_is_reported_and_read_again(logs: Tables, tmp_path: Path) -> None:
    bad = tmp_path / "in" / "results-6.csv"
    whole = bad.read_text()
    bad.write_text(whole.replace("60,hat,1", "60,hat,perhaps"))
    for _ in range(2):
        with pytest.raises(InputError, match=rf"results: {bad}: column 'clicked' holds 'perhaps'"):
            partitions_of(logs)
        assert not list(artifacts().glob(f"{UNFINISHED}*"))
    names = partition_names()
    bad.write_text(whole)
    parts = partitions_of(logs)
    assert len(partition_names() - names) == 1  # the other files were read before
    assert agrees(logs, parts, tmp_path / "raw")


def test_lost_partitions_and_digests_are_made_again(logs: Tables, tmp_path: Path) -> None:
    """A partition and the file of known digests are lost."""
    parts = partitions_of(logs)
    shutil.rmtree(parts["results"][3].folder)
    digests = tmp_path / "home" / "digests.json"
    assert len(json.loads(digests.read_bytes())) == 12
    digests.write_text("{")
    assert partitions_of(logs) == parts
    assert len(json.loads(digests.read_bytes())) == 12
    assert agrees(logs, parts, tmp_path / "raw")


def test_a_new_file_is_read_again_until_it_is_older(logs: Tables, tmp_path: Path) -> None:
    """A file that was written just now may be written again with the same size and time: its digest is not stored."""
    path = tmp_path / "in" / "searches-6.csv"
    path.write_text(path.read_text())
    first = partitions_of(logs)
    written_at = path.stat().st_mtime_ns
    path.write_text(path.read_text().replace("hat", "cap"))
    os.utime(path, ns=(written_at, written_at))
    parts = partitions_of(logs)
    assert parts != first
    assert agrees(logs, parts, tmp_path / "raw")
