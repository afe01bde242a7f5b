"""The sentences of a report, made from the result rows of a run's questions."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan

from tasks.report.formats import ends, share, signed
from tasks.report.result import ResultRow, main_targets, questions
from tasks.slices import WHOLE

SETS = {
    "clicked": "what was clicked",
    "judged": "what was judged relevant",
    "recovered": "what a failed search's session clicked later",
    "randomised": "what was clicked in lists shown in random order",
    "truth": "what the searcher wanted",
}
FINDINGS = {
    "better": "is better than",
    "worse": "is worse than",
    "equal": "equals",
    "unclear": "cannot be distinguished from",
}
SCANNED = {"better": "scans more than", "worse": "scans less than"}


def verdict_of(row: ResultRow) -> str:
    """The verdict on the claim or, without one, the finding; of documents scanned: more or less."""
    words = {"better": "more", "worse": "less"} if row.metric == "scanned" else {}
    return row.verdict or words.get(str(row.finding), str(row.finding))


def difference(row: ResultRow) -> str:
    """+.012 [+.004, +.020]: the difference with the interval that the verdict goes by."""
    return f"{signed(row.difference)} {ends(row.family_low, row.family_high)}"


def widest(rows: list[ResultRow]) -> ResultRow:
    """The arm of a question that differs most."""
    return max(rows, key=lambda row: abs(row.difference))


def answer(row: ResultRow, title: str) -> str:
    """One arm's answer to its question: the finding, its interval, and the verdict on the claim."""
    about = f"**{row.question}**" + (f", {title}" if title else "")
    if row.finding == "too few":
        remark = f"only {row.clusters} searchers (or sessions): too few for an interval"
        return f"{about}: `{row.arm}` − `{row.baseline}` = {signed(row.difference)} {row.measure}, {remark}."
    words = FINDINGS | (SCANNED if row.metric == "scanned" else {})
    finding = f"`{row.arm}` {words[str(row.finding)]} `{row.baseline}`"
    inside = row.finding == "equal" or (row.claim, row.verdict) == ("equal", "holds")
    within = f", within ± {share(row.margin)}" if inside else ""
    number = f"{signed(row.difference)} {row.measure} {ends(row.family_low, row.family_high)}"
    return f"{about}: {finding}{within}: {number}. {_verdict(row)}".rstrip()


def _verdict(row: ResultRow) -> str:
    if row.verdict is None:
        return f"Not decided: {row.open_because}." if row.open_because else ""
    sentence = f'The claim "{row.claim}": **{row.verdict}**'
    return f"{sentence}; {_still_open(row)}." if row.verdict == "undecided" else f"{sentence}."


def _still_open(row: ResultRow) -> str:
    """The reason why a claim is undecided, and what this sample could have decided."""
    if row.open_because:
        return row.open_because
    reach, margin = (row.family_high - row.family_low) / 2, share(row.margin)
    could = f"a true difference of {share(row.detectable)} would have been shown four times out of five"
    if row.claim != "equal":
        return f"if they differ, then by less than {margin}; {could}" if row.finding == "equal" else could
    if row.finding in ("better", "worse"):
        return f"they differ, but whether by more than ± {margin} is open"
    if reach >= row.margin:
        return f"the interval reaches ± {share(reach)}, so equality within ± {margin} was out of reach"
    return f"equality within ± {margin} is neither shown nor ruled out; {could}"


def for_whom(rows: list[ResultRow], whole: ResultRow) -> str | None:
    """A sentence on the slices where an arm's difference is largest and smallest, small ones aside; None without."""
    key = (whole.question, whole.arm, whole.targets)
    slices = [
        row
        for row in rows
        if (row.question, row.arm, row.targets) == key and row.slice != WHOLE and not isnan(row.difference)
    ]
    large = [row for row in slices if not row.small]
    if len(large) < 2:
        return None
    highest, lowest = (choose(large, key=lambda row: row.difference) for choose in (max, min))
    parts = [
        f"{row.slice} (n = {row.n:,}) {signed(row.difference)} {ends(row.difference_low, row.difference_high)}"
        for row in (highest, lowest)
    ]
    return f"`{whole.arm}` against `{whole.baseline}`: highest for {parts[0]}, lowest for {parts[1]}."


def verdict_tags(rows: list[ResultRow], arm: str | None = None) -> dict[str, str]:
    """The verdict on each claim, of one arm or of all arms: verdict.P02 = holds.

    verdict.P02.clicked is on a target set that is not the main one. The verdict of all arms is one word if they agree,
    else the word of each arm.
    """
    main, verdicts = main_targets(rows), dict[str, dict[str, str]]()
    for row in (row for compared in questions(rows).values() for row in compared if arm in (None, row.arm)):
        name = f"verdict.{row.question}" + ("" if row.targets == main else f".{row.targets}")
        verdicts.setdefault(name, {})[row.arm] = verdict_of(row)
    return {name: _together(by_arm) for name, by_arm in verdicts.items()}


def _together(verdicts: dict[str, str]) -> str:
    words = set(verdicts.values())
    return words.pop() if len(words) == 1 else ", ".join(f"{arm}: {verdict}" for arm, verdict in verdicts.items())


def difference_metrics(rows: list[ResultRow], arm: str) -> dict[str, float]:
    """P02/difference and the ends of its interval, of one arm on the main target set."""
    main = main_targets(rows)
    compared = [row for row in rows if (row.arm, row.targets, row.slice) == (arm, main, WHOLE) and row.baseline]
    return {
        f"{row.question}/{name}": value
        for row in compared
        for name, value in (("difference", row.difference), ("low", row.family_low), ("high", row.family_high))
        if not isnan(value)
    }


def noise(rows: Iterable[ResultRow]) -> str:
    """A sentence on whether the intervals of the differences include training noise; empty without differences."""
    answering = [row for row in rows if row.question is not None]
    compared = [row for row in answering if row.training_noise is not None]
    if not compared:
        return ""
    if not any(row.training_noise for row in compared):
        return "**Training noise not included**: one seed an arm, and another would move the numbers."
    without = sorted({str(row.question) for row in compared if not row.training_noise})
    seeds = sorted({row.seeds for row in answering if row.seeds})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    pooled = f"{many} seeds an arm, the variance between seeds pooled within each question"
    borrowed = "; arms with one seed borrow it" if seeds[0] == 1 else ""
    lacking = f". Not included in {', '.join(without)}" if without else ""
    return f"Training noise is included: {pooled}{borrowed}{lacking}."
