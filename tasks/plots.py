"""Pictures of a run, without a screen."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure


def by_epoch(epochs: list[dict[str, Any]]) -> Figure:
    """Loss and validation recall by epoch."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = [epoch["epoch"] for epoch in epochs]
    left.plot(at, [epoch["loss"] for epoch in epochs], marker="o")
    left.set(title="training loss", xlabel="epoch", ylim=(0, None))
    right.plot(at, [epoch["validation_recall"] for epoch in epochs], marker="o", color="tab:green")
    right.set(title="validation recall@10", xlabel="epoch", ylim=(0, None))
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    return figure


def recall_by_k(curves: dict[str, list[tuple[int, float]]], title: str) -> Figure:
    """Recall against K on a logarithmic axis, a curve for each arm: (K, recall) pairs."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in sorted(curves.items(), key=lambda curve: -curve[1][-1][1]):
        axes.plot([k for k, _ in points], [value for _, value in points], marker="o", label=name)
    axes.set(xscale="log", xlabel="K", ylabel="recall@K", title=title, ylim=(0, None))
    axes.set_xticks(ks := sorted({k for points in curves.values() for k, _ in points}), [str(k) for k in ks])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def recall_by_scanned(tried: dict[str, list[dict[str, Any]]], title: str) -> Figure:
    """Recall against documents scanned, a curve for each index: the settings that its tuning tried. [EBR §4.1]"""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in sorted(tried.items()):
        for nlist in sorted({point["nlist"] for point in points}, key=str):
            its = sorted((point["scanned"], point["recall"]) for point in points if point["nlist"] == nlist)
            label = name if nlist is None else f"{name}, {nlist:,} cells"
            axes.plot([x for x, _ in its], [y for _, y in its], marker=".", label=label)
    axes.set(
        xscale="log", xlabel="documents scanned", ylabel="recall against exact search", title=title, ylim=(0, 1.02)
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure
