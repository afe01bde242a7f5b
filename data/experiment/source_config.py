"""Where a table of the logs comes from: a path, the result of SQL, or a table of a lake.

Paths may be files, globs or URLs that DuckDB can read (Parquet, CSV, NDJSON), or folders of Delta and Iceberg tables.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from ebr_core.frozen import Frozen

# Addresses that are refused: a user or a query in an address may hold a password or a key.
# A password may hold slashes: only figures and a slash behind a colon are a port and its path.
_SECRET = re.compile(r"^[a-z0-9+.-]+://([^/]*@|[^/:@]*:(?!\d*/)[^@]*@|.*\?.*=)", re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z0-9+.-]+://[^'\"\s]*")


def escape_glob(path: str) -> str:
    """A path as a glob that matches it alone: its own stars, brackets and question marks are escaped."""
    return path.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


def full_path(path: str, start: Path) -> str:
    """A relative path made absolute, from the folder start; ~ is the user's home, and an address stays."""
    return path if "://" in path else str((start / Path(path).expanduser()).absolute())


def refuse_secret(address: str | None, way_out: str) -> None:
    """Raises ValueError, without the address, if an address holds a user or a query."""
    if address and _SECRET.match(address):
        raise ValueError(f"an address with a user or a query may hold a secret, and this file is stored; {way_out}")


class Sql(Frozen):
    """A SELECT over files, run by DuckDB, instead of a path."""

    sql: str = Field(
        min_length=1, description="the statement, as in SELECT id AS document_id, name AS title FROM 'shop/*.parquet'"
    )
    folder: str = Field(
        "", description="the folder from which its relative paths start; default: the folder of this file"
    )

    @field_validator("sql")
    @classmethod
    def _no_secret(cls, sql: str) -> str:
        for address in _ADDRESS.findall(sql):
            refuse_secret(address, "store the secret in DuckDB (CREATE PERSISTENT SECRET), see docs/security.md")
        return sql


class LakeTable(Frozen):
    """A Delta or Iceberg table, instead of a path; a path to its folder means the same."""

    table: str = Field(min_length=1, description="its folder; with a catalog, its name there, as in db.results")
    catalog: str | None = Field(
        None,
        description="the Iceberg catalog: its address, as in sqlite:///lake/catalog.db, or its name in .pyiceberg.yaml",
    )
    snapshot: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="the version (Delta) or the snapshot id (Iceberg); default: the newest when a run begins",
    )

    @field_validator("catalog")
    @classmethod
    def _no_secret(cls, catalog: str | None) -> str | None:
        refuse_secret(catalog, "configure the catalog in .pyiceberg.yaml, and write its name")
        return catalog

    @field_validator("table")
    @classmethod
    def _no_secret_table(cls, table: str) -> str:
        refuse_secret(table, "copy or mount the table, and write its folder")
        return table


class LakeSnapshot(Frozen):
    """A table of a lake as it is in one snapshot, which a run chooses when it begins."""

    kind: Literal["delta", "iceberg"]
    name: str  # as the user wrote it, for messages
    place: str  # the folder of a Delta table, the metadata file of an Iceberg table
    snapshot: int | None  # null: an Iceberg table to which nothing was written yet

    @property
    def label(self) -> str:
        """The table and its snapshot, for messages and reports."""
        snapshot = f"version {self.snapshot}" if self.kind == "delta" else f"snapshot {self.snapshot}"
        return f"{self.name} ({self.kind.capitalize()}, {snapshot})"


class PinnedSql(Sql):
    """SQL with the snapshots of the lake tables that it reads."""

    lakes: dict[str, LakeSnapshot]  # by absolute path


def _path_or_keys(value: object) -> object:
    """The value, its keys read as SQL or as a table of a lake. Raises ValueError for anything else."""
    if isinstance(value, str | Sql | LakeTable | LakeSnapshot) or value is None:
        return value
    if isinstance(value, dict):
        main, model = ("table", LakeTable) if "table" in value else ("sql", Sql)
        if main in value and (unknown := [str(key) for key in value if key not in model.model_fields]):
            others = ", ".join(key for key in model.model_fields if key != main)
            raise ValueError(f"unknown key {unknown[0]!r}; allowed beside {main}: {others}")
        return model.model_validate(value)
    raise ValueError(f"got {value!r}; expected a path, {{sql: SELECT …}}, or {{table: …}}")


Source = Annotated[str | Sql | LakeTable | SkipJsonSchema[LakeSnapshot], BeforeValidator(_path_or_keys)]
