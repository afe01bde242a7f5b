"""What the towers read of a log: the settings of the text and of each feature group."""

from __future__ import annotations

from typing import Annotated, Literal, assert_never

from pydantic import Field, model_validator

from ebr_core.frozen import Frozen


class TextFeatures(Frozen):
    """Which n-grams a text becomes, on both sides alike. [EBR §3.1]"""

    char_ngrams: tuple[Annotated[int, Field(ge=1, le=8)], ...] = Field(
        (3,), description="lengths of the character n-grams of each word, counted with its two boundary marks"
    )
    word_ngrams: tuple[Annotated[int, Field(ge=1, le=3)], ...] = Field(
        (1,), description="lengths of the word n-grams; [] for none"
    )
    body: bool = Field(False, description="whether a document's body is read as well as its title")
    clicked_queries: bool = Field(
        False,
        description="whether a document also has the n-grams of the training queries that led to a click on it; they "
        "weigh as much as its own text [OmniSearchSage 2024]",
    )
    weighting: Literal["uniform", "idf", "learned"] = Field(
        "uniform", description="how n-grams weigh in their bag: alike, by their rarity, or as training finds"
    )
    buckets: int = Field(
        2**20, ge=2**8, le=2**26, description="hash space of all n-grams; only buckets seen in training cost memory"
    )
    remainders: int | None = Field(
        None,
        ge=2,
        le=2**24,
        description="with a number R, an n-gram is a row of a table of R rows (bucket modulo R) plus one of a table of "
        "buckets / R rows (the quotient), in place of a row of its own",
    )

    @model_validator(mode="after")
    def _some_unit(self) -> TextFeatures:
        if not self.char_ngrams and not self.word_ngrams:
            raise ValueError("char_ngrams and word_ngrams are both empty: a text would have no units")
        return self


class Column(Frozen):
    """A column under another name: values of columns that mean the same are the same value on both sides."""

    column: str = Field(min_length=1, description="its name in the log")
    means: str = Field(min_length=1, description="the name of the column that it is matched with")


Columns = tuple[Annotated[str, Field(min_length=1)] | Column, ...]


Side = Literal["searches", "documents"]
SIDES: tuple[Side, ...] = ("searches", "documents")


def named(columns: Columns) -> list[Column]:
    """Every column with what it means: where nothing else is said, its own name."""
    return [one if isinstance(one, Column) else Column(column=one, means=one) for one in columns]


class _Sided(Frozen):
    searches: Columns = Field((), description="columns of the searches")
    documents: Columns = Field((), description="columns of the documents")
    shared: bool = Field(True, description="one vector for a value on both sides, or one for each side")

    @model_validator(mode="after")
    def _some_column(self) -> _Sided:
        if not self.searches and not self.documents:
            raise ValueError("searches and documents are both empty: name at least one column")
        for side in SIDES:
            meanings = [column.means for column in self.columns(side)]
            if twice := sorted({meaning for meaning in meanings if meanings.count(meaning) > 1}):
                raise ValueError(f"{side}: {', '.join(twice)} stands twice")
        return self

    def columns(self, side: Side) -> list[Column]:
        """The columns of a side that the group reads."""
        match side:
            case "searches":
                return named(self.searches)
            case "documents":
                return named(self.documents)
            case _:
                assert_never(side)

    @property
    def reads_searcher(self) -> bool:
        """Whether it matters who searches: it does not."""
        return False


class Values(_Sided):
    """Categories: each value of each column has a vector, a row's group is their mean. Null has none. [EBR §3.2]"""

    kind: Literal["values"] = "values"
    separator: str | None = Field(
        None, min_length=1, max_length=8, description="splits texts that hold several values; list columns need none"
    )
    allow_identifier: bool = Field(
        False, description="accept a column in which more than half of the values are different"
    )

    def rows(self, known: int) -> int:
        """Rows of its table for a column of that many known values: one for each."""
        return known


class Numbers(_Sided):
    """Numbers, cut into buckets of equal counts in the training window; each bucket has a vector."""

    kind: Literal["numbers"] = "numbers"
    buckets: int = Field(16, ge=2, le=1024)

    def rows(self, known: int) -> int:
        """Rows of its table for a column with that many edges: one for each bucket."""
        return known + 1


class Graph(Frozen):
    """An embedding of the social graph, trained by a stage of its own, which the towers project. [EBR §3.3]

    Edges are those dated before the cut-off. A searcher or document without one has no vector: the group is missing.
    """

    kind: Literal["graph"] = "graph"
    method: Literal["neighbours", "walks", "svd"] = Field(
        "neighbours",
        description="how nodes get vectors: a random projection of their neighbourhoods, trained on random walks, or a "
        "factorisation; the first costs a second and finds as much (LOG.md)",
    )
    epochs: int = Field(10, ge=1, le=1000, description="of method: walks")
    dimensions: int = Field(128, ge=2, le=2048, description="of a node's vector")
    edges: tuple[str, ...] = Field((), description="kinds of edges to read; [] for all")
    clicks: bool = Field(False, description="whether clicks of the training window are edges too")
    undated_edges: bool = Field(
        False, description="read edges without a date, which may be from the test period: the results may leak"
    )

    def columns(self, side: Side) -> list[Column]:
        """The columns of a side that the group reads: none."""
        return []

    @property
    def reads_searcher(self) -> bool:
        """Whether it matters who searches: it does."""
        return True


Group = Annotated[Values | Numbers | Graph, Field(discriminator="kind")]
GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]


class Features(Frozen):
    """All that an arm reads: texts, and the groups beside them."""

    text: TextFeatures = TextFeatures()
    groups: dict[GroupName, Group] = Field(default_factory=dict)

    @property
    def group_names(self) -> list[str]:
        """The names of all groups in order, the text first, as the towers have them."""
        return ["text", *self.groups]

    @property
    def graphs(self) -> dict[str, Graph]:
        """The groups whose vectors a stage of their own makes."""
        found = {}
        for name, group in self.groups.items():
            match group:
                case Graph():
                    found[name] = group
                case Values() | Numbers():
                    pass
                case _:
                    assert_never(group)
        return found

    @property
    def column_groups(self) -> dict[str, Values | Numbers]:
        """The groups whose rows are bags of what columns hold."""
        graphs = self.graphs
        return {name: self.column_group(name) for name in self.groups if name not in graphs}

    def column_group(self, name: str) -> Values | Numbers:
        """The group of that name, which reads columns. Errors: it is of another kind."""
        match self.groups[name]:
            case (Values() | Numbers()) as group:
                return group
            case Graph():
                raise TypeError(f"groups.{name}: got a graph, expected a group that reads columns")
            case _:
                assert_never(self.groups[name])

    def columns(self, side: Side) -> list[str]:
        """The columns of a side that its groups read, in order."""
        return sorted({column.column for group in self.groups.values() for column in group.columns(side)})

    @property
    def query_columns(self) -> list[str]:
        """What a search may bring beside its text: columns, and searcher_id where a group reads who searches."""
        known = any(group.reads_searcher for group in self.groups.values())
        return sorted({*self.columns("searches"), *(["searcher_id"] if known else [])})

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


def without_removed(groups: object) -> object:
    """The groups as written, without those that an arm sets to null to be rid of what its base has."""
    return {name: group for name, group in groups.items() if group is not None} if isinstance(groups, dict) else groups


def refuse_text(groups: dict[str, Group]) -> dict[str, Group]:
    """The groups, none of which may take the name of the one that is always there, or of what joins them."""
    if "text" in groups:
        raise ValueError("text: n-grams are set under `text`, beside `groups`; choose another name")
    if "fusion" in groups:
        raise ValueError("fusion: this name is taken by towers.fusion; choose another")
    return groups
