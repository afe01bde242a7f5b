"""The section on rankers: their training data, their features, and the importance of these."""

from __future__ import annotations

from typing import Any

from ebr_core.rerank.trees import NDCG_K
from tasks.ranker_stages import BIAS
from tasks.report import plots
from tasks.report.formats import DASH, count, share
from tasks.report.page import Block, Bullets, Columns, Heading, Paragraph, Picture, tabulate
from tasks.report.result import label

SHOWN_FEATURES = 6  # features in a line


def ranker_blocks(rankers: list[dict[str, Any]]) -> list[Block]:
    """The section: a line for each ranker, the gain of its features as bars; empty where none was trained."""
    if not rankers:
        return []
    at = f"held-out nDCG@{NDCG_K}"
    columns: Columns[dict[str, Any]] = [
        ("ranker", _label),
        ("clicks", lambda ranker: count(ranker["clicks"])),
        ("pairs", lambda ranker: count(ranker["pairs"])),
        ("trees", lambda ranker: str(ranker["trees"])),
        (f"{at}, as retrieved", lambda ranker: _optional_share(ranker["held_out_retrieved"])),
        (f"{at}, ranked", lambda ranker: _optional_share(max(ranker["held_out"], default=None))),
        ("gain by feature", lambda ranker: largest(importance(ranker["gains"]), SHOWN_FEATURES)),
    ]
    caption = "Held out: the newest searches of the later half of the validation, their clicks weighted as in training."
    page: list[Block] = [Heading("Rankers"), tabulate(columns, rankers, caption), Bullets(_debiased(rankers))]
    if any(ranker["bias"] == "propensities" for ranker in rankers):
        rates = ", ".join(share(rate) for rate in rankers[0]["examined"][:SHOWN_FEATURES])
        clicks = f"{rankers[0]['shuffled_clicks']:,} clicks in shuffled lists"
        page.append(Paragraph(f"Examined, by position from the first, by {clicks}: {rates} …"))
    missing = {f"{name}: {why}" for ranker in rankers for name, why in ranker["missing"].items()}
    if missing:
        page.append(Paragraph(f"Left out, because these logs lack them: {'; '.join(sorted(missing))}.", "note"))
    bars = plots.importance({_label(ranker): importance(ranker["gains"]) for ranker in rankers})
    return [*page, Picture("rankers", plots.svg(bars), "Share of the gain by feature, each ranker")]


def importance(gains: dict[str, float]) -> dict[str, float]:
    """The share of the gain that splits on each feature brought, the largest first; a vector's dimensions together."""
    total = sum(gains.values())
    return {name: gain / total if total else 0.0 for name, gain in sorted(gains.items(), key=lambda gain: -gain[1])}


def largest(shares: dict[str, float], number: int) -> str:
    """The first of these shares as a list: text 61%, place 20%; those below 0.5% are left out."""
    return ", ".join(f"{name} {part:.0%}" for name, part in list(shares.items())[:number] if part >= 0.005) or "nothing"


def _debiased(rankers: list[dict[str, Any]]) -> list[str]:
    """A sentence for each treatment of position bias: the rankers that used it, and a description."""
    names = {kind: dict.fromkeys(ranker["arm"] for ranker in rankers if ranker["bias"] == kind) for kind in BIAS}
    return [f"{', '.join(names[kind])}: {words}." for kind, words in BIAS.items() if names[kind]]


def _label(ranker: dict[str, Any]) -> str:
    return label(ranker["arm"], ranker["seed"])


def _optional_share(value: float | None) -> str:
    return DASH if value is None else share(value)
