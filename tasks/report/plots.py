"""Pictures of a run, without a screen."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREEN, RED, GREY, PALE = "#1a7f4b", "#c0392b", "#8a8f98", "#c4c8ce"
COLOURS = {"better": GREEN, "worse": RED, "too few": PALE}  # of a finding; all others are grey


class Line(NamedTuple):
    """One difference of a forest plot: a label, the value, its interval by itself and in the family, and the
    finding."""

    label: str
    value: float
    low: float
    high: float
    family_low: float
    family_high: float
    finding: str
    faint: bool = False


def svg(figure: Figure) -> str:
    """The picture as an SVG element, the same text every time."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "ebr", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def by_epoch(epochs: list[dict[str, Any]]) -> Figure:
    """Loss and validation recall by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = [epoch["epoch"] for epoch in epochs]
    left.plot(at, [epoch["loss"] for epoch in epochs], marker="o")
    left.set(title="training loss", xlabel="epoch", ylim=(0, None))
    recalls = [np.nan if epoch["validation_recall"] is None else epoch["validation_recall"] for epoch in epochs]
    right.plot(at, recalls, marker="o", color="tab:green")
    right.set(title="validation recall", xlabel="epoch", ylim=(0, None))
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    return figure


def forest(panels: dict[str, list[Line]], margin: float | None, xlabel: str) -> Figure:
    """A panel for each target set, a line for each difference: the dot is the difference, the thick line its interval
    by itself, the thin one that of the family; green is better, red worse. A band shows what counts as a tie."""
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(line.label for lines in panels.values() for line in lines))
    heights = [0.12 + 0.14 * label.count("\n") + (0.16 if len(labels) < 15 else 0.09) for label in labels]
    ends = np.cumsum(heights)
    places = {
        label: float(ends[-1] - end + height / 2) for label, end, height in zip(labels, ends, heights, strict=True)
    }
    longest = max((len(line) for label in labels for line in label.split("\n")), default=0)
    width = 0.07 * longest + max(2.2, 3.4 - 0.3 * len(panels)) * len(panels)
    figure = Figure(figsize=(max(5, width), 1.1 + sum(heights)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        if margin:
            axes.axvspan(-margin, margin, color="#2b6cb0", alpha=0.08, lw=0)
        axes.axvline(0, color="#444", lw=0.8)
        for line in lines:
            _draw(axes, line, places[line.label])
        axes.set(title=title, ylim=(0, sum(heights)))
        axes.set_xlabel(xlabel, fontsize=8.5)
        axes.title.set_fontsize(10 if "\n" not in title else 8.5)
        axes.set_yticks([places[label] for label in labels], labels, fontsize=8.5)
        axes.tick_params(axis="x", labelsize=8)
        axes.locator_params(axis="x", nbins=5 if len(panels) < 4 else 4)
        axes.xaxis.set_major_formatter(lambda value, _: short_number(value, "+"))
        plain_axes(axes)
    return figure


def short_number(value: float, sign: str = "") -> str:
    """A number at an axis as the tables write it: .8, −.05; sign: "+" for a plus before gains.

    >>> short_number(0.85), short_number(-0.1, "+"), short_number(0.25, "+"), short_number(0, "+"), short_number(1.0)
    ('.85', '−.1', '+.25', '0', '1')
    """
    number = f"{abs(value):.6g}"
    signs = "−" if value < 0 else sign if value > 0 else ""
    return signs + (number.removeprefix("0") if "." in number else number)


def _draw(axes: Axes, line: Line, at: float) -> None:
    colour, alpha = COLOURS.get(line.finding, GREY), 0.4 if line.faint else 1
    axes.plot([line.family_low, line.family_high], [at, at], color=colour, lw=1, alpha=alpha)
    axes.plot([line.low, line.high], [at, at], color=colour, lw=3.2, alpha=alpha, solid_capstyle="butt")
    face = "white" if line.faint else colour
    axes.plot([line.value], [at], "o", color=colour, markerfacecolor=face, markersize=5, alpha=alpha)


def plain_axes(axes: Axes) -> None:
    """Remove the lines above and to the right, and add faint ones for the values."""
    axes.grid(axis="x", alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def recall_by_scanned(settings: dict[str, list[dict[str, Any]]], title: str) -> Figure:
    """Recall against documents scanned, a curve for each index: the settings that its tuning tried. [EBR §4.1]"""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in sorted(settings.items()):
        for variant in sorted({(point["nlist"], point["links"]) for point in points}, key=str):
            nlist, links = variant
            curve = sorted(
                (point["scanned"], point["recall"]) for point in points if (point["nlist"], point["links"]) == variant
            )
            label = f"{name}, {nlist:,} cells" if nlist else f"{name}, {links} links" if links else name
            axes.plot([x for x, _ in curve], [y for _, y in curve], marker=".", label=label)
    axes.set(
        xscale="log", xlabel="documents scanned", ylabel="recall against exact search", title=title, ylim=(0, 1.02)
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def recall_by_weight(panels: dict[str, dict[str, list[tuple[float, float]]]], k: int) -> Figure:
    """Recall along each weight of an ensemble, a panel for each ensemble, a line for each part but the first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * max(1, len(panels)), 3.2), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, lines) in zip(all_axes, panels.items(), strict=True):
        for part, line in lines.items():
            axes.plot([x / (1 + x) for x, _ in line], [y for _, y in line], marker=".", label=part)
        axes.set_xticks([0, 1 / 6, 0.5, 5 / 6, 1], ["0", ".2", "1", "5", "∞"])  # weight / (1 + weight)
        axes.set(title=name, xlabel="weight", ylabel=f"validation recall@{k}", xlim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def importance(panels: dict[str, dict[str, float]]) -> Figure:
    """The share of the gain that each feature brought as bars, a panel for each ranker."""
    from matplotlib.figure import Figure

    features = list(dict.fromkeys(name for shares in panels.values() for name in shares))
    figure = Figure(figsize=(2 + 2.6 * max(1, len(panels)), 0.9 + 0.24 * len(features)), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (ranker, shares) in zip(all_axes, panels.items(), strict=True):
        axes.barh(features, [shares.get(name, 0) for name in features], color="#2b6cb0")
        axes.set(xlabel="share of the gain", xlim=(0, 1))
        axes.set_title(ranker, fontsize=10)
        axes.tick_params(labelsize=8)
        plain_axes(axes)
    all_axes[0].invert_yaxis()
    return figure


def freshness(nights: list[dict[str, Any]], metric: str) -> Figure:
    """Recall on each new day of the champion that answered on it, and of a model that was never retrained.

    nights: dictionaries with day, decision, champion, never, rolled_back. Promotions and refusals are marked below.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    places = list(range(len(nights)))
    for key, label, colour in (
        ("champion", "nightly champion", "#1a7f4b"),
        ("never", "never retrained", "#8a8f98"),
    ):
        points = [(at, night[key]) for at, night in enumerate(nights) if night[key] is not None]
        axes.plot([at for at, _ in points], [value for _, value in points], marker="o", ms=3, color=colour, label=label)
    marks = (("promoted", "^", "#1a7f4b"), ("kept", "_", "#8a8f98"), ("refused", "x", "#c0392b"))
    low = min(night["never"] for night in nights if night["never"] is not None)
    for decision, marker, colour in marks:
        at = [place for place in places if nights[place]["decision"] == decision]
        axes.scatter(at, [low - 0.02] * len(at), marker=marker, color=colour, label=decision)
    for place in places:
        if nights[place]["rolled_back"]:
            axes.axvline(place + 0.5, color="#2b6cb0", lw=1, ls="--", label="rolled back")
    axes.set_xticks(places[::3], [nights[place]["day"][5:] for place in places[::3]], fontsize=8)
    axes.set(xlabel="newest day", ylabel=f"{metric} on it")
    axes.legend(fontsize=8, frameon=False, ncols=3)
    axes.grid(alpha=0.25)
    return figure
