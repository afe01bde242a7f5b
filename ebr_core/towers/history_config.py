"""The settings of a feature group that reads which documents a searcher has chosen before."""

from __future__ import annotations

from typing import Literal, assert_never

from pydantic import Field, model_validator

from ebr_core.frozen import Frozen
from ebr_core.towers.column_config import Column, ColumnName, Side

CLICKED = "history"  # the field by which a request brings the documents that its searcher clicked


class History(Frozen):
    """Documents that the searcher clicked before the search, or that a column of the searches lists.

    Each document of the training window has a vector. A search has the mean of the vectors in its history, a document
    its own. Clicks count if they are in the training window and strictly earlier than the search.
    """

    kind: Literal["history"] = "history"
    column: ColumnName | None = Field(
        None,
        description="a column of the searches that lists documents by document_id, such as memberships, instead of "
        "clicks; documents that the searcher clicks after the training window are left out of it",
    )
    half_life_days: float | None = Field(
        None, gt=0, description="number of days in which the weight of a click halves; null: all clicks weigh the same"
    )
    newest: int = Field(50, ge=1, le=1000, description="number of clicks that count, the newest ones")
    shared: bool = Field(
        False, description="true: a document has one vector for both sides; false: one in histories and one of its own"
    )

    @model_validator(mode="after")
    def _list_has_no_times(self) -> History:
        if self.column is not None and self.half_life_days is not None:
            raise ValueError(
                f"half_life_days and column: {self.column} do not go together, because a list of documents has no "
                "times; leave one of them out"
            )
        return self

    def columns(self, side: Side) -> list[Column]:
        """The columns of a side that the group reads: the list of documents, if it reads one."""
        match side:
            case "searches":
                return [] if self.column is None else [Column(column=self.column, means=self.column)]
            case "documents":
                return []
            case _:
                assert_never(side)

    def reads(self, side: Side) -> bool:
        """True if the tower of a side reads the group: both do."""
        return True

    @property
    def reads_searcher(self) -> bool:
        """True if the group depends on the searcher: clicks do."""
        return self.column is None
