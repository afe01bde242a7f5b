"""Engines that run: LanceDB in a folder, PostgreSQL with pgvector, and a stub of OpenSearch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tasks.engines.opened_engine import EngineAddress
from tests.engine_bundles import large_bundle
from tests.opensearch_stub import OpenSearchStub, run_stub
from tests.postgres import Postgres, run_postgres
from tests.tasks.engines.engine_contents import Content, content_of

SHOW = ["price", "Tag's"]


class RunningEngine(NamedTuple):
    """An engine with nothing in it."""

    address: EngineAddress
    stub: OpenSearchStub | None

    def content(self, name: str | None = None) -> Content:
        """The documents of a version, by default of the one that answers."""
        return content_of(self.address, name or self.address.alias, self.stub)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with run_postgres() as server:
        yield server


@pytest.fixture(params=["lancedb", "pgvector", "opensearch"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningEngine]:
    """Each engine in turn, empty, with a home of its own."""
    monkeypatch.setenv("EBR_HOME", str(tmp_path / "home"))
    match request.param:
        case "lancedb":
            yield RunningEngine(EngineAddress("lancedb", str(tmp_path / "lance"), "shop"), None)
        case "pgvector":
            server: Postgres = request.getfixturevalue("postgres")
            yield RunningEngine(EngineAddress("pgvector", new_database(server, tmp_path.name), "shop"), None)
        case "opensearch":
            with run_stub() as stub:
                yield RunningEngine(EngineAddress("opensearch", stub.url, "shop"), stub)


def new_database(server: Postgres, name: str) -> str:
    """The address of an empty database."""
    import psycopg
    from psycopg.sql import SQL, Identifier

    with psycopg.connect(server.url(), autocommit=True) as database:
        database.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    return server.url(database=name)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models of 700 documents; the last one has more dimensions."""
    folder = tmp_path_factory.mktemp("bundles")
    return [large_bundle(folder / str(i), 700, seed=i, d=24 if i < 2 else 32) for i in range(3)]
