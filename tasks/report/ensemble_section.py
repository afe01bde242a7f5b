"""The section on ensembles: their gain beside their price, and how much hangs on the weights."""

from __future__ import annotations

from typing import Any, NamedTuple

from data.experiment import arm_of
from tasks.report import plots
from tasks.report.formats import NOTHING, optional, share, signed
from tasks.report.page import Block, Columns, Grid, Heading, Paragraph, Picture, tabulate
from tasks.report.result import CostRow, ResultRow

FLAT = 0.005  # of validation recall: weights that lose no more are as good


class Gain(NamedTuple):
    """A line of the table of gains: an ensemble or an arm with one seed."""

    label: str
    parts: list[str]
    dimensions: int
    recall: ResultRow
    best_part: tuple[str, float] | None
    costs: dict[tuple[str | None, str], float]  # by index and name


def ensemble_blocks(
    ensembles: list[dict[str, Any]], spec: dict[str, Any], rows: list[ResultRow], costs: list[CostRow], k: int
) -> list[Block]:
    """The section: a line for each ensemble and all that it is compared with, then its weights.

    rows: of arms by themselves, all searches, the main targets. Empty where no ensemble was made.
    """
    if not ensembles:
        return []
    return [Heading("Ensembles"), _gain_grid(spec, _gains(spec, rows, costs, k), k), *_weights(ensembles, spec)]


def _compared(spec: dict[str, Any]) -> list[str]:
    """The ensembles, their parts, and every arm that stands in a question with one."""
    ensembles = spec["ensembles"]
    names = [*ensembles, *(part for ensemble in ensembles.values() for part in ensemble["parts"])]
    for question in spec["questions"].values():
        arms = [arm_of(label) for label in (question["baseline"], *question["arms"])]
        names += arms if set(arms) & set(ensembles) else []
    return [name for name in dict.fromkeys(names) if name in ensembles or name in spec["arms"]]


def _gains(spec: dict[str, Any], rows: list[ResultRow], costs: list[CostRow], k: int) -> list[Gain]:
    """Everything that is compared, in every seed that was measured."""
    recalls = {(row.arm, row.seed): row for row in rows if (row.metric, row.k) == ("recall", k)}
    gains = []
    for name in _compared(spec):
        parts = spec["ensembles"][name]["parts"] if name in spec["ensembles"] else []
        dimensions = sum(spec["arms"][part]["towers"]["dimensions"] for part in parts or [name])
        for seed in (seed for seed in spec["seeds"] if (name, seed) in recalls):
            measured = [(part, recalls[part, seed].value) for part in parts if (part, seed) in recalls]
            best = max(measured, key=lambda part: part[1], default=None)
            spent = {(cost.index, cost.cost): cost.value for cost in costs if (cost.arm, cost.seed) == (name, seed)}
            gains.append(Gain(_label(name, seed, spec), parts, dimensions, recalls[name, seed], best, spent))
    return gains


def _label(name: str, seed: int, spec: dict[str, Any]) -> str:
    return name if len(spec["seeds"]) == 1 else f"{name}, seed {seed}"


def _gain_grid(spec: dict[str, Any], gains: list[Gain], k: int) -> Grid:
    """Recall, and the gain over the best part, beside dimensions, index and training."""
    columns: Columns[Gain] = [
        ("", lambda gain: gain.label),
        ("parts", lambda gain: ", ".join(gain.parts) or "one model"),
        (f"recall@{k}", lambda gain: share(gain.recall.value, gain.recall.low, gain.recall.high)),
        ("over its best part", _over_best),
        ("dimensions", lambda gain: str(gain.dimensions)),
    ]
    for index in ("exact", *sorted(spec["indexes"])):
        heading = "exact index" if index == "exact" else f"index {index}"
        columns.append((heading, lambda gain, index=index: _size(gain.costs.get((index, "index_bytes")))))  # type: ignore[misc]
    columns += [
        ("training of all parts", lambda gain: optional("{:.1f} s", gain.costs.get((None, "train_s")) or None)),
        ("queries/s, exact", lambda gain: optional("{:,.0f}", gain.costs.get(("exact", "queries_per_s")) or None)),
    ]
    caption = (
        "The gain is the plain difference of test recall, without an interval: the questions tell what is certain. An "
        "ensemble costs what its parts cost together; compare it with one model of as many dimensions and as much "
        "training, and with one arm joined with itself under another seed."
    )
    return tabulate(columns, gains, caption)


def _over_best(gain: Gain) -> str:
    if gain.best_part is None:
        return NOTHING
    part, recall = gain.best_part
    return f"{signed(gain.recall.value - recall)} ({part})"


def _size(size: float | None) -> str:
    return NOTHING if size is None else f"{size / 1e6:.2f} MB"


def _weights(ensembles: list[dict[str, Any]], spec: dict[str, Any]) -> list[Block]:
    """The weights with what they are worth on the validation, and recall along each, the others held."""
    k = ensembles[0]["k"]
    columns: Columns[dict[str, Any]] = [
        ("", lambda ensemble: _label(ensemble["arm"], ensemble["seed"], spec)),
        ("weights", lambda ensemble: ", ".join(_weight_of(ensemble, spec))),
        ("chosen by", lambda ensemble: "validation" if ensemble["chosen"] else "the file"),
        (f"validation recall@{k}", lambda ensemble: share(ensemble["recall"])),
        ("all 1", lambda ensemble: share(ensemble["equal"])),
        ("each part alone", lambda ensemble: ", ".join(map(share, ensemble["alone"]))),
        (f"weights that lose at most {share(FLAT)}", lambda ensemble: "; ".join(_flat(ensemble, spec))),
    ]
    curves = {
        _label(ensemble["arm"], ensemble["seed"], spec): {
            f"{at}. {part}": line
            for at, (part, line) in enumerate(zip(_parts(ensemble, spec)[1:], ensemble["lines"], strict=True), 2)
        }
        for ensemble in ensembles
    }
    words = "Validation recall along each weight, the others held at what was chosen"
    return [
        Heading("Weights", 3),
        tabulate(columns, ensembles),
        Picture("weights", plots.svg(plots.recall_by_weight(curves, k)), words),
        Paragraph(
            "Chosen on validation searches, applied to the test. The first weight is 1. A weight of 0 leaves its part "
            "out; where the line is flat, the weight does not matter.",
            "note",
        ),
    ]


def _parts(ensemble: dict[str, Any], spec: dict[str, Any]) -> list[str]:
    return list(spec["ensembles"][ensemble["arm"]]["parts"])


def _weight_of(ensemble: dict[str, Any], spec: dict[str, Any]) -> list[str]:
    return [f"{part} {weight:g}" for part, weight in zip(_parts(ensemble, spec), ensemble["weights"], strict=True)]


def _flat(ensemble: dict[str, Any], spec: dict[str, Any]) -> list[str]:
    """For each part but the first, from where to where on its grid a weight loses no more than FLAT."""
    ranges = []
    for part, line in zip(_parts(ensemble, spec)[1:], ensemble["lines"], strict=True):
        good = [weight for weight, value in line if value >= ensemble["recall"] - FLAT]
        ranges.append(f"{part} {min(good):g} to {max(good):g}")
    return ranges
