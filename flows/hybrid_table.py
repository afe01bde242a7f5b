"""The `retrievals`, `cascades`, `rankers` and `filters` side by side: whom each rescues, and what it costs."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from data.experiment import Experiment

SLICES = ("all", "misspelt")


def compare_retrievals(rows: list[dict[str, Any]], asked: Experiment) -> Table:
    """recall@10 (or the nearest K) by target set and slice, precision@10, documents scanned and returned, of every
    one."""
    k = min(asked.evaluation.ks, key=lambda k: abs(k - 10))
    named = [*asked.retrievals, *asked.cascades, *asked.rankers, *asked.filters]
    mine = [row for row in rows if row["arm"] in named and row["question"] is None]
    sets = sorted({row["targets"] for row in mine})
    there = {(row["targets"], row["slice"]) for row in mine}
    columns = [(targets, part) for targets in sets for part in SLICES if (targets, part) in there]
    values = {
        (row["arm"], row["seed"], row["targets"], row["slice"], row["metric"]): row["value"]
        for row in mine
        if row["metric"] in ("scanned", "returned") or (row["metric"] in ("recall", "precision") and row["k"] == k)
    }
    table = Table(
        title=f"retrievals: recall@{k} by targets and slice",
        title_justify="left",
        caption="Scanned: documents compared by an embedding, mean over the searches. Returned: documents listed.",
        caption_justify="left",
    )
    table.add_column("retrieval")
    for targets, part in columns:
        table.add_column(targets if part == "all" else f"{targets}, {part}", justify="right")
    for targets in sets:
        table.add_column(f"{targets}, precision@{k}", justify="right")
    table.add_column("scanned", justify="right")
    table.add_column("returned", justify="right")
    for name in named:
        for seed in sorted({run[1] for run in values if run[0] == name}, key=str):
            label = name if seed is None or len(asked.seeds) == 1 else f"{name}, seed {seed}"
            cells = [f"{values[name, seed, *column, 'recall']:.3f}" for column in columns]
            cells += [f"{values[name, seed, targets, 'all', 'precision']:.3f}" for targets in sets]
            costs = [f"{values[name, seed, sets[0], 'all', cost]:,.0f}" for cost in ("scanned", "returned")]
            table.add_row(label, *cells, *costs)
    return table
