"""The settings of the feature groups that are vectors: of a graph's nodes, from files, or by a pretrained encoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.frozen import Frozen
from ebr_core.towers.column_config import Column, ColumnName, Side


class Graph(Frozen):
    """An embedding of the social graph, trained by a stage of its own, which the towers project. [EBR §3.3]

    Only edges dated before the cut-off count. A searcher or document without an edge has no vector: the group is
    missing.
    """

    kind: Literal["graph"] = "graph"
    method: Literal["neighbours", "walks", "svd"] = Field(
        "neighbours",
        description="source of the nodes' vectors: a random projection of their neighbourhoods, training on random "
        "walks, or a factorisation; the first takes a second and gives the same recall (LOG.md)",
    )
    epochs: int = Field(10, ge=1, le=1000, description="epochs of method: walks")
    dimensions: int = Field(128, ge=2, le=2048, description="dimensions of a node's vector")
    edges: tuple[str, ...] = Field((), description="kinds of edges to read; [] for all")
    clicks: bool = Field(
        False,
        description="count clicks of the training window as edges too, for method: neighbours alone; a pair's own "
        "click is left out while the pair is learnt",
    )
    undated_edges: bool = Field(
        False, description="read edges without a date, which may be from the test period, so that results may leak"
    )

    @model_validator(mode="after")
    def _own_clicks_can_be_left_out(self) -> Graph:
        if self.clicks and self.method != "neighbours":
            raise ValueError(
                f"clicks: true and method: {self.method} do not go together, because a pair's own click cannot be left "
                "out of such vectors while the pair is learnt; use method: neighbours"
            )
        return self

    def columns(self, side: Side) -> list[Column]:
        """The columns of a side that the group reads: none."""
        return []

    def reads(self, side: Side) -> bool:
        """True if the tower of a side reads the group: both do."""
        return True

    @property
    def reads_searcher(self) -> bool:
        """True if the group depends on the searcher: a graph does."""
        return True


class LowRank(Frozen):
    """A map that is the identity and a correction of low rank, which is learned."""

    rank: int = Field(ge=1, le=1024, description="of the correction, which begins at 0")
    sides: Literal["queries", "both"] = Field("queries", description="whose vectors it maps")


Adapt = Literal["none", "queries", "both"] | LowRank
ADAPT = (
    "the linear maps that are learned: none, of the queries alone, so that documents keep their vectors, of both "
    "sides, or {rank: R}, a correction of rank R to the queries' vectors. All but `both` need towers.dimensions equal "
    "to the vectors' length"
)


class VectorFile(Frozen):
    """A file of vectors beside the log."""

    path: str = Field(
        min_length=1, description="Parquet or NDJSON with document_id, or query, and a column of vectors; globs too"
    )
    column: ColumnName = Field("vector", description="the column of vectors")


VectorSource = Annotated[ColumnName | VectorFile, Field(union_mode="left_to_right")]


class GivenVectors(Frozen):
    """Vectors of your own: a list of numbers in a column of the log, or in a file beside it.

    A search has the vector of its query's text. A search or document without one lacks the group.
    """

    kind: Literal["vectors"] = "vectors"
    searches: VectorSource | None = Field(
        None, description="a column of the searches, or {path: FILE, column: vector} with a column `query`"
    )
    documents: VectorSource | None = Field(
        None, description="a column of the documents, or {path: FILE, column: vector} with a column `document_id`"
    )
    adapt: Adapt = Field("both", description=ADAPT)

    @model_validator(mode="after")
    def _some_source(self) -> GivenVectors:
        if self.searches is None and self.documents is None:
            raise ValueError("searches and documents are both empty: name a column of vectors, or a file")
        return self

    def source(self, side: Side) -> ColumnName | VectorFile | None:
        """The column or file with the vectors of a side; None if it has none."""
        return self.searches if side == "searches" else self.documents

    def columns(self, side: Side) -> list[Column]:
        """The columns of values that the group reads: none, its vectors are read by themselves."""
        return []

    def reads(self, side: Side) -> bool:
        """True if the tower of a side reads the group."""
        return self.source(side) is not None

    @property
    def request_columns(self) -> list[str]:
        """The field by which a request brings the vector of its query: the column of the searches."""
        match self.searches:
            case None:
                return []
            case VectorFile(column=column):
                return [column]
            case str(column):
                return [column]

    @property
    def reads_searcher(self) -> bool:
        """True if the group depends on the searcher: this one does not."""
        return False


class Encoder(EncoderConfig):
    """The vectors that a pretrained encoder gives of queries and documents. Each text is encoded once for all arms."""

    kind: Literal["encoder"] = "encoder"
    read: Literal["both", "searches", "documents"] = Field(
        "both", description="whose texts are encoded; documents: queries need no encoder to be answered"
    )
    body: bool = Field(False, description="read a document's body as well as its title")
    adapt: Adapt = Field("both", description=ADAPT)

    @property
    def config(self) -> EncoderConfig:
        """The settings of the encoder alone."""
        return EncoderConfig(**self.model_dump(include=set(EncoderConfig.model_fields)))

    def columns(self, side: Side) -> list[Column]:
        """The columns of a side that the group reads: none."""
        return []

    def reads(self, side: Side) -> bool:
        """True if the tower of a side reads the group."""
        return self.read in ("both", side)

    @property
    def request_columns(self) -> list[str]:
        """The fields of a request that the group reads: none, only the text."""
        return []

    @property
    def reads_searcher(self) -> bool:
        """True if the group depends on the searcher: this one does not."""
        return False
