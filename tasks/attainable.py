"""What the arms reach of what can be reached, by kind of document: a section of the report."""

from __future__ import annotations

from data.experiment import BASELINES, ORACLES
from tasks.answers import share
from tasks.page import Block, Grid, Heading, Paragraph
from tasks.result import Result
from tasks.slices import WHOLE

KIND = "kind: "


def attainable(result: Result) -> list[Block]:
    """Recall@K of every arm on truth beside the share of the oracle's that it is, of all searches and of those for each
    kind; nothing where there is no oracle."""
    cells: dict[str, dict[str, list[float]]] = {}
    counts: dict[str, int] = {}
    for row in result.levels:
        if (row["targets"], row["metric"], row["k"]) == ("truth", "recall", result.k) and (
            row["slice"] == WHOLE or row["slice"].startswith(KIND)
        ):
            cells.setdefault(row["arm"], {}).setdefault(row["slice"], []).append(row["value"])
            counts[row["slice"]] = row["n"]
    if ORACLES[-1] not in cells:
        return []
    means = {arm: {name: sum(of) / len(of) for name, of in its.items()} for arm, its in cells.items()}
    best = means[ORACLES[-1]]
    arms = sorted(means, key=lambda arm: (arm not in ORACLES, arm in BASELINES, -means[arm][WHOLE]))
    table = [
        [arm, *(f"{share(means[arm][name])}, {means[arm][name] / max(best[name], 1e-9):.0%}" for name in counts)]
        for arm in arms
    ]
    headers = [f"{name.removeprefix(KIND)} (n = {n:,})" for name, n in counts.items()]
    told = (
        f"Recall@{result.k} on what the searcher wanted, and the share of what the oracle reaches that knows text, "
        "place and friends. The other oracles do not see all of it: what they lack, no arm reads from the text."
    )
    return [
        Heading("What is attainable"),
        Paragraph(told),
        Grid(["arm", *headers], table, "by kind of document"),
    ]
