"""The settings of a feature group that reads which documents a searcher has chosen before."""

from __future__ import annotations

from typing import Literal, assert_never

from pydantic import Field, model_validator

from ebr_core.frozen import Frozen
from ebr_core.towers.column_config import Column, ColumnName, Side

CLICKED = "history"  # the field by which a request brings the documents that its searcher clicked


class History(Frozen):
    """Documents that the searcher clicked before the search, or that a column of the searches lists.

    Each document of the training window has a vector. A search has the mean of those in its history, a document its
    own. Clicks count if they are strictly earlier than the search and of the training window.
    """

    kind: Literal["history"] = "history"
    column: ColumnName | None = Field(
        None,
        description="a column of the searches that lists documents by their document_id, such as memberships, in place "
        "of clicks; what its searcher clicks after the training window is left out of it",
    )
    half_life_days: float | None = Field(
        None, gt=0, description="days in which the weight of a click halves; null: all clicks weigh the same"
    )
    newest: int = Field(50, ge=1, le=1000, description="clicks that count, the newest ones")
    shared: bool = Field(
        False, description="true: one vector for a document on both sides; false: one in histories, another of its own"
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
