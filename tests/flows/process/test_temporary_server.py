"""Prefect's temporary server and its database, of which an empty copy is kept for new homes."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from ebr_core.errors import InputError
from flows.process.prefect_database import copy_empty_database, database, empty_database
from flows.process.temporary_server import TemporaryServer, start_server

WAIT_S = 300


@pytest.fixture
def new_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a cache of a user who has not run anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _move_to(tmp_path / "home", monkeypatch)
    return tmp_path / "home"


def _move_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setenv("EBR_HOME", str(home))
    monkeypatch.setenv("PREFECT_HOME", str(home / "prefect"))


def test_the_empty_database_is_copied_once_and_replaces_nothing(
    new_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = new_home / "prefect" / "prefect.db"
    assert database() == path
    copy_empty_database()
    assert not path.exists()  # there is nothing to copy
    empty_database().write_text("empty")
    copy_empty_database()
    assert path.read_text() == "empty"
    path.write_text("full")
    copy_empty_database()
    assert path.read_text() == "full"
    assert os.listdir(path.parent) == ["prefect.db"]
    path.unlink()
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////elsewhere.db")
    copy_empty_database()
    assert not path.exists()  # Prefect would not read it


def test_without_a_cache_the_empty_database_is_in_the_home(new_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (new_home / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(new_home / "file"))  # no folder can be made in it
    assert empty_database().parent == new_home / "databases"
    assert empty_database().parent.is_dir()


@pytest.mark.more
def test_a_server_leaves_an_empty_database_with_which_the_next_home_starts(
    new_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serve(start_server())
    first, empty = _contents(new_home / "prefect" / "prefect.db"), _contents(empty_database())
    assert empty == first
    _move_to(tmp_path / "second", monkeypatch)
    copy_empty_database()
    assert _contents(tmp_path / "second" / "prefect" / "prefect.db") == empty
    _serve(start_server())
    assert _contents(tmp_path / "second" / "prefect" / "prefect.db") == first
    assert (tmp_path / "second" / "logs" / "temporary-server.log").read_text() == ""


def _serve(server: TemporaryServer) -> None:
    """Wait until it answers, and end it."""
    deadline = time.monotonic() + WAIT_S
    try:
        while not server.answers():
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        server.end()
    with pytest.raises(InputError, match=r"did not start; see .*temporary-server\.log"):
        server.answers()


def _contents(path: Path) -> tuple[list[tuple[str, str]], list[tuple[str]], list[tuple[int]]]:
    """(tables and indexes, the version of the tables, the number of flow runs)."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return tables, version, connection.execute("SELECT count(*) FROM flow_run").fetchall()
