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
        description="largest share of a table's rows that may be dropped; above it, the run stops and shows examples",
    )
    memory_limit: str = Field(
        "4GB",
        pattern=r"^\d+(\.\d+)?\s*(MB|GB|TB)$",
        description="memory limit of DuckDB, which spills to disk above it",
    )
    threads: int = Field(
        2, ge=1, le=256, description="number of DuckDB threads; the output has the same bytes for any number"
    )
    judged_from: float = Field(1, ge=0, description="lowest grade at which a judged document is a target")
    blank_queries: Literal["dropped", "kept"] | None = Field(
        None,
        description="treatment of searches without a query, such as category pages; default: kept if an arm reads "
        "another input of a search, from columns or about the searcher",
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
        description="the names of the columns in your files, for all tables, as in {searched_at: ts, query: q}, or for "
        "one table, as in {results: {document_id: sku}}",
    )

    def identity_settings(self) -> dict[str, object]:
        """The settings that decide the extracted tables, among them the names of columns."""
        columns = self.model_dump(mode="json")["columns"]
        return super().identity_settings() | ({"columns": columns} if columns else {})


class _Acted(_Files):
    """Settings of layouts whose logs may hold several actions."""

    actions: dict[str, ActionWeight] = Field(
        {},
        description="the weight of each action on a result, as in {click: 1, cart: 3, purchase: 5}, with the names in "
        "the column action (in UBI action_name); actions without a weight are counted but left out; {}: clicks only",
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
    edges: Source | None = Field(None, description="the edges of the graph: source_id, target_id …; null: no graph")
    judgements: Source | None = Field(
        None, description="grades given by people: search_id, document_id, grade; null: none"
    )


class Ubi(_Acted):
    """OpenSearch User Behavior Insights."""

    layout: Literal["ubi"]
    queries: Source = Field(description="the ubi_queries table")
    events: Source = Field(description="the ubi_events table")
    documents: Source = Field(description="a row for each document: document_id, title, body …")
    judgements: Source | None = Field(
        None, description="grades given by people: search_id, document_id, grade; null: none"
    )
    click_actions: tuple[str, ...] = Field(
        ("click",),
        min_length=1,
        description="the values of action_name that count as clicks if actions gives no weights",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Ubi:
        if self.actions and "click_actions" in self.model_fields_set:
            raise ValueError("click_actions and actions both say which actions count; leave click_actions out")
        return self


class Impressions(_Acted):
    """One flat table with a row for each result that was shown or clicked, and a separate catalogue."""

    layout: Literal["impressions"]
    impressions: Source = Field(description="searched_at, query, document_id and, optionally, searcher_id, clicked …")
    documents: Source | None = Field(
        None, description="the catalogue; null: the documents in the log, with its column title"
    )
    edges: Source | None = Field(None, description="the edges of the graph: source_id, target_id …; null: no graph")
    judgements: Source | None = Field(
        None, description="grades given by people: search_id, document_id, grade; null: none"
    )
    search_gap_minutes: float = Field(
        30,
        ge=0,
        le=1440,
        description="without a search_id: the longest gap between consecutive rows of one search, which have the same "
        "searcher and query",
    )


class Esci(_Files):
    """Amazon Shopping Queries: E is a click; S, C and I are shown and not clicked; the column split gives the split."""

    layout: Literal["esci"]
    examples: Source = Field(description="the examples file: query, product_id, esci_label, split …")
    products: Source = Field(description="the products file: product_id, product_title …")
    version: Literal["small", "large"] = Field("small", description="the version of the collection to read")
    locales: tuple[str, ...] = Field((), description="the values of product_locale to read; []: all")


class Beir(_Files):
    """A judged collection: judged positives replace clicks, and the qrels files give the split."""

    layout: Literal["beir"]
    corpus: Source = Field(description="the documents: _id, title, text")
    queries: Source = Field(description="the queries: _id, text")
    train_qrels: Source | None = Field(None, description="the training judgements; null: none")
    validation_qrels: Source | None = Field(None, description="the validation judgements; null: none")
    test_qrels: Source = Field(description="the test judgements, which answer the questions")


class Simulated(_Reading):
    """A simulated world: a social search service in miniature, for users without a log."""

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
    """The cuts of the log in time, between sessions: the newest searches are the test, the next newest the validation.

    They follow from shares of the searches, two dates, or a column. Layouts with their own split (esci, beir) use
    none of these.
    """

    validation: float = Field(0.1, gt=0, lt=1, description="share of the searches in the validation")
    test: float = Field(0.1, gt=0, lt=1, description="share of the searches in the test")
    validation_from: datetime | None = Field(
        None, description="start of the validation (UTC); with test_from, replaces the shares"
    )
    test_from: datetime | None = Field(None, description="end of the validation and start of the test (UTC)")
    kind: Literal["time", "random", "last_click"] = Field(
        "time",
        description="random: sessions at random; last_click: each searcher's last session with a click. Both leak: "
        "they are for `ebr audit`, and random also for logs without times",
    )
    by: str | None = Field(
        None,
        min_length=1,
        description="a column of the searches (layout tables) with the values train, validation and test; for logs "
        "without times or with their own split",
    )
    train_share: float = Field(1, gt=0, le=1, description="share of the training sessions to keep, for `ebr audit`")
    until: datetime | None = Field(
        None, description="end of the log (UTC): searches, their late rows and late events from then on are not read"
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
