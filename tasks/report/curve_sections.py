"""The sections with a line for each arm: recall by K, and the course of training."""

from __future__ import annotations

from ebr_core.search.modes import is_hybrid
from tasks.report.curves import Curves, ValidationCurve, line_styles, recall_by_k, training_courses
from tasks.report.page import Block, Heading, Paragraph, Picture
from tasks.report.plots import svg
from tasks.report.result import Result, pivot, without_oracles
from tasks.report.target_sets import set_words

FAR_BELOW = ("popularity", "memory")


def curve_blocks(result: Result) -> list[Block]:
    """Recall by K of every arm, a picture for each target set."""
    panels = {targets: curves for targets in result.sets if (curves := _curves(result, targets))}
    styles = line_styles(result.arms)
    pictures = [
        Picture(
            f"recall-by-k-{targets}",
            svg(recall_by_k(curves, styles, f"{targets}: {set_words(targets)}")),
            f"Recall by K of every arm, targets: {set_words(targets)}",
        )
        for targets, curves in panels.items()
    ]
    left_out = " and ".join(f"`{name}`" for name in FAR_BELOW)
    return [Heading("Recall by K"), *pictures, Paragraph(f"{left_out} are in the table below.")] if pictures else []


def _curves(result: Result, targets: str) -> Curves:
    """The mean recall over seeds by arm, without lists that would crowd the picture: the baselines far below, and
    fusions with BM25 that are not served, each of which lies near its arm."""
    rows = [row for row in without_oracles(result.plain, targets) if row.metric == "recall" and not is_hybrid(row.arm)]
    rows = [row for row in rows if row.arm not in FAR_BELOW and ("+" not in row.arm or row.arm == result.champion)]
    ks = sorted({row.k for row in rows if row.k})
    return {str(arm): [(k, line[k]) for k in ks] for arm, line in pivot(rows, ["arm"], "k").iterrows()}


def course_blocks(result: Result) -> list[Block]:
    """Validation recall by epoch of every arm and seed; empty where nothing was trained."""
    courses: dict[str, list[ValidationCurve]] = {}
    for run in result.courses:
        measured = [epoch for epoch in run["epochs"] if epoch["validation_recall"] is not None]
        if not measured:  # a log without a validation
            continue
        epochs = [epoch["epoch"] for epoch in measured]
        recall = [epoch["validation_recall"] for epoch in measured]
        courses.setdefault(run["arm"], []).append(ValidationCurve(epochs, recall, run["ended"] == "cap"))
    if not courses:
        return []
    figure = training_courses(courses, line_styles(result.arms), result.k)
    capped = [arm for arm, of_arm in courses.items() if any(course.by_cap for course in of_arm)]
    page: list[Block] = [
        Heading("Training"),
        Picture("training", svg(figure), "Validation recall by epoch of every arm and seed"),
        Paragraph("A line for each seed. The dot is the epoch that was kept: the best on validation."),
    ]
    if capped:
        names = ", ".join(f"`{arm}`" for arm in capped)
        page.append(
            Paragraph(
                f"**Ended by the cap, not by convergence** (red cross): {names}. More epochs may change them.", "bad"
            )
        )
    return page
