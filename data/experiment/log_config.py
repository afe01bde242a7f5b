"""The `logs` and `split` sections of an experiment file: the location of the logs, and their split.

Relative paths start from the folder of the experiment file.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from data.experiment.action_weights import ActionWeight, refuse_names
from data.experiment.source_config import Source, escape_glob, refuse_secret
from data.world.world_config import World
from ebr_core.frozen import Frozen

LONGEST_ID, LONGEST_QUERY, LONGEST_TEXT = 1_000, 5_000, 1_000_000  # characters; a row that holds more is dropped


class _Reading(Frozen):
    """Settings that all layouts share."""

    max_dropped: float = Field(
        0.05,
        ge=0,
        le=1,
        description="share of a table's rows that may be dropped; if more would be, the run stops with examples",
    )
    memory_limit: str = Field(
        "4GB", pattern=r"^\d+(\.\d+)?\s*(MB|GB|TB)$", description="memory of DuckDB, which spills to disk above it"
    )
    threads: int = Field(2, ge=1, le=256, description="threads of DuckDB; the output has the same bytes for any number")
    judged_from: float = Field(1, ge=0, description="lowest grade at which a judged document is a target")
    blank_queries: Literal["dropped", "kept"] | None = Field(
        None,
        description="searches without a query, such as a page of categories; by default kept if an arm reads something "
        "else of a search, a group of columns or of the searcher",
    )

    @field_validator("*")
    @classmethod
    def _no_secret(cls, value: object) -> object:
        if isinstance(value, str):
            refuse_secret(value, "store the secret in DuckDB (CREATE PERSISTENT SECRET), see docs/security.md")
        return value

    def identity_settings(self) -> dict[str, object]:
        """The settings that decide the extracted tables, apart from the files' contents: not their location, nor the
        speed at which they are read."""
        keys = {"layout", "max_dropped", "click_actions", "version", "locales", "search_gap_minutes"} | (
            {"judged_from"} if isinstance(self, Beir) else set()
        )
        settings = {key: value for key, value in self.model_dump(mode="json").items() if key in keys}
        return settings | ({"blank_queries": "kept"} if self.blank_queries == "kept" else {})


class _Files(_Reading):
    """Settings that all layouts of the user's files share."""

    columns: dict[str, str | dict[str, str]] = Field(
        {},
        description="the names that columns have in your files, for every table, as in {searched_at: ts, query: q}, or "
        "for one, as in {results: {document_id: sku}}",
    )

    def identity_settings(self) -> dict[str, object]:
        """The settings that decide the extracted tables, among them the names of columns."""
        columns = self.model_dump(mode="json")["columns"]
        return super().identity_settings() | ({"columns": columns} if columns else {})


class _Acted(_Files):
    """Settings of layouts whose logs may hold several actions."""

    actions: dict[str, ActionWeight] = Field(
        {},
        description="the weight of each action on a result, as in {click: 1, cart: 3, purchase: 5}, named as in the "
        "column action (in UBI action_name); actions without a weight are counted and left out; {}: clicks alone",
    )

    @field_validator("actions")
    @classmethod
    def _no_other_meaning(cls, actions: dict[str, float]) -> dict[str, float]:
        refuse_names(actions)
        return actions

    def identity_settings(self) -> dict[str, object]:
        """The settings that decide the extracted tables, among them the weights of actions."""
        return super().identity_settings() | ({"actions": dict(sorted(self.actions.items()))} if self.actions else {})


class Tables(_Acted):
    """Five plain tables: searches, results, documents and, optionally, edges and judgements."""

    layout: Literal["tables"]
    searches: Source = Field(description="a row for each search: search_id, searched_at, query, searcher_id …")
    results: Source = Field(description="a row for each result shown: search_id, document_id, position, clicked")
    documents: Source = Field(description="a row for each document: document_id, title, body …")
    edges: Source | None = Field(
        None, description="the edges of the graph: source_id, target_id …; null: there is no graph"
    )
    judgements: Source | None = Field(
        None, description="grades that people gave: search_id, document_id, grade; null: there are none"
    )


class Ubi(_Acted):
    """OpenSearch User Behavior Insights."""

    layout: Literal["ubi"]
    queries: Source = Field(description="ubi_queries")
    events: Source = Field(description="ubi_events")
    documents: Source = Field(description="a row for each document: document_id, title, body …")
    judgements: Source | None = Field(
        None, description="grades that people gave: search_id, document_id, grade; null: there are none"
    )
    click_actions: tuple[str, ...] = Field(
        ("click",), min_length=1, description="the action_names that count as clicks, if actions gives no weights"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Ubi:
        if self.actions and "click_actions" in self.model_fields_set:
            raise ValueError("click_actions and actions both say which actions count; leave click_actions out")
        return self


class Impressions(_Acted):
    """One flat table with a row for each result that was shown, or clicked, and the catalogue beside it."""

    layout: Literal["impressions"]
    impressions: Source = Field(description="searched_at, query, document_id and, optionally, searcher_id, clicked …")
    documents: Source | None = Field(None, description="null: the documents of the log, with its column title")
    edges: Source | None = Field(
        None, description="the edges of the graph: source_id, target_id …; null: there is no graph"
    )
    judgements: Source | None = Field(
        None, description="grades that people gave: search_id, document_id, grade; null: there are none"
    )
    search_gap_minutes: float = Field(
        30,
        ge=0,
        le=1440,
        description="without a search_id: a searcher's rows with the same query are one search while none follows the "
        "one before it by more than this",
    )


class Esci(_Files):
    """Amazon Shopping Queries: E is a click; S, C and I are shown and not clicked; the split column gives the split."""

    layout: Literal["esci"]
    examples: Source = Field(description="the file of examples: query, product_id, esci_label, split …")
    products: Source = Field(description="the file of products: product_id, product_title …")
    version: Literal["small", "large"] = Field("small", description="the version of the collection to read")
    locales: tuple[str, ...] = Field((), description="product_locales to read; [] for all")


class Beir(_Files):
    """A judged collection: judged positives replace clicks, and the qrels files give the split."""

    layout: Literal["beir"]
    corpus: Source = Field(description="the documents: _id, title, text")
    queries: Source = Field(description="the queries: _id, text")
    train_qrels: Source | None = Field(None, description="the judgements to train on; null: there are none")
    validation_qrels: Source | None = Field(None, description="the judgements to choose by; null: there are none")
    test_qrels: Source = Field(description="the judgements that answer the questions")


class Simulated(_Reading):
    """The simulated world: a social search service in miniature, for users without logs."""

    layout: Literal["simulated"]
    world: World = World()

    def tables(self, folder: Path) -> Tables:
        """The tables that the world wrote into folder, which are read like any other logs."""
        settings = {key: getattr(self, key) for key in _Reading.model_fields}
        days = {table: f"{escape_glob(str(folder))}/{table}/*/*.parquet" for table in ("searches", "results")}
        plain = {table: str(folder / f"{table}.parquet") for table in ("documents", "edges")}
        return Tables(layout="tables", **days, **plain, **settings)


DatedFiles = Tables | Ubi | Impressions  # the layouts with times
AnyFiles = DatedFiles | Esci | Beir  # the layouts of the user's files
Logs = Annotated[Tables | Ubi | Impressions | Esci | Beir | Simulated, Field(discriminator="layout")]


def weights_of(logs: AnyFiles | Simulated) -> dict[str, float]:
    """Action → weight; empty where clicks are the only action."""
    return logs.actions if isinstance(logs, DatedFiles) else {}


class Split(Frozen):
    """Global cuts in time, at session starts: the newest searches are the test, those before them the validation.

    Shares of the searches, two dates, or a column that gives the part. Layouts with their own split (esci, beir) take
    none of them.
    """

    validation: float = Field(0.1, gt=0, lt=1, description="share of the searches")
    test: float = Field(0.1, gt=0, lt=1, description="share of the searches")
    validation_from: datetime | None = Field(None, description="UTC; with test_from, replaces the shares")
    test_from: datetime | None = Field(None, description="UTC; the test begins here, and the validation ends")
    kind: Literal["time", "random", "last_click"] = Field(
        "time",
        description="random: sessions at random; last_click: each searcher's last clicked session. Both leak, and are "
        "for `ebr audit`, and random for logs without times",
    )
    by: str | None = Field(
        None,
        min_length=1,
        description="a column of the searches (layout tables) that holds train, validation or test; for logs without "
        "times, or with a split of their own",
    )
    train_share: float = Field(1, gt=0, le=1, description="share of the training sessions to keep, for `ebr audit`")
    until: datetime | None = Field(
        None,
        description="UTC; searches, their late rows and late events are not read from then on, as if the log ended",
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
            raise ValueError(f"kind: {self.kind} takes no dates; leave out validation_from and test_from")
        if self.by and (self.kind != "time" or self.validation_from or self.until or self.without):
            raise ValueError("by takes no kind, dates, until or without: the column gives every search its part")
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation {self.validation} + test {self.test} leave nothing to train on; expected a sum below 1"
            )
        return self
