"""PostgreSQL with pgvector: a table for each version, and a view, named by the alias, over the one that answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier, Literal

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from tasks.engines.pgvector_rows import column_types, copy_rows
from tasks.engines.search_engine import DOCUMENT_ID, MARK, VECTOR, Effort, LiveVersion, Version, read_mark

LINKS, CONSTRUCTION, MOST_DIMENSIONS = 16, 200, 2000  # of the graph; what pgvector can index
EFS = (40, 80, 160, 320, 640)
BATCH_BYTES = 16 << 20
WAIT_S = 60  # for the server to end what a killed export left running
LOCK_S = 10  # for readers of the view
POINTER = "ebr_alias"  # the key of the comment on the view


class PgvectorEngine:
    """A SearchEngine (tasks.engines.search_engine) in the schema that the connection finds first."""

    def __init__(self, url: str, alias: str) -> None:
        if urlsplit(url).scheme not in ("postgresql", "postgres"):
            raise InputError("pgvector: expected an address such as postgresql://user@host:5432/database")
        self._alias, self._password, self._ef = alias, urlsplit(url).password, 0
        self._place = urlsplit(url).hostname or "this machine"
        with self._explained():
            self._db = psycopg.connect(url, autocommit=True, connect_timeout=10, application_name="ebr export")
        self._place = f"{self._db.info.host}:{self._db.info.port}/{self._db.info.dbname}"
        try:
            self._prepare()
        except BaseException:
            self._db.close()  # its lock would outlive the error
            raise

    @property
    def address(self) -> str:
        """Host, port and database."""
        return self._place

    @property
    def index(self) -> str:
        """The parameters of its index, in words."""
        return f"hnsw (vector_ip_ops), m {LINKS}, ef_construction {CONSTRUCTION}"

    @property
    def efforts(self) -> Sequence[Effort]:
        """Its search settings, the cheapest first."""
        return [Effort({"ef": ef}, f"SET hnsw.ef_search = {ef} in each connection") for ef in EFS]

    def batch_rows(self, dimensions: int) -> int:
        """The number of documents that are written at a time."""
        return max(1, BATCH_BYTES // (4 * dimensions))

    def live(self) -> LiveVersion | None:
        """The version that answers; None if nothing has the alias. Raises InputError if it is not ours."""
        with self._explained():
            rows = self._relations(SQL("= {}").format(Literal(self._alias)))
        if not rows:
            return None
        names = _pointer(rows[0][2]) if rows[0][1] == "v" else None
        by_name = {version.name: version for version in self.versions()}
        if names is None or names["version"] not in by_name:
            raise InputError(
                f"pgvector: {self._place} has a table or view {self._alias} that no export made; choose another name "
                "with --alias (nightly.export.alias), or rename it"
            )
        return LiveVersion(by_name[names["version"]], by_name.get(names["previous"] or ""))

    def versions(self) -> list[Version]:
        """All versions of the alias, unfinished ones included."""
        with self._explained():
            rows = self._relations(SQL("LIKE {}").format(Literal(self._alias.replace("_", r"\_") + r"\_%")))
        return [version for _, kind, mark in rows if kind == "r" and (version := read_mark(mark))]

    def create(self, version: Version, schema: pa.Schema) -> int:
        """The number of documents that it has already; creates it if it is not there."""
        if version.dimensions > MOST_DIMENSIONS:
            raise InputError(
                f"pgvector indexes vectors of up to {MOST_DIMENSIONS:,} dimensions, this model has "
                f"{version.dimensions:,}; choose a smaller model, or another engine"
            )
        table = self._named(version.name)
        with self._explained():
            rows = self._relations(SQL("= {}").format(Literal(version.name)))
            if rows and read_mark(rows[0][2]) != version:
                raise InputError(
                    f"pgvector: {self._place} has a table {version.name} {self._described(version.name)}, this model "
                    f"has {version.dimensions} dimensions; drop that table, or choose another name with --alias"
                )
            if rows:
                return int(self._value(SQL("SELECT count(*) FROM {}").format(table)))
            columns = SQL(", ").join(
                SQL("{} {}").format(Identifier(name), SQL(kind)) for name, kind in column_types(schema).items()
            )
            with self._db.transaction():
                key = Identifier(DOCUMENT_ID)
                self._run(SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(table, columns, key))
                self._run(SQL("COMMENT ON TABLE {} IS {}").format(table, Literal(version.as_mark())))
        return 0

    def write(self, version: Version, documents: pa.Table) -> None:
        """Add documents, all or none."""
        with self._explained(), self._db.transaction(), self._db.cursor() as cursor:
            copy_rows(cursor, self._named(version.name), documents)

    def finish(self, version: Version) -> None:
        """Build the index, unless it is there, and let the planner know the table."""
        index, table = Identifier(_index_of(version)), self._named(version.name)
        parameters = SQL("m = {}, ef_construction = {}").format(Literal(LINKS), Literal(CONSTRUCTION))
        with self._explained():
            if not self._relations(SQL("= {}").format(Literal(_index_of(version)))):
                hnsw = SQL("CREATE INDEX {} ON {} USING hnsw ({} vector_ip_ops) WITH ({})")
                self._run(hnsw.format(index, table, Identifier(VECTOR), parameters))
                self._run(SQL("ANALYZE {}").format(table))

    def uses_index(self, version: Version, query: Float32, k: int) -> bool:
        """True if the planner would search by the index."""
        with self._explained():
            statement = SQL("EXPLAIN (FORMAT JSON) ") + self._search(version)
            return _index_of(version) in json.dumps(self._value(statement, (_as_text(query), k)))

    def search(self, version: Version, query: Float32, k: int, effort: Effort) -> list[str]:
        """The document_ids of the K nearest, the nearest first."""
        ef = max(effort.settings["ef"], k)  # pgvector returns no more than ef documents
        with self._explained():
            if ef != self._ef:
                self._run(SQL("SET hnsw.ef_search = {}").format(Literal(ef)))
                self._ef = ef
            return [name for (name,) in self._db.execute(self._search(version), (_as_text(query), k), prepare=True)]

    def _search(self, version: Version) -> Composed:
        names = Identifier(DOCUMENT_ID), self._named(version.name), Identifier(VECTOR)
        return SQL("SELECT {} FROM {} ORDER BY {} <#> %s::vector LIMIT %s").format(*names)

    def promote(self, version: Version, previous: Version | None) -> None:
        """Let it answer: the view is replaced in one transaction. What others may do with it stays."""
        view, table = self._named(self._alias), self._named(version.name)
        names = {POINTER: {"version": version.name, "previous": previous and previous.name}}
        create = SQL("VIEW {} AS SELECT * FROM {}").format(view, table)
        with self._explained(), self._db.transaction():
            try:
                with self._db.transaction():
                    self._run(SQL("CREATE OR REPLACE ") + create)
            except errors.InvalidTableDefinition:  # other columns, or other dimensions
                grants = self._grants()
                self._run(SQL("DROP VIEW {}").format(view))
                self._run(SQL("CREATE ") + create)
                for role, privilege in grants:
                    to = SQL("PUBLIC") if role == "PUBLIC" else Identifier(role)
                    self._run(SQL("GRANT {} ON {} TO {}").format(SQL(privilege), view, to))
            self._run(SQL("COMMENT ON VIEW {} IS {}").format(view, Literal(json.dumps(names))))

    def drop(self, version: Version) -> None:
        """Remove it."""
        with self._explained():
            self._run(SQL("DROP TABLE IF EXISTS {}").format(self._named(version.name)))

    def close(self) -> None:
        """End the connection, and with it the lock on the alias."""
        self._db.close()

    def _prepare(self) -> None:
        with self._explained():
            if self._db.info.server_version >= 140000:  # a killed export ends on the server, too
                self._run(SQL("SET client_connection_check_interval = '1s'"))
            self._run(SQL("SET lock_timeout = {}").format(Literal(f"{LOCK_S}s")))
            self._schema = str(self._value(SQL("SELECT current_schema()")))
            self._key = f"{MARK}:{self._schema}.{self._alias}"
            self._wait_for_lock()
            self._need_extension()

    def _need_extension(self) -> None:
        if self._value(SQL("SELECT count(*) FROM pg_extension WHERE extname = 'vector'")):
            return
        try:
            self._run(SQL("CREATE EXTENSION vector"))
        except psycopg.Error as error:
            raise InputError(
                f"pgvector: {self._place} has no extension vector ({_first_line(error)}); install pgvector on the "
                "server, and let an administrator of the database run: CREATE EXTENSION vector"
            ) from error

    def _wait_for_lock(self) -> None:
        """Lock the alias for this connection: other machines export, too, and a killed export may still end."""
        began = monotonic()
        while not self._value(SQL("SELECT pg_try_advisory_lock(hashtextextended({}, 0))").format(Literal(self._key))):
            if monotonic() - began > WAIT_S:
                raise InputError(
                    f"pgvector: another export to {self._alias} in {self._place} is under way; wait until it ends"
                )
            sleep(0.5)

    def _grants(self) -> list[tuple[str, str]]:
        """(role, privilege) of each grant on the view, but its owner's."""
        granted = SQL(
            "SELECT grantee, privilege_type FROM information_schema.role_table_grants"
            " WHERE table_schema = {} AND table_name = {} AND grantee <> grantor"
        )
        return [(str(role), str(kind)) for role, kind in self._db.execute(self._filled(granted))]

    def _relations(self, condition: Composed) -> list[Any]:
        """(name, kind, comment) of the tables, views and indexes of the schema whose name meets the condition."""
        statement = SQL(
            "SELECT relname, relkind::text, obj_description(oid, 'pg_class') FROM pg_class"
            " WHERE relnamespace = {}::regnamespace AND relname {}"
        ).format(SQL("quote_ident({})").format(Literal(self._schema)), condition)
        rows: list[Any] = self._db.execute(statement).fetchall()
        return rows

    def _described(self, name: str) -> str:
        """What the vectors of somebody's table are like."""
        statement = SQL(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = {}::regclass AND attname = {}"
        ).format(Literal(self._named(name).as_string(self._db)), Literal(VECTOR))
        row = self._db.execute(statement).fetchone()
        return f"with {row[0]}, not written by this model's export" if row else "without vectors"

    def _filled(self, statement: SQL) -> Composed:
        return statement.format(Literal(self._schema), Literal(self._alias))

    def _named(self, name: str) -> Identifier:
        return Identifier(self._schema, name)

    def _run(self, statement: SQL | Composed) -> None:
        self._db.execute(statement)

    def _value(self, statement: SQL | Composed, parameters: tuple[Any, ...] | None = None) -> Any:
        row = self._db.execute(statement, parameters).fetchone()
        return row[0] if row else None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an error of PostgreSQL into one line, without the password."""
        try:
            yield
        except (psycopg.Error, OSError) as error:
            reason = _first_line(error)
            reason = reason.replace(self._password, "…") if self._password else reason
            raise InputError(f"pgvector: {self._place}: {reason}; {_way_out(error, reason)}") from error


def _way_out(error: BaseException, reason: str) -> str:
    match error:
        case errors.UniqueViolation():
            return "another export writes there; wait until it ends, then the same command again"
        case errors.LockNotAvailable():
            return "somebody reads there in a long transaction; the same command again later"
        case errors.DependentObjectsStillExist():
            return "the columns or dimensions change, so drop what depends on it first"
        case errors.InsufficientPrivilege():
            return "give the role the right to create tables in this schema, or choose another role"
        case psycopg.OperationalError() if "password" in reason:
            return "put the right password into the address in EBR_ENGINE_URL, into PGPASSWORD or into ~/.pgpass"
        case psycopg.OperationalError():
            return "check that PostgreSQL runs there and that the address is right, then the same command again"
        case _:
            return "mend that, then the same command again"


def _first_line(error: BaseException) -> str:
    """What the server says, on one line."""
    detail = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((detail or str(error)).split())[:300].rstrip(".")


def _pointer(comment: str | None) -> dict[str, str | None] | None:
    """The versions that a view's comment names; None for the comment of others."""
    try:
        names: dict[str, str | None] = json.loads(comment or "null")[POINTER]
    except (ValueError, TypeError, KeyError):
        return None
    return names


def _index_of(version: Version) -> str:
    return f"{version.name}_hnsw"


def _as_text(query: Float32) -> str:
    """A vector as pgvector reads it."""
    return "[" + ",".join(map(str, np.asarray(query, np.float32).tolist())) + "]"
