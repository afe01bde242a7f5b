"""The settings of all that the towers read from a log: the text and each feature group."""

from __future__ import annotations

from typing import Annotated, Literal, assert_never

from pydantic import Field, model_validator

from ebr_core.encoders.token_config import TokenConfig
from ebr_core.frozen import Frozen
from ebr_core.towers.column_config import SIDES, Column, ColumnName, Columns, Side, with_meanings
from ebr_core.towers.history_config import CLICKED, History
from ebr_core.towers.vector_config import Encoder, GivenVectors, Graph


class TextFeatures(Frozen):
    """The n-grams of a text, the same on both sides. [EBR §3.1]"""

    char_ngrams: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(
        (3,), description="lengths of the character n-grams of each word, which include its two boundary marks"
    )
    word_ngrams: tuple[Annotated[int, Field(ge=1, le=3)], ...] = Field(
        (1,), description="lengths of the word n-grams; []: none"
    )
    read: Literal["both", "searches", "documents", "none"] = Field(
        "both", description="the sides whose texts become n-grams; the other side needs a group of vectors or columns"
    )
    body: bool = Field(False, description="read a document's body as well as its title")
    clicked_queries: bool = Field(
        False,
        description="add to a document the n-grams of the training queries that led to a click on it; together they "
        "weigh as much as its own text [OmniSearchSage 2024]",
    )
    weighting: Literal["uniform", "idf", "learned"] = Field(
        "uniform", description="weights of the n-grams of a text: equal, by rarity, or learned in training"
    )
    buckets: int = Field(
        2**20, ge=2**8, le=2**26, description="hash space of all n-grams; only buckets that training sees use memory"
    )
    remainders: int | None = Field(
        None,
        ge=2,
        le=2**24,
        description="with a number R, an n-gram has no row of its own but is the sum of two rows: one from a table of "
        "R rows (bucket modulo R) and one from a table of buckets / R rows (the quotient)",
    )

    def reads(self, side: Side) -> bool:
        """True if the texts of a side become n-grams."""
        return self.read in ("both", side)

    @model_validator(mode="after")
    def _some_unit(self) -> TextFeatures:
        if not self.char_ngrams and not self.word_ngrams:
            raise ValueError("char_ngrams and word_ngrams are both empty: a text would have no units; set one of them")
        return self


class _ColumnGroup(Frozen):
    searches: Columns = Field((), description="columns of the searches")
    documents: Columns = Field((), description="columns of the documents")
    shared: bool = Field(True, description="true: a value has one vector for both sides; false: one for each side")

    @model_validator(mode="after")
    def _some_column(self) -> _ColumnGroup:
        if not self.searches and not self.documents:
            raise ValueError("searches and documents are both empty: name at least one column")
        for side in SIDES:
            meanings = [column.means for column in self.columns(side)]
            if duplicates := sorted({meaning for meaning in meanings if meanings.count(meaning) > 1}):
                raise ValueError(f"{side}: {', '.join(duplicates)} occurs twice; name each column once")
        return self

    def columns(self, side: Side) -> list[Column]:
        """The columns of a side that the group reads."""
        match side:
            case "searches":
                return with_meanings(self.searches)
            case "documents":
                return with_meanings(self.documents)
            case _:
                assert_never(side)

    def reads(self, side: Side) -> bool:
        """True if the tower of a side reads the group."""
        return bool(self.columns(side))

    @property
    def reads_searcher(self) -> bool:
        """True if the group depends on the searcher: this one does not."""
        return False


class Values(_ColumnGroup):
    """Categories: each value of a column has a vector, null has none, and a row's group is their mean. [EBR §3.2]"""

    kind: Literal["values"] = "values"
    separator: str | None = Field(
        None,
        min_length=1,
        max_length=8,
        description="separator in texts that hold several values; list columns need none",
    )
    allow_identifier: bool = Field(
        False, description="accept a column in which more than half of the values are distinct"
    )

    def rows(self, values: int) -> int:
        """The table rows of a column with that many known values: one for each."""
        return values


class Numbers(_ColumnGroup):
    """Numbers, divided into buckets with equal counts in the training window; each bucket has a vector."""

    kind: Literal["numbers"] = "numbers"
    buckets: int = Field(16, ge=2, le=1024, description="number of buckets of each column, with equal counts")

    def rows(self, edges: int) -> int:
        """The table rows of a column with that many bucket edges: one for each bucket."""
        return edges + 1


class Location(Frozen):
    """The places of searchers and documents: nearby places share cells of grids at several scales, and each cell has a
    vector.

    A row with an unknown place lacks the group.
    """

    kind: Literal["location"] = "location"
    searches: tuple[ColumnName, ColumnName] = Field(
        ("lat", "lon"),
        description="columns of the searches: latitude and longitude in degrees, or a city and its country",
    )
    documents: tuple[ColumnName, ColumnName] = Field(("lat", "lon"), description="the same columns of the documents")
    names: bool = Field(
        False,
        description="true: the columns hold a city and its country (a name or a code of two or three letters), which "
        "are looked up among the cities of GeoNames; of several cities with one name, the largest counts",
    )
    scales: tuple[Annotated[float, Field(ge=1, le=10_000)], ...] = Field(
        (30, 100, 300, 1000, 3000), min_length=1, max_length=12, description="widths of the cells in kilometres"
    )

    def columns(self, side: Side) -> list[Column]:
        """The columns of a side that the group reads."""
        match side:
            case "searches":
                return with_meanings(self.searches)
            case "documents":
                return with_meanings(self.documents)
            case _:
                assert_never(side)

    def reads(self, side: Side) -> bool:
        """True if the tower of a side reads the group."""
        return bool(self.columns(side))

    @property
    def shared(self) -> bool:
        """True if a cell has one vector for both sides: always."""
        return True

    def rows(self, cells: int) -> int:
        """The table rows of that many known cells: one for each."""
        return cells

    @property
    def reads_searcher(self) -> bool:
        """True if the group depends on the searcher: this one does not."""
        return False


Group = Annotated[Values | Numbers | Location | Graph | History | GivenVectors | Encoder, Field(discriminator="kind")]
ColumnGroup = Values | Numbers | Location  # a group whose rows are bags of columns' values
GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]


class Features(Frozen):
    """All that an arm reads: texts, and the groups besides them."""

    text: TextFeatures = TextFeatures()
    groups: dict[GroupName, Group] = Field(default_factory=dict)
    tokens: TokenConfig | None = None  # of an encoder that reads the texts in place of n-grams

    @property
    def group_names(self) -> list[str]:
        """The names of all groups, in the order of the towers: the text first."""
        return ["text", *self.groups]

    @property
    def graphs(self) -> dict[str, Graph]:
        """The groups whose vectors are those of the nodes of a graph."""
        return {name: group for name, group in self.groups.items() if isinstance(group, Graph)}

    @property
    def text_vectors(self) -> dict[str, GivenVectors | Encoder]:
        """The groups whose vectors belong to texts and documents: read from files, or made by an encoder."""
        return {name: group for name, group in self.groups.items() if isinstance(group, GivenVectors | Encoder)}

    @property
    def query_encoders(self) -> dict[str, Encoder]:
        """The groups for which a query has to be encoded."""
        encoders = {name: group for name, group in self.groups.items() if isinstance(group, Encoder)}
        return {name: group for name, group in encoders.items() if group.reads("searches")}

    @property
    def histories(self) -> dict[str, History]:
        """The groups whose rows are bags of documents."""
        return {name: group for name, group in self.groups.items() if isinstance(group, History)}

    @property
    def column_groups(self) -> dict[str, ColumnGroup]:
        """The groups whose rows are bags of columns' values."""
        others = {*self.graphs, *self.histories, *self.text_vectors}
        return {name: self.column_group(name) for name in self.groups if name not in others}

    def column_group(self, name: str) -> ColumnGroup:
        """The group of that name, which reads columns. Raises TypeError if it is of another kind."""
        match self.groups[name]:
            case (Values() | Numbers() | Location()) as group:
                return group
            case Graph() | History() | GivenVectors() | Encoder() as group:
                raise TypeError(f"groups.{name}: got a group of kind {group.kind}, expected one that reads columns")
            case _:
                assert_never(self.groups[name])

    def parts_of(self, side: Side) -> list[str]:
        """The names of all that the tower of a side reads."""
        text = ["text"] if self.text.reads(side) else []
        return text + [name for name, group in self.groups.items() if group.reads(side)]

    def columns(self, side: Side) -> list[str]:
        """The columns of a side that its groups read, in order."""
        return sorted({column.column for group in self.groups.values() for column in group.columns(side)})

    def vector_columns(self, side: Side) -> list[str]:
        """The columns of a side that hold vectors."""
        groups = [group for group in self.text_vectors.values() if isinstance(group, GivenVectors)]
        return sorted({source for group in groups if isinstance(source := group.source(side), str)})

    @property
    def query_columns(self) -> list[str]:
        """The data of a search besides its text: columns, and searcher_id if a group depends on the searcher."""
        reads_searcher = any(group.reads_searcher for group in self.groups.values())
        return sorted({*self.columns("searches"), *(["searcher_id"] if reads_searcher else [])})

    @property
    def listed_columns(self) -> list[str]:
        """The columns of the searches that list documents."""
        return sorted({history.column for history in self.histories.values() if history.column is not None})

    @property
    def reads_clicks(self) -> bool:
        """True if a group reads what the searcher clicked before, which goes on after the training window."""
        return any(history.column is None for history in self.histories.values())

    @property
    def request_columns(self) -> list[str]:
        """The columns that a request for a search may bring: those of the searches, and the clicks before it."""
        vectors = [name for group in self.text_vectors.values() for name in group.request_columns]
        return sorted({*self.columns("searches"), *([CLICKED] if self.reads_clicks else []), *vectors})

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


def drop_nulls(groups: object) -> object:
    """The groups as written, without those that an arm sets to null to remove a group of its base."""
    return {name: group for name, group in groups.items() if group is not None} if isinstance(groups, dict) else groups


def refuse_reserved_names(groups: dict[str, Group]) -> dict[str, Group]:
    """The groups, unchanged. Raises ValueError for a reserved name: a group `text` or `fusion`, or beside a history of
    clicks a column of the searches that is named like the field of a request with them."""
    if "text" in groups:
        raise ValueError("text: n-grams are set under `text`, next to `groups`; choose another name")
    if "fusion" in groups:
        raise ValueError("fusion: this name is taken by towers.fusion; choose another")
    clicks = [name for name, group in groups.items() if isinstance(group, History) and group.column is None]
    columns = {column.column for group in groups.values() for column in group.columns("searches")}
    if clicks and CLICKED in columns:
        raise ValueError(
            f"{clicks[0]}: a request names the clicks of its searcher {CLICKED}, and a column of the searches has the "
            "same name; rename the column under `columns` of the logs"
        )
    return groups
