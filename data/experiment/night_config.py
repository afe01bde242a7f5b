"""The `nightly` section of an experiment file: how a model that answers is kept fresh, night by night."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ebr_core.frozen import Frozen

Event = Literal["promoted", "kept", "refused", "failed"]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]


class Checks(Frozen):
    """What a new day is held against: the days before it. Refused days are not among them."""

    days: int = Field(14, ge=1, le=365, description="days before the new one that it is held against, at most")
    fewest: int = Field(5, ge=1, le=365, description="days before, below which nothing is held against them")
    volume: float = Field(
        0.5, gt=0, le=100, description="searches of the day may differ from the days' median by this share of it"
    )
    mads: float = Field(
        4,
        gt=0,
        le=100,
        description="click rate, shares of nulls, new documents and unseen queries may differ from their median by so "
        "many times the median distance from it, or the standard error of a share of the day's searches",
    )
    floor: float = Field(
        0.02, ge=0, le=1, description="and always by this much: a share that never moved has a distance of 0"
    )

    @model_validator(mode="after")
    def _few_within_all(self) -> Checks:
        if self.fewest > self.days:
            raise ValueError(f"fewest {self.fewest} is above days {self.days}: nothing would ever be checked")
        return self


class Notice(Frozen):
    """Who hears of a night. Secrets stay in the environment: a file names the variable, never the value."""

    url: str | None = Field(None, pattern=r"^https?://", description="a webhook that is sent the night as JSON")
    url_from: Variable | None = Field(None, description="the environment variable that holds the webhook's URL")
    token_from: Variable | None = Field(
        None, description="the environment variable whose value is sent as a bearer token"
    )
    command: tuple[str, ...] = Field(
        (), description="a program and its arguments; it reads the night's JSON from stdin"
    )
    on: tuple[Event, ...] = Field(("refused", "failed"), min_length=1, description="the nights that are told")
    timeout_s: float = Field(10, gt=0, le=600, description="after which the webhook or the command is given up")

    @field_validator("url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        if url and ("@" in url or "?" in url):
            raise ValueError("a URL with a user or a query may hold a secret; put it into a variable and say url_from")
        return url

    @model_validator(mode="after")
    def _somebody(self) -> Notice:
        if bool(self.url) + bool(self.url_from) + bool(self.command) != 1:
            raise ValueError("give exactly one of url, url_from and command")
        return self


class Nightly(Frozen):
    """How `ebr nightly` trains, judges and promotes."""

    arm: str | None = Field(
        None, description="the arm that is retrained; default: the only one, or the champion of `ebr run`"
    )
    checks: Checks = Checks()
    validation_days: int = Field(
        1, ge=1, le=60, description="days before the newest that choose the epoch and tune the index"
    )
    full_every: int = Field(
        7,
        ge=1,
        le=365,
        description="days after which a challenger is trained from nothing; in between from the champion",
    )
    drift_mads: float = Field(
        4,
        gt=0,
        le=100,
        description="a champion whose recall lies so many times the median distance below that of its last nights is "
        "answered by training from nothing, too",
    )
    tolerance: float = Field(
        0.005, gt=0, lt=1, description="recall that a challenger may lack, at most, to be equal: half a point"
    )
    remember: int = Field(
        30, ge=1, le=1000, description="champions, the last ones, against the best of which a challenger is held, too"
    )
    notice: Notice | None = Field(None, description="who hears of a night that went wrong")
