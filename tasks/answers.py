"""What a run's results say, in sentences."""

from __future__ import annotations

import math
from typing import Any

from tasks.slices import WHOLE

Row = dict[str, Any]
MAIN = ("truth", "clicked", "judged", "recovered")  # the target set that answers, the first that is there
SETS = {
    "clicked": "what was clicked",
    "judged": "what was judged relevant",
    "recovered": "what a failed search's session clicked later",
    "truth": "what the searcher wanted",
}
COUNTED = 10  # no share is as much: a number of documents
FINDINGS = {"better": "is better than", "worse": "is worse than", "equal": "equals", "unclear": "cannot be told from"}


def main_targets(rows: list[Row]) -> str:
    """The target set that answers the questions."""
    there = {row["targets"] for row in rows}
    return next((name for name in MAIN if name in there), "clicked")


def metric_name(row: Row) -> str:
    """recall@10, mrr."""
    return f"{row['metric']}@{row['k']}" if row["k"] else str(row["metric"])


def signed(value: float) -> str:
    """+.012 and −.012, +1,204 of documents: a difference as it stands in tables."""
    if math.isnan(value):
        return "–"
    shown = f"{value:+,.0f}" if abs(value) >= COUNTED else f"{value:+.3f}".replace("0.", ".", 1)
    return shown.replace("-", "−")


def ends(low: float | None, high: float | None) -> str:
    """[−.004, +.012], or that there were too few searchers for it."""
    if low is None or high is None or math.isnan(low):
        return "[too few to say]"
    return f"[{signed(low)}, {signed(high)}]"


def share(value: float, low: float | None = None, high: float | None = None) -> str:
    """.683, with its interval where there is one."""
    text = f"{value:,.0f}" if abs(value) >= COUNTED else f"{value:.3f}".replace("0.", ".", 1).replace("-", "−")
    if low is None or high is None or math.isnan(low):
        return text
    return f"{text} [{share(low)}, {share(high)}]"


def questions(rows: list[Row]) -> dict[str, list[Row]]:
    """The compared arms of each question, over all searches, in the order of the file of results."""
    asked: dict[str, list[Row]] = {}
    for row in rows:
        if row["question"] is not None and row["baseline"] is not None and row["slice"] == WHOLE:
            asked.setdefault(row["question"], []).append(row)
    return asked


def verdict_of(row: Row) -> str:
    """What became of the claim, or, without one, what was found: of documents scanned, more or less of them."""
    found = {"better": "more", "worse": "less"} if row["metric"] == "scanned" else {}
    return str(row["verdict"] or found.get(row["finding"], row["finding"]))


def answer(row: Row, title: str) -> str:
    """One arm's answer to its question: what was found, how sure that is, and what became of the claim."""
    about = f"**{row['question']}**" + (f", {title}" if title else "")
    if row["finding"] == "too few":
        few = f"only {row['clusters']} searchers (or sessions): too few for an interval"
        return f"{about}: `{row['arm']}` − `{row['baseline']}` = {signed(row['difference'])} {metric_name(row)}, {few}."
    words = FINDINGS | ({"better": "scans more than", "worse": "scans less than"} if row["metric"] == "scanned" else {})
    found = f"`{row['arm']}` {words[row['finding']]} `{row['baseline']}`"
    inside = row["finding"] == "equal" or (row["claim"], row["verdict"]) == ("equal", "holds")
    within = f", within ± {share(row['margin'])}" if inside else ""
    number = f"{signed(row['difference'])} {metric_name(row)} {ends(row['family_low'], row['family_high'])}"
    return f"{about}: {found}{within}: {number}. {_verdict(row)}".rstrip()


def _verdict(row: Row) -> str:
    if row["verdict"] is None:
        return ""
    told = f'The claim "{row["claim"]}": **{row["verdict"]}**'
    return f"{told}; {_still_open(row)}." if row["verdict"] == "undecided" else f"{told}."


def _still_open(row: Row) -> str:
    """Why a claim is undecided, and what this sample could have decided."""
    reach, margin = (row["family_high"] - row["family_low"]) / 2, share(row["margin"])
    could = f"a true difference of {share(row['detectable'])} would have been shown four times out of five"
    if row["claim"] != "equal":
        return f"if they differ, then by less than {margin}; {could}" if row["finding"] == "equal" else could
    if row["finding"] in ("better", "worse"):
        return f"they differ, but whether by more than ± {margin} is open"
    if reach >= row["margin"]:
        return f"the interval reaches ± {share(reach)}, so equality within ± {margin} was out of reach"
    return f"equality within ± {margin} is neither shown nor ruled out; {could}"


def for_whom(rows: list[Row], whole: Row) -> str | None:
    """Where an arm's difference is largest and smallest among the slices that are not small; None without slices."""
    mine = [
        row
        for row in rows
        if (row["question"], row["arm"], row["targets"]) == (whole["question"], whole["arm"], whole["targets"])
        and row["slice"] != WHOLE
        and row["difference"] is not None
        and not row["small"]
    ]
    if len(mine) < 2:
        return None
    highest, lowest = max(mine, key=lambda row: row["difference"]), min(mine, key=lambda row: row["difference"])
    said = [
        f"{row['slice']} (n = {row['n']:,}) {signed(row['difference'])} "
        + ends(row["difference_low"], row["difference_high"])
        for row in (highest, lowest)
    ]
    return f"`{whole['arm']}` against `{whole['baseline']}`: highest for {said[0]}, lowest for {said[1]}."


def verdict_tags(rows: list[Row], arm: str | None = None) -> dict[str, str]:
    """verdict.P02 = holds: what became of each claim on the main target set, verdict.P02.clicked on another one; of one
    arm, or, for the run as a whole, of all arms: one word where they agree, else each arm's."""
    main, found = main_targets(rows), dict[str, dict[str, str]]()
    for row in (row for each in questions(rows).values() for row in each if arm in (None, row["arm"])):
        name = f"verdict.{row['question']}" + ("" if row["targets"] == main else f".{row['targets']}")
        found.setdefault(name, {})[row["arm"]] = verdict_of(row)
    return {name: _together(of) for name, of in found.items()}


def _together(verdicts: dict[str, str]) -> str:
    words = set(verdicts.values())
    return words.pop() if len(words) == 1 else ", ".join(f"{arm}: {verdict}" for arm, verdict in verdicts.items())


def difference_metrics(rows: list[Row], arm: str) -> dict[str, float]:
    """P02/difference and the ends of its interval, of one arm on the main target set."""
    main, names = main_targets(rows), {"difference": "difference", "family_low": "low", "family_high": "high"}
    return {
        f"{row['question']}/{short}": row[name]
        for row in rows
        if (row["arm"], row["targets"], row["slice"]) == (arm, main, WHOLE) and row["baseline"] is not None
        for name, short in names.items()
        if row[name] is not None and not math.isnan(row[name])
    }


def noise(rows: list[Row]) -> str:
    """Whether training noise is in the intervals of the differences."""
    compared = [row for row in rows if row["training_noise"] is not None]
    without = sorted({row["question"] for row in compared if not row["training_noise"]})
    if not compared:
        return ""
    if not any(row["training_noise"] for row in compared):
        return "**Training noise not included**: one seed an arm, and another would move the numbers."
    seeds = sorted({row["seeds"] for row in rows if row["question"] is not None and row["seeds"]})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    told = f"Training noise is included: {many} seeds an arm, the variance between seeds pooled within each question"
    some = "; arms with one seed borrow it" if seeds[0] == 1 else ""
    lacking = f". Not included in {', '.join(without)}" if without else ""
    return f"{told}{some}{lacking}."
