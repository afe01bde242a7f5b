"""The ways in which a model can answer, alone, with BM25 or reordered, and the names of their rows in the results."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

Mode = Literal["ebr", "hybrid", "weighted", "reranked"]
MODES: tuple[Mode, ...] = ("ebr", "hybrid", "weighted")  # of every arm
RERANKED: Mode = "reranked"  # of a cascade or a ranker, whose row has its own name
SUFFIXES: dict[Mode, str] = {"ebr": "", "hybrid": "+bm25", "weighted": "+bm25-weighted", "reranked": ""}
LATEST = "+latest"  # behind the name of an arm whose searches know all clicks before them, not those of training alone
FUSION_DEPTH = 100  # documents of each list that are fused, at least


def row_of(arm: str, mode: Mode) -> str:
    """The name of the row of an arm, a cascade or a ranker that answers in this mode.

    >>> row_of("softmax", "weighted")
    'softmax+bm25-weighted'
    """
    return arm + SUFFIXES[mode]


def label_of(row: str, mode: Mode, index: str, own_indexes: Container[str]) -> str:
    """The row of a model in a question, with the index that answers, unless that is among own_indexes, or the row names
    a list that has an index of its own.

    >>> label_of("softmax+bm25", "hybrid", "tuned", ["exact"]), label_of("ranker", "reranked", "tuned", ["exact"])
    ('softmax+bm25@tuned', 'ranker')
    """
    return row if mode == RERANKED or index in own_indexes else f"{row}@{index}"


def arm_of_row(row: str) -> tuple[str, Mode]:
    """(the arm, its mode) of a row's name.

    >>> arm_of_row("softmax+bm25"), arm_of_row("softmax+latest")
    (('softmax', 'hybrid'), ('softmax', 'ebr'))
    """
    row = row.removesuffix(LATEST)
    for mode in ("weighted", "hybrid"):
        if row.endswith(SUFFIXES[mode]):
            return row.removesuffix(SUFFIXES[mode]), mode
    return row, "ebr"


def is_hybrid(row: str) -> bool:
    """True for the name of a row in which BM25 has a part."""
    return arm_of_row(row)[1] != "ebr"


def is_of_arm(row: str) -> bool:
    """True for the name of an arm's own row; False for a row that is made of it, a hybrid or one with latest clicks."""
    return arm_of_row(row)[0] == row
