"""Numbers and intervals as text, for tables and sentences alike."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan, nan

LEAST_COUNT = 10  # no share is as much: a number of documents
DASH = "–"
Written = Callable[..., str]  # a value, or a value and its interval, as text


def signed(value: float) -> str:
    """+.012 and −.012, +1,204 of documents: a difference as tables show it."""
    if isnan(value):
        return DASH
    shown = f"{value:+,.0f}" if abs(value) >= LEAST_COUNT else f"{value:+.3f}".replace("0.", ".", 1)
    return shown.replace("-", "−")


def ends(low: float, high: float) -> str:
    """[−.004, +.012], or a remark that there were too few searchers for an interval."""
    return "[too few to say]" if isnan(low) else f"[{signed(low)}, {signed(high)}]"


def share(value: float, low: float = nan, high: float = nan) -> str:
    """.683, with its interval unless that is NaN."""
    text = f"{value:,.0f}" if abs(value) >= LEAST_COUNT else f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")
    return text if isnan(low) else f"{text} [{share(low)}, {share(high)}]"


def three_digits(value: float, low: float = nan, high: float = nan) -> str:
    """0.683, with its interval unless that is NaN: a share as a terminal shows it."""
    return f"{value:.3f}" if isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def count(value: float) -> str:
    """1,204."""
    return f"{value:,.0f}"


def tau(value: float) -> str:
    """Kendall's τ with its sign: +0.33, −1.00."""
    return f"{value:+.2f}".replace("-", "−")


def optional(form: str, value: float | None) -> str:
    """The value in a form such as "{:.1f} s", or a dash where there is none."""
    return DASH if value is None else form.format(value)
