"""The sentences of a report, made from the result rows of a run's questions."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan

from tasks.report.formats import ends, share, signed
from tasks.report.result import ResultRow, main_targets, questions
from tasks.slices import WHOLE

FINDINGS = {
    "better": "is better than",
    "worse": "is worse than",
    "equal": "ties with",
    "unclear": "cannot be told from",
}
SCANNED = {
    "better": "scans more than",
    "worse": "scans less than",
    "equal": "scans as many as",
    "unclear": "scans more or less than",
}
WORDS = {"equal": "tie"}  # a finding, in a cell; without an entry, the finding itself
WORDS_OF_SCANNED = {"better": "more", "worse": "less", "equal": "as many"}
MANY = 4  # arms of a question without a claim, from which on one sentence lists them
LISTED = {"better": "Better", "equal": "A tie", "unclear": "Unclear", "worse": "Worse", "too few": "Too few searchers"}
CLAIMS = {"gain": "a gain", "worse": "a loss", "equal": "a tie"}


def finding_word(row: ResultRow) -> str:
    """The finding in a word or two: better, worse, tie, unclear, too few; of documents scanned: more, less, as many."""
    finding = str(row.finding)
    return (WORDS_OF_SCANNED if row.metric == "scanned" else WORDS).get(finding, finding)


def outcome_cell(row: ResultRow) -> str:
    """+.012 [+.004, +.020]; better, as claimed: the difference, the finding, and what became of a claim."""
    if row.finding == "too few":
        return f"{signed(row.difference)}; too few"
    of_claim = {"holds": ", as claimed", "contradicted": f", claimed {CLAIMS.get(str(row.claim))}"}
    return f"{difference(row)}; {finding_word(row)}{of_claim.get(str(row.verdict), '')}"


def verdict_of(row: ResultRow) -> str:
    """The verdict on the claim; without a claim, the finding."""
    return row.verdict or finding_word(row)


def difference(row: ResultRow) -> str:
    """+.012 [+.004, +.020]: the difference with the interval that the verdict goes by."""
    return f"{signed(row.difference)} {ends(row.family_low, row.family_high)}"


def widest(rows: list[ResultRow]) -> ResultRow:
    """The arm of a question that differs most."""
    return max(rows, key=lambda row: abs(row.difference))


def answers_to(rows: list[ResultRow], title: str) -> list[str]:
    """The answers to one question: a sentence for each arm, or one for all where many are compared without a claim."""
    listed = [row for row in rows if not row.claim and not row.open_because]
    if len(listed) < MANY:
        return [answer(row, title) for row in rows]
    found = []
    for finding, words in LISTED.items():
        arms = [row for row in listed if row.finding == finding]
        arms.sort(key=lambda row: -row.difference)
        if arms:
            found.append(f"{words}: " + ", ".join(f"`{row.arm}` {difference(row)}" for row in arms))
    about = f"**{title}**" if title else f"Against `{rows[0].baseline}`"
    together = f"{about}, {rows[0].measure}. {'. '.join(found)}. *{rows[0].question}*"
    return [together, *(answer(row, title) for row in rows if row not in listed)]


def answer(row: ResultRow, title: str) -> str:
    """One arm's answer to its question: the finding, its interval, what became of the claim, the code of the
    question."""
    return f"{sentence(row, title)} *{row.question}*"


def sentence(row: ResultRow, title: str) -> str:
    """The finding and its interval, then what became of the claim."""
    about = f"**{title}**: " if title else ""
    number = f"{signed(row.difference)} {row.measure}"
    if row.finding == "too few":
        few = f"only {row.clusters} searchers (or sessions), too few for an interval"
        return f"{about}`{row.arm}` − `{row.baseline}` = {number}, {few}."
    interval = ends(row.family_low, row.family_high)
    if row.open_because:
        return f"{about}`{row.arm}` − `{row.baseline}` = {number} {interval}, not decided: {row.open_because}."
    words = SCANNED if row.metric == "scanned" else FINDINGS
    within = f", within ± {share(row.margin)}" if row.finding == "equal" else ""
    found = f"`{row.arm}` {words[str(row.finding)]} `{row.baseline}`{within}: {number} {interval}."
    return f"{about}{found} {_of_claim(row)}".rstrip()


def _of_claim(row: ResultRow) -> str:
    """What became of the claim; empty without one."""
    if row.claim is None:
        return ""
    claimed = f"Claimed: {CLAIMS[row.claim]}" + (f" within ± {share(row.margin)}" if row.claim == "equal" else "")
    if row.verdict == "holds":
        return f"{claimed}, which **holds**."
    if row.verdict == "contradicted":
        bound = f": if there is one, it is smaller than {share(row.margin)}" if row.finding == "equal" else ""
        return f"{claimed}, which is **contradicted**{bound}."
    return f"{claimed}; {_not_shown(row)}."


def _not_shown(row: ResultRow) -> str:
    """What is left of a claim that is neither shown nor contradicted, and what this sample could have shown."""
    margin = share(row.margin)
    if row.claim == "equal" and row.finding in ("better", "worse"):
        return f"the difference may be smaller or larger than {margin}"
    if row.claim == "equal" and (reach := (row.family_high - row.family_low) / 2) >= row.margin:
        return f"the interval reaches ± {share(reach)}, too wide to show one"
    could = f"a true difference of {share(row.detectable)} would have been shown four times out of five"
    return f"neither shown nor ruled out ({could})"


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
