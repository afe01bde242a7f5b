"""The `nightly` section of an experiment file: how a served model is kept fresh, night by night."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from data.experiment.export_config import Export
from data.experiment.variable_names import Variable
from ebr_core.frozen import Frozen

Event = Literal["promoted", "kept", "refused", "failed"]


class Checks(Frozen):
    """Checks of a new day against the days before it, without refused days."""

    days: int = Field(14, ge=1, le=365, description="days before the new one that it is compared with, at most")
    fewest: int = Field(
        5, ge=1, le=365, description="days before the new one that the checks need; with fewer, nothing is checked"
    )
    volume: float = Field(
        0.5,
        gt=0,
        le=100,
        description="share of the days' median by which the day's number of searches may differ from it",
    )
    mads: float = Field(
        4,
        gt=0,
        le=100,
        description="click rate, shares of nulls, new documents and unseen queries may differ from their median by "
        "this many times the median distance from it, or the standard error of a share of the day's searches",
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
    """Notices of nights. Secrets stay in the environment: the file names the variable, never its value."""

    url: str | None = Field(None, pattern=r"^https?://", description="a webhook that receives the night as JSON")
    url_from: Variable | None = Field(None, description="the environment variable that holds the webhook's URL")
    token_from: Variable | None = Field(
        None, description="the environment variable whose value is sent as a bearer token"
    )
    command: tuple[str, ...] = Field(
        (), description="a program and its arguments; it reads the night's JSON from stdin"
    )
    on: tuple[Event, ...] = Field(
        ("refused", "failed"), min_length=1, description="the outcomes of nights that send a notice"
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
    """The settings by which `ebr nightly` trains, checks and promotes models."""

    arm: str | None = Field(None, description="the arm to retrain; default: the only arm, or the champion of `ebr run`")
    checks: Checks = Checks()
    validation_days: int = Field(
        1, ge=1, le=60, description="days before the newest on which the epoch is chosen and the index tuned"
    )
    full_every: int = Field(
        7,
        ge=1,
        le=365,
        description="days after which a challenger is trained from scratch; in between it starts from the champion",
    )
    drift_mads: float = Field(
        4,
        gt=0,
        le=100,
        description="the challenger is also trained from scratch if the champion's recall is this many times the "
        "median distance below that of its last nights",
    )
    tolerance: float = Field(
        0.005,
        gt=0,
        lt=1,
        description="recall by which a challenger may be lower and still count as equal: half a point",
    )
    remember: int = Field(
        30, ge=1, le=1000, description="last champions; a challenger is also compared with the best of them"
    )
    notice: Notice | None = Field(None, description="where notices of failed or refused nights go")
    export: Export | None = Field(None, description="a search engine in which the champion answers, too")
