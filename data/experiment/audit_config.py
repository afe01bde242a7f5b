"""The `audit` section of an experiment file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ebr_core.frozen import Frozen


class Audit(Frozen):
    """The arms that `ebr audit` trains again, with splits that are common elsewhere and on less of the log."""

    arms: tuple[str, ...] = Field(min_length=1, max_length=3, description="the arms whose order and level are audited")
    splits: tuple[Literal["random", "last_click"], ...] = Field(
        ("random", "last_click"),
        description="random: sessions at random; last_click: each searcher's last session with a click is left out",
    )
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.1, 0.3, 1), description="shares of the training sessions, which show whether more data or a better arm helps"
    )
