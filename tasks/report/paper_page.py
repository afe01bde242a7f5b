"""The paper, question by question: its report and the results of our runs, as one page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import Field

from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from tasks.report.answers import difference, verdict_of
from tasks.report.formats import DASH
from tasks.report.page import Block, Grid, Heading, Paragraph
from tasks.report.result import Result, ResultRow, cells, questions, read


class Claim(Frozen):
    """The paper's report on one of its questions."""

    asks: str
    reported: str
    needs: tuple[str, ...] = Field((), description="features that a log must have, in the words of the data report")
    contradicted: str | None = Field(None, description="the reason why our runs may contradict it")


def read_claims(path: Path) -> dict[str, Claim]:
    """The claims by question, in the order of the file."""
    return {name: Claim.model_validate(claim) for name, claim in yaml.safe_load(path.read_text()).items()}


def describe_paper(
    claims: dict[str, Claim], runs: dict[str, Path], facts: str, absent: dict[str, str] | None = None
) -> list[Block]:
    """A line for each question and arm, from the result files of the runs (by name).

    facts: a sentence on when and how they were made; absent: experiment → the reason why it was not run. The name of a
    question begins with that of the paper's: P02, or P02 people. Raises InputError for a question without a claim.
    """
    results = {name: read(folder) for name, folder in runs.items()}
    by_question = _by_question(results)
    unknown = sorted({name for name in by_question if name.startswith("P")} - set(claims))
    if unknown:
        raise InputError(f"questions {', '.join(unknown)} are not among the paper's, {', '.join(claims)}")
    real = {name: result for name, result in results.items() if result.spec["logs"]["layout"] != "simulated"}
    page: list[Block] = [Paragraph(facts), Paragraph(METHOD)]
    built = {name: by_question[name] for name in claims if name in by_question}
    lines = _lines(built, lambda name: [f"**{name}**", claims[name].asks, claims[name].reported])
    page.append(Grid(["", "asks", "the paper", *HEADERS], lines))
    page += _explained(claims, by_question)
    later = {name: entries for name, entries in by_question.items() if not name.startswith("P")}
    if later:
        page += [Heading("Later work"), Grid(["", *HEADERS], _lines(later, lambda name: [f"**{name}**"]))]
    page += [Heading("Real logs"), *_real(claims, real, by_question)]
    page += [Paragraph(f"`{name}` was left out: {why}.") for name, why in (absent or {}).items()]
    missing = [f"{name} ({claims[name].asks})" for name in claims if name not in by_question]
    if missing:
        page += [Heading("Not built"), Paragraph("; ".join(missing) + ".")]
    return page


SETS = ("truth", "clicked", "judged")
HEADERS = ["arm − baseline", "logs", "claim", *SETS]
METHOD = (
    "Differences are paired on the same searches, with simultaneous 95% intervals over all arms of a question, "
    "clusters and, where several seeds were trained, training noise included. n counts searches. Truth is what the "
    "searcher of the simulated world wanted; real logs have none. The paper's per cents are relative unless said "
    "otherwise, ours are differences of the metric. Our claims were fixed in the experiment files before the runs."
)


class Entry(NamedTuple):
    """The answer of one run on one arm of a question."""

    run: str
    arm: str  # with a mark if the test may have helped it
    rows: dict[str, ResultRow]  # by target set


def _by_question(results: dict[str, Result]) -> dict[str, list[Entry]]:
    """The arms of each of the paper's questions in all runs, in the order of the runs."""
    entries: dict[str, list[Entry]] = {}
    for run, result in results.items():
        leaks = result.checks.get("leaks", {})
        for name, rows in questions(result.rows).items():
            if match := re.match(r"[A-Z]\d\d", name):
                by_arm = cells(rows, lambda row: row.arm, lambda row: row.targets)
                of_run = [Entry(run, arm + _mark(leaks.get(arm)), rows_of_arm) for arm, rows_of_arm in by_arm.items()]
                entries.setdefault(match[0], []).extend(of_run)
    return dict(sorted(entries.items()))


def _mark(leak: str | None) -> str:
    """The mark after the name of an arm that the test may have helped."""
    return "" if leak is None else " (leaks)" if leak.startswith("leaks") else " (may leak)"


def _lines(by_question: dict[str, list[Entry]], prefix_cells: Callable[[str], list[str]]) -> list[list[str]]:
    """A line for each entry; the cells before the entries of a question are in the first of its lines alone."""
    lines = []
    for name, entries in by_question.items():
        cells_before = prefix_cells(name)
        lines += [[*("" if at else cell for cell in cells_before), *_cells(entry)] for at, entry in enumerate(entries)]
    return lines


def _cells(entry: Entry) -> list[str]:
    row = next(iter(entry.rows.values()))  # baseline and claim are the same on all target sets
    differences = [_cell(entry.rows[name]) if name in entry.rows else DASH for name in SETS]
    return [f"{entry.arm} − {row.baseline}", entry.run, row.claim or DASH, *differences]


def _cell(row: ResultRow) -> str:
    metric = "" if row.measure == "recall@10" else f" {row.measure}"
    return f"{difference(row)}{metric}, n {row.n:,}; {verdict_of(row)}"


def _explained(claims: dict[str, Claim], by_question: dict[str, list[Entry]]) -> list[Block]:
    """The contradictions of the paper, with the reason if one is known."""
    lines = [
        [f"**{name}**", claims[name].asks, claims[name].contradicted or "not explained"]
        for name, entries in by_question.items()
        if name in claims and any(row.verdict == "contradicted" for entry in entries for row in entry.rows.values())
    ]
    return [Heading("Contradictions"), Grid(["", "asks", "why, as far as can be said"], lines)] if lines else []


def _real(claims: dict[str, Claim], results: dict[str, Result], by_question: dict[str, list[Entry]]) -> list[Block]:
    """For each real log the questions that it cannot answer, with the column that is missing."""
    if not results:
        return [Paragraph("No experiment on real logs was run.")]
    return [block for run, result in results.items() for block in _real_log(run, result, claims, by_question)]


def _real_log(run: str, result: Result, claims: dict[str, Claim], by_question: dict[str, list[Entry]]) -> list[Block]:
    absent = {lack["needs"] for lack in result.data["cannot"]}
    needs = {name: [need for need in claim.needs if need in absent] for name, claim in claims.items()}
    lacks: dict[str, list[str]] = {}
    for name, lacking in needs.items():
        if lacking:
            lacks.setdefault(", ".join(lacking), []).append(name)
    answered = [name for name, entries in by_question.items() if any(entry.run == run for entry in entries)]
    unasked = [name for name in claims if name not in answered and not needs[name]]
    searches = result.data["tables"].get("searches", {}).get("kept", 0)
    page: list[Block] = [
        Heading(run, 3),
        Paragraph(
            f"{searches:,} searches. Answered: {', '.join(answered) or 'none'}. "
            f"Not in this run, although the log could answer them: {', '.join(unasked) or 'none'}."
        ),
    ]
    page += [Paragraph(f"`{arm}`: {remark}.") for arm, remark in result.checks.get("leaks", {}).items()]
    if lacks:
        page.append(Grid(["", "this log lacks"], [[", ".join(names), lacking] for lacking, names in lacks.items()]))
    return page
