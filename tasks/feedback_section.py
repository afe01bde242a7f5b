"""What a report says of the feedback loop: how much was rated, and what the filters made of it."""

from __future__ import annotations

from typing import Any

from tasks.answers import share
from tasks.page import Block, Grid, Heading

SHOWN = 5  # features in a line


def feedback_blocks(told: list[dict[str, Any]]) -> list[Block]:
    """The section: a line for each arm whose results were rated, then one for each filter; empty where none was."""
    if not told:
        return []
    rounds = [its for its in told if "ratings" in its]
    filters = [its for its in told if "threshold" in its]
    page: list[Block] = [Heading("Feedback")]
    if rounds:
        lines = [
            [_label(its), f"{its['searches']:,}", f"{its['ratings']:,}", f"{its['good']:,}", _share(its)]
            for its in rounds
        ]
        caption = "Results of training searches that nobody clicked; what an earlier round rated is not rated again."
        page.append(Grid(["rated results of", "searches", "ratings", "good", "share good"], lines, caption))
    if filters:
        lines = [_filter(its) for its in filters]
        headers = [
            "filter",
            "examples",
            "keeps from",
            "held out: good",
            "kept",
            "precision",
            "recall",
            "gain by feature",
        ]
        caption = (
            "Held out: a quarter of the rated searches, which chose the threshold (a probability), with what they "
            "clicked as good; raters' mistakes count as they are."
        )
        page.append(Grid(headers, lines, caption))
    return page


def _label(its: dict[str, Any]) -> str:
    return f"{its['arm']}, seed {its['seed']}" if its["seed"] else str(its["arm"])


def _share(its: dict[str, Any]) -> str:
    return share(its["good"] / its["ratings"]) if its["ratings"] else "–"


def _filter(its: dict[str, Any]) -> list[str]:
    total = sum(its["gain"].values())
    gains = sorted(its["gain"].items(), key=lambda gain: -gain[1])[:SHOWN]
    most = ", ".join(f"{name} {gain / total:.0%}" for name, gain in gains if gain >= 0.005 * total and total)
    held = its["held_out"]
    values = [share(held[name]) for name in ("good", "kept", "precision", "recall")]
    return [_label(its), f"{its['examples']:,}", share(its["threshold"]), *values, most or "nothing"]
