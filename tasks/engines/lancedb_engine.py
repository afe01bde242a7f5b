"""LanceDB: a table for each version, and a table of one row, named by the alias, that says which one answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from warnings import catch_warnings

import lancedb
import pyarrow as pa
from lancedb.index import HnswSq

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from tasks.engines.search_engine import DOCUMENT_ID, MARK, VECTOR, Effort, LiveVersion, Version, read_mark

LINKS, CONSTRUCTION, PARTITION = 20, 300, 1 << 20  # of the graph; documents of a partition
SECOND_LOOKS = 4  # times K: documents that are compared once more by exact vectors
EFS = (40, 80, 160, 320, 640)
BATCH_BYTES = 16 << 20
INDEX = f"{VECTOR}_idx"
SOURCE_LINE = re.compile(r", /\S+\.rs:\d+:\d+")  # of LanceDB, in its messages
POINTER = {MARK: "alias"}  # metadata of the alias's table


class LanceEngine:
    """A SearchEngine (tasks.engines.search_engine) in a folder, or in a bucket of which LanceDB finds the keys."""

    def __init__(self, url: str, alias: str) -> None:
        self._alias, self._place = alias, _without_secret(url)
        with self._explained():
            self._db = lancedb.connect(url)
            self._names()
        self._open: dict[str, Any] = {}

    @property
    def address(self) -> str:
        """Its folder or bucket, without a user or a query."""
        return self._place

    @property
    def index(self) -> str:
        """The parameters of its index, in words."""
        return f"IVF_HNSW_SQ, m {LINKS}, ef_construction {CONSTRUCTION}, inner product, refine_factor {SECOND_LOOKS}"

    @property
    def efforts(self) -> Sequence[Effort]:
        """Its search settings, the cheapest first."""
        return [Effort({"ef": ef}, f".ef({ef}).refine_factor({SECOND_LOOKS}) in each search") for ef in EFS]

    def batch_rows(self, dimensions: int) -> int:
        """The number of documents that are written at a time."""
        return max(1, BATCH_BYTES // (4 * dimensions))

    def live(self) -> LiveVersion | None:
        """The version that answers; None if nothing has the alias. Raises InputError if it is not ours."""
        with self._explained():
            if self._alias not in self._names():
                return None
            table = self._db.open_table(self._alias)
            if _marked(table.schema) != POINTER[MARK]:
                raise InputError(
                    f"lancedb: {self._place} has a table {self._alias} that no export made; choose another name with "
                    "--alias (nightly.export.alias), or rename that table"
                )
            row = table.to_arrow().to_pylist()[0]
        by_name = {version.name: version for version in self.versions()}
        if row["table"] not in by_name:
            raise InputError(
                f"lancedb: {self._alias} names the table {row['table']}, which is gone; drop {self._alias} and export "
                "again"
            )
        return LiveVersion(by_name[row["table"]], by_name.get(row["previous"]))

    def versions(self) -> list[Version]:
        """All versions of the alias, unfinished ones included."""
        with self._explained():
            names = [name for name in self._names() if name.startswith(f"{self._alias}_")]
            marks = [_mark_of(self._db, name) for name in names]
        return [version for version in marks if version]

    def create(self, version: Version, schema: pa.Schema) -> int:
        """The number of documents that it has already; creates it if it is not there."""
        with self._explained():
            if version.name not in self._names():
                self._db.create_table(version.name, schema=schema.with_metadata({MARK: version.as_mark()}))
                return 0
            if (found := _mark_of(self._db, version.name)) != version:
                raise InputError(
                    f"lancedb: {self._place} has a table {version.name} of "
                    f"{f'{found.dimensions} dimensions' if found else 'somebody else'}, this model has "
                    f"{version.dimensions}; drop that table, or choose another name with --alias"
                )
            return int(self._db.open_table(version.name).count_rows())

    def write(self, version: Version, documents: pa.Table) -> None:
        """Add documents, all or none."""
        with self._explained():
            self._db.open_table(version.name).add(documents)

    def finish(self, version: Version) -> None:
        """Join the written pieces and build the index, unless it is there."""
        with self._explained():
            table = self._db.open_table(version.name)
            if any(index.name == INDEX for index in table.list_indices()):
                return
            with catch_warnings(action="ignore", category=UserWarning):  # nobody reads an unfinished version
                table.optimize(cleanup_older_than=timedelta(0))
            graph = HnswSq("dot", version.documents // PARTITION + 1, m=LINKS, ef_construction=CONSTRUCTION)
            table.create_index(VECTOR, config=graph, name=INDEX)

    def uses_index(self, version: Version, query: Float32, k: int) -> bool:
        """True if searches use the index."""
        with self._explained():
            return "ANNSubIndex" in self._query(version, query, k, self.efforts[0]).explain_plan()

    def search(self, version: Version, query: Float32, k: int, effort: Effort) -> list[str]:
        """The document_ids of the K nearest, the nearest first."""
        with self._explained():
            found: list[str] = self._query(version, query, k, effort).to_arrow()[DOCUMENT_ID].to_pylist()
        return found

    def _query(self, version: Version, query: Float32, k: int, effort: Effort) -> Any:
        if version.name not in self._open:
            self._open[version.name] = self._db.open_table(version.name)
        search = self._open[version.name].search(query, vector_column_name=VECTOR).distance_type("dot").limit(k)
        search = search.select([DOCUMENT_ID, "_distance"])
        return search.ef(max(effort.settings["ef"], k * SECOND_LOOKS)).refine_factor(SECOND_LOOKS)

    def promote(self, version: Version, previous: Version | None) -> None:
        """Let it answer: a new version of the alias's table, which LanceDB commits in one step."""
        names = {"table": version.name, "previous": previous and previous.name}
        schema = pa.schema([("table", pa.string()), ("previous", pa.string())], metadata=POINTER)
        with self._explained():
            row = pa.Table.from_pylist([names], schema)
            if self._alias in self._names():
                self._db.open_table(self._alias).add(row, mode="overwrite")
            else:
                self._db.create_table(self._alias, row)

    def drop(self, version: Version) -> None:
        """Remove it."""
        with self._explained():
            self._db.drop_table(version.name, ignore_missing=True)

    def close(self) -> None:
        """Nothing: there is no connection."""

    def _names(self) -> list[str]:
        """The names of all tables."""
        names, page = [], None
        while True:
            listed = self._db.list_tables(page_token=page)
            names += listed.tables
            if not (page := listed.page_token):
                return names

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an error of LanceDB into one line."""
        try:
            yield
        except InputError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            reason = SOURCE_LINE.sub("", str(error)).strip().splitlines()[0][:300]
            raise InputError(
                f"lancedb: {self._place}: {reason}; give a folder that can be written, or a bucket whose keys are in "
                "the environment, then the same command again"
            ) from error


def _without_secret(url: str) -> str:
    """
    >>> _without_secret("s3://key:secret@bucket/path?token=secret")
    's3://bucket/path'
    """
    scheme, separator, rest = url.split("?")[0].rpartition("://") if "://" in url else ("", "", url)
    return scheme + separator + (rest.rpartition("@")[2] if separator else rest)


def _marked(schema: pa.Schema) -> str:
    """What a table's metadata says of us; empty for the table of others."""
    return ((schema.metadata or {}).get(MARK.encode()) or b"").decode()


def _mark_of(db: Any, name: str) -> Version | None:
    """The version in a table; None for the table of others."""
    return read_mark(_marked(db.open_table(name).schema))
