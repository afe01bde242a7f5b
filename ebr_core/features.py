"""What the towers read of a log: the settings of each feature group, and of how the groups become one embedding."""

from __future__ import annotations

from typing import Annotated, Literal

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
        for side in ("searches", "documents"):
            meanings = [column.means for column in named(getattr(self, side))]
            if twice := sorted({meaning for meaning in meanings if meanings.count(meaning) > 1}):
                raise ValueError(f"{side}: {', '.join(twice)} stands twice")
        return self


class Values(_Sided):
    """Categories: each value of each column has a vector, a row's group is their mean. Null has none. [EBR §3.2]"""

    kind: Literal["values"] = "values"
    separator: str | None = Field(
        None, min_length=1, max_length=8, description="splits texts that hold several values; list columns need none"
    )
    allow_identifier: bool = Field(
        False, description="accept a column in which more than half of the values are different"
    )


class Numbers(_Sided):
    """Numbers, cut into buckets of equal counts in the training window; each bucket has a vector."""

    kind: Literal["numbers"] = "numbers"
    buckets: int = Field(16, ge=2, le=1024)


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


Group = Annotated[Values | Numbers | Graph, Field(discriminator="kind")]
GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)]


class Features(Frozen):
    """All that an arm reads: texts, and the groups beside them."""

    text: TextFeatures = TextFeatures()
    groups: dict[GroupName, Group] = Field(default_factory=dict)

    @property
    def graphs(self) -> dict[str, Graph]:
        """The groups that are graphs."""
        return {name: group for name, group in self.groups.items() if isinstance(group, Graph)}

    @property
    def search_columns(self) -> list[str]:
        """The columns of a search that its groups read."""
        groups = [group for group in self.groups.values() if not isinstance(group, Graph)]
        return sorted({column.column for group in groups for column in named(group.searches)})

    @property
    def query_columns(self) -> list[str]:
        """What a search may bring beside its text: those, and searcher_id where there is a graph."""
        return sorted({*self.search_columns, *(["searcher_id"] if self.graphs else [])})

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


class Towers(Frozen):
    """The two encoders f(Q) and g(D). [EBR §2.3]"""

    dimensions: int = Field(128, ge=2, le=2048, description="D, the length of an embedding")
    shared: bool = Field(True, description="one n-gram table for both towers, or one each")
    query_vectors: int = Field(
        1, ge=1, le=16, description="h embeddings of a query; the score of a document is the largest of h [DPSR 2020]"
    )
    prefixes: tuple[int, ...] = Field(
        (),
        description="the first so many dimensions, at unit length, for which the loss counts as well, as much as for "
        "all of them: prefixes that can be searched by themselves [Matryoshka 2022]",
    )
    fusion: Literal["additive", "mlp"] = Field(
        "additive",
        description="how the groups become one embedding: each of unit length by itself and summed with learned "
        "weights, or through one network over all of them",
    )
    hidden: int = Field(256, ge=2, le=8192, description="units of the hidden layer of fusion: mlp")

    @model_validator(mode="after")
    def _prefixes_are_shorter(self) -> Towers:
        if any(not 1 <= prefix < self.dimensions for prefix in self.prefixes):
            raise ValueError(f"prefixes: got {list(self.prefixes)}; each from 1 to {self.dimensions - 1}")
        return self


def without_removed(groups: object) -> object:
    """The groups as written, without those that an arm sets to null to be rid of what its base has."""
    return {name: group for name, group in groups.items() if group is not None} if isinstance(groups, dict) else groups


def refuse_text(groups: dict[str, Values | Numbers | Graph]) -> dict[str, Values | Numbers | Graph]:
    """The groups, none of which may take the name of the one that is always there, or of what joins them."""
    if "text" in groups:
        raise ValueError("text: n-grams are set under `text`, beside `groups`; choose another name")
    if "fusion" in groups:
        raise ValueError("fusion: this name is taken by towers.fusion; choose another")
    return groups
