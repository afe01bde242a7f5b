"""Engines that cannot be used: one line each, with the way out and without a password."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from data.experiment.export_config import EngineKind
from ebr_core.errors import InputError
from tasks.engines.engine_export import export_model
from tasks.engines.opened_engine import EngineAddress, open_engine
from tasks.engines.search_engine import Version
from tests.opensearch_stub import run_stub
from tests.postgres import Postgres, run_postgres
from tests.tasks.engines.conftest import SHOW, new_database
from tests.tasks.engines.engine_contents import content_of, content_of_bundle
from tests.tasks.engines.test_contract import version_of

psycopg = pytest.importorskip("psycopg", reason="the extra engines is not installed")
pytestmark = pytest.mark.more
NOTHING = Version(name="shop_0", model="0", arm="a", documents=1, dimensions=2)
SCHEMA = pa.schema([("document_id", pa.string()), ("title", pa.string()), ("vector", pa.list_(pa.float32(), 2))])


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBR_HOME", str(tmp_path / "home"))


def refusal(kind: EngineKind, url: str) -> str:
    """The one line with which an engine is refused."""
    with pytest.raises(InputError) as raised:
        open_engine(EngineAddress(kind, url, "shop"))
    message = str(raised.value)
    assert "\n" not in message
    assert "secret" not in message
    return message


@pytest.mark.parametrize(
    ("kind", "url", "says"),
    [
        ("pgvector", "postgresql://me:secret@127.0.0.1:1/db", "Connection refused.*check that PostgreSQL runs there"),
        ("pgvector", "postgresql://me:secret@/db?host=/nowhere", "check that PostgreSQL runs there"),
        ("pgvector", "mysql://me:secret@127.0.0.1/db", "expected an address such as postgresql://"),
        ("pgvector", "secret", "expected an address such as postgresql://"),
        ("opensearch", "http://me:secret@127.0.0.1:1", "cannot be reached.*refused.*check that OpenSearch runs there"),
        ("opensearch", "127.0.0.1:9200", "expected an address such as https://"),
        ("lancedb", "/etc/passwd/tables", "Not a directory.*give a folder that can be written"),
        ("lancedb", "weird://me:secret@x?key=secret", "No object store provider.*give a folder that can be written"),
    ],
)
def test_an_engine_that_cannot_be_reached_is_refused(kind: EngineKind, url: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_engine(EngineAddress(kind, url, "shop"))
    refusal(kind, url)


def test_a_wrong_password_is_refused_without_being_repeated(postgres: Postgres) -> None:
    message = refusal("pgvector", postgres.url(password="secret"))
    assert "password authentication failed" in message
    assert "PGPASSWORD" in message
    with run_stub() as stub:
        stub.password = "right"
        message = refusal("opensearch", stub.url.replace("//", "//admin:secret@"))
        assert "the user or password is refused (401)" in message
        open_engine(EngineAddress("opensearch", stub.url.replace("//", "//admin:right@"), "shop")).close()


def test_a_role_that_may_not_create_the_extension_is_told_who_may(postgres: Postgres, tmp_path: Path) -> None:
    url = new_database(postgres, tmp_path.name)
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE ROLE clerk LOGIN PASSWORD 'secret'")
    message = refusal("pgvector", postgres.url("clerk", "secret", tmp_path.name))
    assert "no extension vector (permission denied" in message
    assert "CREATE EXTENSION vector" in message
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("CREATE EXTENSION vector")
        database.execute("DROP OWNED BY clerk")
    opened = open_engine(EngineAddress("pgvector", postgres.url("clerk", "secret", tmp_path.name), "shop"))
    with pytest.raises(InputError, match="permission denied for schema public; give the role the right to create"):
        opened.create(NOTHING, SCHEMA)
    opened.close()


@pytest.fixture(scope="module")
def bare() -> Iterator[Postgres]:
    """A PostgreSQL without pgvector."""
    with run_postgres() as server:
        (control,) = server.install.rglob("vector.control")
        control.unlink()
        yield server


def test_a_server_without_pgvector_is_refused(bare: Postgres) -> None:
    message = refusal("pgvector", bare.url())
    assert 'no extension vector (extension "vector" is not available' in message
    assert "install pgvector on the server" in message


def test_too_many_dimensions_for_an_index_are_refused(postgres: Postgres, tmp_path: Path) -> None:
    opened = open_engine(EngineAddress("pgvector", new_database(postgres, tmp_path.name), "shop"))
    many = NOTHING.model_copy(update={"dimensions": 3000})
    with pytest.raises(InputError, match="up to 2,000 dimensions, this model has 3,000; choose a smaller model"):
        opened.create(many, SCHEMA)
    opened.close()


def test_rights_on_the_view_stay_when_dimensions_change(
    postgres: Postgres, tmp_path: Path, bundles: list[Path]
) -> None:
    address = EngineAddress("pgvector", new_database(postgres, tmp_path.name), "shop")
    export_model(address, bundles[0], SHOW)
    with psycopg.connect(address.url, autocommit=True) as database:
        database.execute("CREATE ROLE reader LOGIN PASSWORD 'r'; GRANT SELECT ON shop TO reader")
    export_model(address, bundles[2], SHOW)  # 32 dimensions in place of 24
    with psycopg.connect(postgres.url("reader", "r", tmp_path.name)) as database:
        assert database.execute("SELECT count(*) FROM shop").fetchone() == (700,)


def test_what_depends_on_the_view_is_not_dropped(postgres: Postgres, tmp_path: Path, bundles: list[Path]) -> None:
    address = EngineAddress("pgvector", new_database(postgres, tmp_path.name), "shop")
    export_model(address, bundles[0], SHOW)
    with psycopg.connect(address.url, autocommit=True) as database:
        database.execute("CREATE VIEW theirs AS SELECT document_id, vector FROM shop")
    export_model(address, bundles[1], SHOW)  # the same columns: what depends on them follows
    with pytest.raises(InputError, match="the columns or dimensions change, so drop what depends on it first"):
        export_model(address, bundles[2], SHOW)
    assert content_of(address, "shop") == content_of_bundle(bundles[1])


def test_two_exports_to_an_alias_do_not_meet(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tasks.engines.pgvector_engine as module

    monkeypatch.setattr(module, "WAIT_S", 0)
    address = EngineAddress("pgvector", new_database(postgres, tmp_path.name), "shop")
    first = open_engine(address)
    with pytest.raises(InputError, match=r"another export to shop .* is under way"):
        open_engine(address)
    first.close()
    open_engine(address).close()


@pytest.mark.parametrize(
    ("kind", "package"), [("lancedb", "lancedb"), ("pgvector", "psycopg"), ("opensearch", "opensearchpy")]
)
def test_a_client_that_is_not_installed_is_named(kind: str, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from tasks.engines.opened_engine import EngineAddress, open_engine\n"
        f"open_engine(EngineAddress({kind!r}, 'x', 'shop'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith(
        f"--to {kind} needs a package that is not installed: .venv/bin/pip install -c constraints.txt -e '.[{kind}]'"
    )


def test_the_version_is_named_by_model_and_columns(bundles: list[Path]) -> None:
    names = {version_of(folder).name for folder in bundles}
    assert len(names) == 3
    assert all(name.startswith("shop_") and len(name) == 17 for name in names)
