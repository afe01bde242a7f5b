"""Where the logs are and how they split: the `logs` and `split` sections of an experiment file.

Paths may be files, globs or URLs that DuckDB can read (Parquet, CSV, NDJSON). Relative ones start from the folder of
the experiment file.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from data.world.world_config import World
from ebr_core.frozen import Frozen

# What a path is refused for: a user or a query in an address may be a password or a key.
_SECRET = re.compile(r"^[a-z0-9+.-]+://([^/]*@|.*\?.*=)", re.IGNORECASE)
LONGEST_ID, LONGEST_QUERY, LONGEST_TEXT = 1_000, 5_000, 1_000_000  # characters; a row that holds more is dropped


def itself(path: str) -> str:
    """A path as a glob that matches it alone: a star or a bracket of its own must not be taken for one."""
    return path.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


def refuse_secret(address: str | None, way_out: str) -> None:
    """Raises ValueError, which does not say the address, where one with a user or a query stands in a file."""
    if address and _SECRET.match(address):
        raise ValueError(f"an address with a user or a query may hold a secret, and this file is kept; {way_out}")


class _Reading(Frozen):
    max_dropped: float = Field(
        0.05, ge=0, le=1, description="share of a table's rows that may be dropped before the run stops with examples"
    )
    memory_limit: str = Field(
        "4GB", pattern=r"^\d+(\.\d+)?\s*(MB|GB|TB)$", description="DuckDB spills to disk above it"
    )
    threads: int = Field(2, ge=1, le=256, description="of DuckDB; whatever their number, the same bytes come out")
    judged_from: float = Field(1, ge=0, description="the grade from which on a judged document is a target")

    @field_validator("*")
    @classmethod
    def _no_secret(cls, value: object) -> object:
        if isinstance(value, str):
            refuse_secret(value, "let DuckDB keep it (CREATE PERSISTENT SECRET), as in docs/security.md")
        return value

    def named_by(self) -> dict[str, object]:
        """What of it decides the extracted tables, the files' contents aside: not where they lie or how fast they
        are read."""
        reading = {"layout", "max_dropped", "click_actions", "version", "locales"} | (
            {"judged_from"} if isinstance(self, Beir) else set()
        )
        return {key: value for key, value in self.model_dump(mode="json").items() if key in reading}


class Tables(_Reading):
    """Five plain tables: searches, results, documents and, if there are any, edges and judgements."""

    layout: Literal["tables"]
    searches: str
    results: str
    documents: str
    edges: str | None = None
    judgements: str | None = None


class Ubi(_Reading):
    """OpenSearch User Behavior Insights."""

    layout: Literal["ubi"]
    queries: str = Field(description="ubi_queries")
    events: str = Field(description="ubi_events")
    documents: str
    judgements: str | None = None
    click_actions: tuple[str, ...] = Field(
        ("click",), min_length=1, description="the action_names that count as a click"
    )


class Esci(_Reading):
    """Amazon Shopping Queries: E is a click; S, C and I are shown and not clicked; the split column is the split."""

    layout: Literal["esci"]
    examples: str
    products: str
    version: Literal["small", "large"] = "small"
    locales: tuple[str, ...] = Field((), description="product_locales to read; [] for all")


class Beir(_Reading):
    """A judged collection: judged positives stand in for clicks, the qrels files are the split."""

    layout: Literal["beir"]
    corpus: str
    queries: str
    train_qrels: str | None = None
    validation_qrels: str | None = None
    test_qrels: str


class Simulated(_Reading):
    """The simulated world: a social search service in miniature, for those without logs at hand."""

    layout: Literal["simulated"]
    world: World = World()

    def tables(self, folder: Path) -> Tables:
        """The tables that the world wrote into folder, to be read like anybody's."""
        reading = {key: getattr(self, key) for key in _Reading.model_fields}
        days = {table: f"{itself(str(folder))}/{table}/*/*.parquet" for table in ("searches", "results")}
        plain = {table: str(folder / f"{table}.parquet") for table in ("documents", "edges")}
        return Tables(layout="tables", **days, **plain, **reading)


Logs = Annotated[Tables | Ubi | Esci | Beir | Simulated, Field(discriminator="layout")]


class Split(Frozen):
    """One global cut in time, at session starts: the newest searches are the test, those before them the validation.

    Either shares of the searches, or two dates. Layouts that bring their own split (esci, beir) take neither.
    """

    validation: float = Field(0.1, gt=0, lt=1, description="share of the searches")
    test: float = Field(0.1, gt=0, lt=1, description="share of the searches")
    validation_from: datetime | None = Field(None, description="UTC; with test_from, in place of the shares")
    test_from: datetime | None = None
    kind: Literal["time", "random", "last_click"] = Field(
        "time",
        description="random: sessions at random, last_click: each searcher's last clicked session; they leak, and are "
        "for `ebr audit` alone",
    )
    train_share: float = Field(
        1, gt=0, le=1, description="share of the training sessions that is kept, for `ebr audit`"
    )
    until: datetime | None = Field(
        None, description="UTC; searches from here on are not read, as if the log ended here"
    )
    without: tuple[date, ...] = Field((), description="days (UTC) whose searches are not read")

    @field_validator("validation_from", "test_from", "until")
    @classmethod
    def _in_utc(cls, instant: datetime | None) -> datetime | None:
        return instant.astimezone(UTC).replace(tzinfo=None) if instant and instant.tzinfo else instant

    @model_validator(mode="after")
    def _ordered(self) -> Split:
        if (self.validation_from is None) != (self.test_from is None):
            raise ValueError("validation_from and test_from go together: give both or neither")
        if self.validation_from and self.test_from and self.validation_from >= self.test_from:
            raise ValueError(f"validation_from {self.validation_from} is not before test_from {self.test_from}")
        if self.kind != "time" and self.validation_from:
            raise ValueError(f"kind: {self.kind} takes no dates: leave out validation_from and test_from")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave nothing to train on")
        return self
