"""The `nightly` section of an experiment file: how a served model is kept fresh, night by night."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from data.experiment.export_config import Export
from data.experiment.variable_names import Variable
from ebr_core.frozen import Frozen

Event = Literal["promoted", "kept", "refused", "failed"]


class Checks(Frozen):
    """The checks of a new day against earlier days, without refused days."""

    days: int = Field(14, ge=1, le=365, description="largest number of earlier days with which the new day is compared")
    fewest: int = Field(
        5,
        ge=1,
        le=365,
        description="smallest number of earlier days that the checks need; with fewer, nothing is checked",
    )
    volume: float = Field(
        0.5,
        gt=0,
        le=100,
        description="largest difference of the day's number of searches from the earlier days' median, as a share of "
        "that median",
    )
    mads: float = Field(
        4,
        gt=0,
        le=100,
        description="largest difference of click rate and of the shares of nulls, new documents and unseen queries "
        "from their median, as a multiple of the median distance from it or, if larger, of the standard error of a "
        "share of the day's searches",
    )
    floor: float = Field(
        0.02,
        ge=0,
        le=1,
        description="a difference that is always allowed, because a constant share has a median distance of 0",
    )

    @model_validator(mode="after")
    def _few_within_all(self) -> Checks:
        if self.fewest > self.days:
            raise ValueError(
                f"fewest {self.fewest} is above days {self.days}: nothing would ever be checked. Lower fewest"
            )
        return self


class Notice(Frozen):
    """The notices of nights. Secrets stay in the environment: the file names the variable, never its value."""

    url: str | None = Field(None, pattern=r"^https?://", description="a webhook that receives the night as JSON")
    url_from: Variable | None = Field(None, description="the environment variable that holds the webhook's URL")
    token_from: Variable | None = Field(
        None, description="the environment variable whose value is sent as a bearer token"
    )
    command: tuple[str, ...] = Field(
        (), description="a program and its arguments; the program reads the night's JSON from stdin"
    )
    on: tuple[Event, ...] = Field(
        ("refused", "failed"), min_length=1, description="the outcomes of a night that send a notice"
    )
    timeout_s: float = Field(10, gt=0, le=600, description="timeout of the webhook or the command")

    @field_validator("url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        if url and ("@" in url or "?" in url):
            raise ValueError(
                "a URL with a user or a query may hold a secret; put it into an environment variable named by url_from"
            )
        return url

    @model_validator(mode="after")
    def _somebody(self) -> Notice:
        if bool(self.url) + bool(self.url_from) + bool(self.command) != 1:
            raise ValueError("give exactly one of url, url_from and command")
        return self


class Nightly(Frozen):
    """The settings of `ebr nightly`, which trains, checks and promotes models."""

    arm: str | None = Field(None, description="the arm to retrain; default: the only arm, or the champion of `ebr run`")
    checks: Checks = Checks()
    validation_days: int = Field(
        1, ge=1, le=60, description="number of days before the newest day that choose the epoch and tune the index"
    )
    full_every: int = Field(
        7,
        ge=1,
        le=365,
        description="number of days after which a challenger is trained from scratch; in between, it starts from the "
        "champion",
    )
    drift_mads: float = Field(
        4,
        gt=0,
        le=100,
        description="the challenger is also trained from scratch if the champion's recall is this many median "
        "distances below the median of its last nights",
    )
    tolerance: float = Field(
        0.005,
        gt=0,
        lt=1,
        description="largest loss of recall at which a challenger still counts as equal: half a point",
    )
    remember: int = Field(
        30,
        ge=1,
        le=1000,
        description="number of most recent champions; a challenger is also compared with the best of them",
    )
    notice: Notice | None = Field(None, description="where to send notices of failed or refused nights")
    export: Export | None = Field(None, description="a search engine in which the champion also answers")
