"""Columns of a log that feature groups name, and the two sides that they belong to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ebr_core.frozen import Frozen


class Column(Frozen):
    """A column that shares the values of another: equal values are the same value on both sides."""

    column: str = Field(min_length=1, description="the column's name in the log")
    means: str = Field(min_length=1, description="the name of the column whose values it shares")


ColumnName = Annotated[str, Field(min_length=1)]
Columns = tuple[ColumnName | Column, ...]

Side = Literal["searches", "documents"]
SIDES: tuple[Side, ...] = ("searches", "documents")


def with_meanings(columns: Columns | tuple[ColumnName, ColumnName]) -> list[Column]:
    """Every column with its meaning, which is the column's own name by default."""
    return [column if isinstance(column, Column) else Column(column=column, means=column) for column in columns]
