"""The `serving` and `bundle` sections of an experiment file: what models hold besides the columns of the layout."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ebr_core.frozen import Frozen

ColumnNames = tuple[Annotated[str, Field(min_length=1)], ...]


class Serving(Frozen):
    """Your own document columns in models, for conditions and results."""

    columns: ColumnNames | None = Field(
        None,
        description="document columns that models hold, for conditions and results; default: all columns of the "
        "documents table with short values; []: none",
    )
    show: ColumnNames = Field(
        (), description="document columns that results show, unless a request names others with show"
    )


class BundleContents(Frozen):
    """The contents of a model in addition to its towers, index and documents."""

    include_model: bool = Field(
        False,
        description="true: the model includes the pretrained encoder that queries need; false: it opens only where the "
        "encoder is available",
    )
