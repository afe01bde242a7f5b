"""The `serving` and `bundle` sections of an experiment file: what models hold besides the columns of the layout."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ebr_core.frozen import Frozen

ColumnNames = tuple[Annotated[str, Field(min_length=1)], ...]


class Serving(Frozen):
    """The own columns of documents in models, for conditions and results."""

    columns: ColumnNames | None = Field(
        None,
        description="columns of the documents that models hold, for conditions and results; by default all columns "
        "of the documents table with short values, [] for none",
    )
    show: ColumnNames = Field(
        (), description="columns of the documents that results show, unless a request names others with show"
    )


class BundleContents(Frozen):
    """What a model holds besides its towers, index and documents."""

    include_model: bool = Field(
        False,
        description="true: the pretrained encoder that queries need travels with the model; false: the model opens "
        "where the encoder is",
    )
