"""The section on ensembles: their gain beside their cost, and the effect of the weights."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

from data.experiment.experiment_spec import BASELINES, arm_of
from ebr_core.search.index_specs import EXACT
from tasks.report import plots
from tasks.report.formats import DASH, optional, share, signed
from tasks.report.page import Block, Grid, Heading, Paragraph, Picture
from tasks.report.result import CostRow, ResultRow

FLAT = 0.005  # of validation recall: weights that lose no more count as equally good


def ensemble_blocks(
    ensembles: list[dict[str, Any]], spec: dict[str, Any], rows: list[ResultRow], costs: list[CostRow], k: int
) -> list[Block]:
    """The section: a line for each ensemble and each arm that it is compared with, then its weights.

    rows: of arms by themselves, all searches, the main targets. Empty where no ensemble was made.
    """
    if not ensembles:
        return []
    return [Heading("Ensembles"), _gains(spec, rows, costs, k), *_weights(ensembles, spec)]


def _compared(spec: dict[str, Any]) -> list[str]:
    """The ensembles, their parts, and every arm in a question with an ensemble, unless the baseline is not trained."""
    ensembles = spec["ensembles"]
    names = [*ensembles, *(part for ensemble in ensembles.values() for part in ensemble["parts"])]
    for question in spec["questions"].values():
        if question["baseline"] in (*BASELINES, *spec.get("lists", {})):  # every arm is compared with BM25
            continue
        arms = [arm_of(label) for label in (question["baseline"], *question["arms"])]
        names += arms if set(arms) & set(ensembles) else []
    return [name for name in dict.fromkeys(names) if name in ensembles or name in spec["arms"]]


def _gains(spec: dict[str, Any], rows: list[ResultRow], costs: list[CostRow], k: int) -> Grid:
    """Recall, and the gain over the best part, beside dimensions, index and training."""
    recalls = {(row.arm, row.seed): row for row in rows if (row.metric, row.k) == ("recall", k)}
    cost_values = {(cost.arm, cost.seed, cost.index, cost.cost): cost.value for cost in costs}
    indexes = (EXACT, *sorted(spec["indexes"]))
    lines = []
    for name in _compared(spec):
        parts = spec["ensembles"][name]["parts"] if name in spec["ensembles"] else []
        dimensions = sum(spec["arms"][part]["towers"]["dimensions"] for part in parts or [name])
        for seed in (seed for seed in spec["seeds"] if (name, seed) in recalls):
            row = recalls[name, seed]
            sizes = [cost_values.get((name, seed, index, "index_bytes"), nan) / 1e6 for index in indexes]
            lines.append(
                [
                    _label(name, seed, spec),
                    ", ".join(parts) or "one model",
                    share(row.value, row.low, row.high),
                    _over_best(
                        row.value, [(recalls[part, seed].value, part) for part in parts if (part, seed) in recalls]
                    ),
                    str(dimensions),
                    *(DASH if isnan(size) else f"{size:.2f} MB" for size in sizes),
                    optional("{:.1f} s", cost_values.get((name, seed, None, "train_s")) or None),
                    optional("{:,.0f}", cost_values.get((name, seed, EXACT, "queries_per_s")) or None),
                ]
            )
    headers = ["", "parts", f"recall@{k}", "over its best part", "dimensions", "exact index"]
    headers += [*(f"index {name}" for name in indexes[1:]), "training of all parts", "queries/s, exact"]
    caption = (
        "The gain is the plain difference of test recall, without an interval: the questions show what is certain. An "
        "ensemble costs what its parts cost together; compare it with one model of as many dimensions and as much "
        "training, and with one arm joined with itself under another seed."
    )
    return Grid(headers, lines, caption)


def _over_best(recall: float, parts: list[tuple[float, str]]) -> str:
    """The gain over the best part (the first of equal ones), and the name of that part."""
    best = max(parts, key=lambda part: part[0], default=None)
    return f"{signed(recall - best[0])} ({best[1]})" if best else DASH


def _label(name: str, seed: int, spec: dict[str, Any]) -> str:
    return name if len(spec["seeds"]) == 1 else f"{name}, seed {seed}"


def _weights(ensembles: list[dict[str, Any]], spec: dict[str, Any]) -> list[Block]:
    """The weights with their recall on the validation, and recall along each weight, the others fixed."""
    k, lines, curves = ensembles[0]["k"], [], {}
    for ensemble in ensembles:
        parts = spec["ensembles"][ensemble["arm"]]["parts"]
        label = _label(ensemble["arm"], ensemble["seed"], spec)
        weights = [f"{part} {weight:g}" for part, weight in zip(parts, ensemble["weights"], strict=True)]
        along = list(zip(parts[1:], ensemble["lines"], strict=True))
        lines.append(
            [
                label,
                ", ".join(weights),
                "validation" if ensemble["chosen"] else "the file",
                share(ensemble["recall"]),
                share(ensemble["equal"]),
                ", ".join(map(share, ensemble["alone"])),
                "; ".join(_flat(part, line, ensemble["recall"]) for part, line in along),
            ]
        )
        curves[label] = {f"{at}. {part}": line for at, (part, line) in enumerate(along, 2)}
    headers = ["", "weights", "chosen by", f"validation recall@{k}", "all 1", "each part alone"]
    words = "Validation recall along each weight, the others held at what was chosen"
    return [
        Heading("Weights", 3),
        Grid([*headers, f"weights that lose at most {share(FLAT)}"], lines),
        Picture("weights", plots.svg(plots.recall_by_weight(curves, k)), words),
        Paragraph(
            "Chosen on validation searches, applied to the test. The first weight is 1. A weight of 0 leaves its part "
            "out; where the line is flat, the weight does not matter.",
            "note",
        ),
    ]


def _flat(part: str, line: list[list[float]], best: float) -> str:
    """The range on its grid in which a weight loses no more than FLAT."""
    good = [weight for weight, value in line if value >= best - FLAT]
    return f"{part} {min(good):g} to {max(good):g}"
