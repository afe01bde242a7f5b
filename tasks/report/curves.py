"""Pictures with a line for each arm, in the same colour on the whole page, and its name at the line's end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tasks.report.plots import RED, plain_axes, short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = (
    *("#2b6cb0", "#b45309", "#1a7f4b", "#b83280", "#6b46c1"),
    *("#0b7a85", "#7d6128", "#c2410c", "#527318", "#5468b8"),
)
DASHES = ("-", "--", "-.", ":")  # the palette again, with other dashes
GREYS = {
    "bm25": ("#222222", "--"),
    "logged": ("#222222", ":"),
    "popularity": ("#6b7280", "--"),
    "memory": ("#6b7280", ":"),
}
LABEL_INCHES = 0.15  # between two names at the ends of lines
LETTER_INCHES = 0.075

Curves = dict[str, list[tuple[int, float]]]  # (K, recall) by arm


class LineStyle(NamedTuple):
    """A colour and a dash."""

    color: str
    linestyle: str


class ValidationCurve(NamedTuple):
    """The validation recall of an arm with one seed, by epoch."""

    epochs: list[int]
    recall: list[float]
    by_cap: bool  # the cap ended the training, not convergence


def line_styles(arms: Iterable[str]) -> dict[str, LineStyle]:
    """The style of each arm, by its place; baselines have greys of their own, so that they take no arm's colour."""
    arms = list(dict.fromkeys(arms))
    coloured = [arm for arm in arms if arm not in GREYS and not arm.startswith("oracle")]
    styles = {
        arm: LineStyle(PALETTE[at % len(PALETTE)], DASHES[at // len(PALETTE) % len(DASHES)])
        for at, arm in enumerate(coloured)
    }
    return {arm: styles.get(arm) or LineStyle(*GREYS.get(arm, ("#667080", "-"))) for arm in arms}


def recall_by_k(curves: Curves, styles: Mapping[str, LineStyle], title: str) -> Figure:
    """Recall against K on a logarithmic axis, a line for each arm."""
    from matplotlib.figure import Figure

    ends = {arm: points[-1] for arm, points in curves.items()}
    width = 3.7 + LETTER_INCHES * max(map(len, curves), default=0)
    height = max(3.6, 0.8 + LABEL_INCHES * len(curves))
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.5 / width, 0.45 / height, 2.9 / width, (height - 0.75) / height))
    for arm, points in curves.items():
        line = np.array(points)
        axes.plot(line[:, 0], line[:, 1], marker="o", markersize=3, lw=1.4, **styles[arm]._asdict())
    values = [value for points in curves.values() for _, value in points] or [0.0, 1.0]
    lowest, highest = min(values), max(values)
    axes.set(xscale="log", ylim=(np.floor(lowest * 10) / 10, np.ceil(highest * 10) / 10 + 0.01))
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xticks(ks := sorted({k for points in curves.values() for k, _ in points}), [str(k) for k in ks])
    axes.minorticks_off()
    axes.tick_params(labelsize=8)
    axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
    axes.set_xlabel("K", fontsize=8.5)
    axes.set_ylabel("recall@K", fontsize=8.5)
    plain_axes(axes)
    axes.grid(axis="y", alpha=0.25)
    _name_lines(axes, ends, styles, LABEL_INCHES / (height - 0.75))
    return figure


def _name_lines(axes: Axes, ends: dict[str, tuple[int, float]], styles: Mapping[str, LineStyle], gap: float) -> None:
    """Write each name to the right of the axes, at the height of its line's end or as near as the others allow.

    ends: (x, y) of each line; gap: between two names, as a share of the height of the axes.
    """
    names = sorted(ends, key=lambda name: ends[name][1])
    low, high = axes.get_ylim()
    heights = spread([ends[name][1] for name in names], gap * (high - low), low, high)
    side = axes.get_yaxis_transform()  # x as a share of the width, y in data
    for name, at in zip(names, heights, strict=True):
        colour = styles[name].color
        axes.plot([1.0, 1.05], [ends[name][1], at], color=colour, lw=0.7, transform=side, clip_on=False)
        axes.text(1.07, at, name, color=colour, fontsize=8.5, va="center", transform=side)


def spread(heights: list[float], gap: float, low: float, high: float) -> list[float]:
    """Heights in ascending order, moved as little as possible (least squares) until each two are at least gap apart,
    and between low and high if there is room for all.

    >>> [round(height, 3) for height in spread([0.5, 0.5, 0.9], 0.2, 0, 1)]
    [0.4, 0.6, 0.9]
    """
    from scipy.optimize import isotonic_regression

    steps = gap * np.arange(len(heights))
    places = isotonic_regression(np.array(heights) - steps).x if heights else np.empty(0)
    fitted = np.clip(places, low, max(low, high - (steps[-1] if heights else 0))) + steps
    return [float(height) for height in fitted]


def training_courses(courses: dict[str, list[ValidationCurve]], styles: Mapping[str, LineStyle], k: int) -> Figure:
    """Validation recall by epoch, a panel for each arm, a line for each seed; a dot is the epoch that was kept, a red
    cross the end of a training that the cap ended."""
    from matplotlib.figure import Figure

    columns = min(4, len(courses))
    rows = -(-len(courses) // columns)
    figure = Figure(figsize=(0.5 + 1.75 * columns, 0.3 + 1.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(courses) :]:
        axes.set_axis_off()
    for axes, (arm, of_arm) in zip(panels.flat, courses.items(), strict=False):
        style: dict[str, Any] = {"color": styles[arm].color, "lw": 1.2}
        for course in of_arm:
            axes.plot(course.epochs, course.recall, **style)
            best = int(np.argmax(course.recall))
            axes.plot(course.epochs[best], course.recall[best], "o", color=styles[arm].color, markersize=4.5)
            if course.by_cap:
                axes.plot(course.epochs[-1], course.recall[-1], "x", color=RED, markersize=6, mew=1.6)
        ended = " (cap)" if any(course.by_cap for course in of_arm) else ""
        axes.set_title(f"{arm}{ended}", fontsize=8.5, color=RED if ended else styles[arm].color, loc="left")
        axes.tick_params(labelsize=7.5)
        axes.yaxis.set_major_formatter(lambda value, _: short_number(value))
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=4)
        plain_axes(axes)
        axes.grid(axis="y", alpha=0.25)
    figure.supxlabel("epoch", fontsize=8.5)
    figure.supylabel(f"validation recall@{k}", fontsize=8.5)
    return figure
