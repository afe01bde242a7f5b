"""The data that the training of an arm reads, besides its pairs."""

from __future__ import annotations

from typing import NamedTuple

from ebr_core.arrays import Int32, Int64
from ebr_core.scratch import IN_RAM, Scratch
from ebr_core.towers.tower_inputs import Inputs
from ebr_core.training.distillation import Teacher
from ebr_core.training.own_pairs import OwnPairs
from ebr_core.training.title_pairs import TitlePairs


class MisspeltCopies(NamedTuple):
    """The rows of misspelt copies of searches among the inputs: copy c of searches[t] is row first + c · T + t."""

    first: int
    per_search: int  # copies of each search
    searches: Int32  # (T,) increasing


class Corpus(NamedTuple):
    """The data that an arm reads."""

    inputs: Inputs
    trainable: Int32  # document rows that existed in the training window
    clicks: Int64  # (N,) clicks of each document in the training window
    copies: MisspeltCopies | None = None  # of the training searches
    titles: TitlePairs | None = None  # None if the arm takes no titles for queries
    teacher: Teacher | None = None  # the vectors of the encoder whose scores are a soft target
    own: OwnPairs | None = None  # what the pairs know of themselves, which is left out; None if they know nothing
    scratch: Scratch = IN_RAM  # holds arrays over all pairs
