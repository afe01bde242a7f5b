"""The settings of the feature groups that are vectors: of a graph's nodes, from files, or by a pretrained encoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.frozen import Frozen
from ebr_core.towers.column_config import Column, ColumnName, Side


class Graph(Frozen):
    """An embedding of the social graph, trained in a separate stage and projected by the towers. [EBR §3.3]

    Only edges dated before the cut-off count. A searcher or document without an edge has no vector and lacks the group.
    """

    kind: Literal["graph"] = "graph"
    method: Literal["neighbours", "walks", "svd"] = Field(
        "neighbours",
        description="source of the node vectors: a random projection of the neighbourhoods, training on random walks, "
        "or a factorisation; the first takes a second and gives the same recall (LOG.md)",
    )
    epochs: int = Field(10, ge=1, le=1000, description="number of epochs of method: walks")
    dimensions: int = Field(128, ge=2, le=2048, description="dimensions of a node's vector")
    edges: tuple[str, ...] = Field((), description="kinds of edges to read; []: all")
    clicks: bool = Field(
        False,
        description="also count clicks of the training window as edges, with method: neighbours only; training on a "
        "pair leaves out the pair's own click",
    )
    undated_edges: bool = Field(
        False, description="read edges without a date; results may leak, because such edges may be from the test period"
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
    """A learned linear map: the identity plus a correction of low rank."""

    rank: int = Field(ge=1, le=1024, description="rank of the correction, which starts at 0")
    sides: Literal["queries", "both"] = Field("queries", description="the sides whose vectors it maps")


Adapt = Literal["none", "queries", "both"] | LowRank
ADAPT = (
    "the learned linear maps: none; queries alone, so that documents keep their vectors; both sides; or {rank: R}, a "
    "correction of rank R to the query vectors. All but `both` need towers.dimensions equal to the length of the "
    "vectors"
)


class VectorFile(Frozen):
    """A file of vectors, separate from the log."""

    path: str = Field(
        min_length=1,
        description="a Parquet or NDJSON file, or a glob, with document_id or query and a column of vectors",
    )
    column: ColumnName = Field("vector", description="the column of vectors")


VectorSource = Annotated[ColumnName | VectorFile, Field(union_mode="left_to_right")]


class GivenVectors(Frozen):
    """Your own vectors: a list of numbers in a column of the log, or in a separate file.

    A search has the vector of its query. A search or document without a vector lacks the group.
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
    """The vectors of queries and documents from a pretrained encoder. Each text is encoded once for all arms."""

    kind: Literal["encoder"] = "encoder"
    read: Literal["both", "searches", "documents"] = Field(
        "both", description="the sides whose texts are encoded; documents: answering queries needs no encoder"
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
