"""What a report says of rankers: what they learnt from and read, and what of it mattered."""

from __future__ import annotations

from typing import Any

from ebr_core.trees import MEASURED_AT
from tasks import plots
from tasks.answers import share
from tasks.page import Block, Bullets, Grid, Heading, Paragraph, Picture
from tasks.ranking import BIAS

SHOWN = 6  # features in a line


def ranker_blocks(rankers: list[dict[str, Any]]) -> list[Block]:
    """The section: a line for each ranker, the gain of its features as bars; empty where none was trained."""
    if not rankers:
        return []
    table, panels = [], {}
    for its in rankers:
        label = its["arm"] if not its["seed"] else f"{its['arm']}, seed {its['seed']}"
        panels[label] = importance(its)
        most = ", ".join(f"{name} {part:.0%}" for name, part in list(panels[label].items())[:SHOWN] if part >= 0.005)
        before = "–" if its["held_out_retrieved"] is None else share(its["held_out_retrieved"])
        after = share(max(its["held_out"])) if its["held_out"] else "–"
        table.append(
            [label, f"{its['clicks']:,}", f"{its['pairs']:,}", str(its["trees"]), before, after, most or "nothing"]
        )
    at = f"held-out nDCG@{MEASURED_AT}"
    headers = ["ranker", "clicks", "pairs", "trees", f"{at}, as retrieved", f"{at}, ranked", "gain by feature"]
    missing = {f"{name}: {why}" for its in rankers for name, why in its["missing"].items()}
    bias = [f"{', '.join(_named(rankers, kind))}: {words}." for kind, words in BIAS.items() if _named(rankers, kind)]
    caption = "Held out: the newest searches of the later half of the validation, their clicks weighted as in training."
    page: list[Block] = [Heading("Rankers"), Grid(headers, table, caption), Bullets(bias)]
    if any(its["bias"] == "propensities" for its in rankers):
        rates = ", ".join(share(rate) for rate in rankers[0]["examined"][:SHOWN])
        clicks = rankers[0]["shuffled_clicks"]
        page.append(
            Paragraph(f"Examined, by position from the first, by {clicks:,} clicks in shuffled lists: {rates} …")
        )
    if missing:
        page.append(Paragraph(f"Left out, because these logs do not tell: {'; '.join(sorted(missing))}.", "note"))
    return [*page, Picture("rankers", plots.svg(plots.importance(panels)), "Share of the gain by feature, each ranker")]


def importance(its: dict[str, Any]) -> dict[str, float]:
    """The share of the gain that splits on each feature brought, the largest first; a vector's dimensions together."""
    total = sum(its["gains"].values())
    ordered = sorted(its["gains"].items(), key=lambda gain: -gain[1])
    return {name: gain / total if total else 0.0 for name, gain in ordered}


def _named(rankers: list[dict[str, Any]], kind: str) -> list[str]:
    return list(dict.fromkeys(its["arm"] for its in rankers if its["bias"] == kind))
