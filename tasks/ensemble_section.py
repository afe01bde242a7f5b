"""What a report says of ensembles: their gain beside their price, and how much hangs on the weights."""

from __future__ import annotations

from typing import Any

from data.experiment import arm_of
from tasks import plots
from tasks.answers import Row, share, signed
from tasks.page import Block, Grid, Heading, Paragraph, Picture

FLAT = 0.005  # of validation recall: weights that lose no more are as good


def ensemble_blocks(
    ensembles: list[dict[str, Any]], asked: dict[str, Any], rows: list[Row], costs: list[Row], k: int
) -> list[Block]:
    """The section: a line for each ensemble and all that it is compared with, then its weights.

    rows: of arms by themselves, all searches, the main targets. Empty where no ensemble was made.
    """
    if not ensembles:
        return []
    return [
        Heading("Ensembles"),
        _gains(asked, rows, costs, k),
        *_weights(ensembles, asked),
    ]


def _compared(asked: dict[str, Any]) -> list[str]:
    """The ensembles, their parts, and every arm that stands in a question with one."""
    ensembles = asked["ensembles"]
    names = [*ensembles, *(part for its in ensembles.values() for part in its["parts"])]
    for question in asked["questions"].values():
        inside = [arm_of(label) for label in (question["baseline"], *question["arms"])]
        names += inside if set(inside) & set(ensembles) else []
    return [name for name in dict.fromkeys(names) if name in ensembles or name in asked["arms"]]


def _gains(asked: dict[str, Any], rows: list[Row], costs: list[Row], k: int) -> Grid:
    """Recall, and the gain over the best part, beside dimensions, index and training."""
    recalls = {(row["arm"], row["seed"]): row for row in rows if (row["metric"], row["k"]) == ("recall", k)}
    spent = {(row["arm"], row["seed"], row["index"], row["cost"]): row["value"] for row in costs}
    sized = sorted(asked["indexes"])
    table = []
    for name in _compared(asked):
        parts = asked["ensembles"][name]["parts"] if name in asked["ensembles"] else []
        dimensions = sum(asked["arms"][part]["towers"]["dimensions"] for part in parts or [name])
        for seed in (seed for seed in asked["seeds"] if (name, seed) in recalls):
            row, best = recalls[name, seed], _best_part(parts, seed, recalls)
            label = name if len(asked["seeds"]) == 1 else f"{name}, seed {seed}"
            value = share(row["value"], row["low"], row["high"])
            gain = "–" if best is None else f"{signed(row['value'] - best[1])} ({best[0]})"
            sizes = [spent.get((name, seed, index, "index_bytes")) for index in ("exact", *sized)]
            told = ["–" if size is None else f"{size / 1e6:.2f} MB" for size in sizes]
            trained, speed = (
                spent.get((name, seed, index, cost)) for index, cost in ((None, "train_s"), ("exact", "queries_per_s"))
            )
            price = [f"{trained:.1f} s" if trained else "–", f"{speed:,.0f}" if speed else "–"]
            table.append([label, ", ".join(parts) or "one model", value, gain, str(dimensions), *told, *price])
    headers = ["", "parts", f"recall@{k}", "over its best part", "dimensions", "exact index"]
    headers += [*(f"index {name}" for name in sized), "training of all parts", "queries/s, exact"]
    caption = (
        "The gain is the plain difference of test recall, without an interval: the questions tell what is certain. An "
        "ensemble costs what its parts cost together; compare it with one model of as many dimensions and as much "
        "training, and with one arm joined with itself under another seed."
    )
    return Grid(headers, table, caption)


def _best_part(parts: list[str], seed: int, recalls: dict[Any, Row]) -> tuple[str, float] | None:
    there = {part: recalls[part, seed]["value"] for part in parts if (part, seed) in recalls}
    return max(there.items(), key=lambda part: part[1]) if there else None


def _weights(ensembles: list[dict[str, Any]], asked: dict[str, Any]) -> list[Block]:
    """The weights with what they are worth on the validation, and recall along each, the others held."""
    table, curves = [], {}
    for its in ensembles:
        parts = asked["ensembles"][its["arm"]]["parts"]
        label = its["arm"] if len(asked["seeds"]) == 1 else f"{its['arm']}, seed {its['seed']}"
        weights = ", ".join(f"{part} {weight:g}" for part, weight in zip(parts, its["weights"], strict=True))
        alone = ", ".join(share(value) for value in its["alone"])
        flat = [_flat(part, line, its["recall"]) for part, line in zip(parts[1:], its["lines"], strict=True)]
        how = "validation" if its["chosen"] else "the file"
        table.append([label, weights, how, share(its["recall"]), share(its["equal"]), alone, "; ".join(flat)])
        named = zip([f"{at}. {part}" for at, part in enumerate(parts, 1)][1:], its["lines"], strict=True)
        curves[label] = dict(named)
    k = ensembles[0]["k"]
    headers = ["", "weights", "chosen by", f"validation recall@{k}", "all 1", "each part alone"]
    headers.append(f"weights that lose at most {share(FLAT)}")
    words = "Validation recall along each weight, the others held at what was chosen"
    return [
        Heading("Weights", 3),
        Grid(headers, table),
        Picture("weights", plots.svg(plots.recall_by_weight(curves, k)), words),
        Paragraph(
            "Chosen on validation searches, applied to the test. The first weight is 1. A weight of 0 leaves its part "
            "out; where the line is flat, the weight does not matter.",
            "note",
        ),
    ]


def _flat(part: str, line: list[list[float]], best: float) -> str:
    """From where to where on its grid a weight loses no more than FLAT."""
    good = [weight for weight, value in line if value >= best - FLAT]
    return f"{part} {min(good):g} to {max(good):g}"
