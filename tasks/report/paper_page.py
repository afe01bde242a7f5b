"""The paper, question by question: what it reports and what runs of ours say, as one page."""

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
from tasks.report.formats import NOTHING
from tasks.report.page import Block, Columns, Grid, Heading, Paragraph, tabulate
from tasks.report.result import Result, ResultRow, cells, questions, read


class Claim(Frozen):
    """What the paper reports on one of its questions."""

    asks: str
    reported: str
    needs: tuple[str, ...] = Field((), description="what a log must hold, in the words of the data report")
    contradicted: str | None = Field(None, description="why a run of ours may say otherwise")


def read_claims(path: Path) -> dict[str, Claim]:
    """The claims by question, in the order of the file."""
    return {name: Claim.model_validate(claim) for name, claim in yaml.safe_load(path.read_text()).items()}


def describe_paper(
    claims: dict[str, Claim], runs: dict[str, Path], facts: str, absent: dict[str, str] | None = None
) -> list[Block]:
    """A line for each question and arm, from the result files of the runs (by name); facts says when and how they were
    made, absent why an experiment was not run. A question's name begins with the paper's: P02, or P02 people. Errors: a
    question that the claims do not know."""
    results = {name: read(folder) for name, folder in runs.items()}
    asked = _asked(results)
    unknown = sorted({name for name in asked if name.startswith("P")} - set(claims))
    if unknown:
        raise InputError(f"questions {', '.join(unknown)} are not among the paper's, {', '.join(claims)}")
    real = {name: result for name, result in results.items() if result.spec["logs"]["layout"] != "simulated"}
    page: list[Block] = [Paragraph(facts), Paragraph(HOW)]
    page.append(_paper_grid(claims, {name: asked[name] for name in claims if name in asked}))
    page += _explained(claims, asked)
    later = {name: entries for name, entries in asked.items() if not name.startswith("P")}
    page += [Heading("Later work"), tabulate([NAME, *ENTRY], _lines(later))] if later else []
    page += [Heading("Real logs"), *_real(claims, real, asked)]
    page += [Paragraph(f"`{name}` was left out: {why}.") for name, why in (absent or {}).items()]
    missing = [f"{name} ({claims[name].asks})" for name in claims if name not in asked]
    if missing:
        page += [Heading("Not built"), Paragraph("; ".join(missing) + ".")]
    return page


SETS = ("truth", "clicked", "judged")
HOW = (
    "Differences are paired on the same searches, with simultaneous 95 % intervals over all arms of a question, "
    "clusters and, where several seeds were trained, training noise included. n counts searches. Truth is what the "
    "searcher of the simulated world wanted; real logs have none. The paper's per cents are relative unless said "
    "otherwise, ours are differences of the metric. Our claims were fixed in the experiment files before the runs."
)


class Entry(NamedTuple):
    """What one run says of one arm of a question."""

    run: str
    arm: str  # marked where the test may have helped it
    rows: dict[str, ResultRow]  # by target set

    @property
    def row(self) -> ResultRow:
        """The row of the first target set: baseline and claim are the same in all."""
        return next(iter(self.rows.values()))


def _asked(results: dict[str, Result]) -> dict[str, list[Entry]]:
    """The arms of each of the paper's questions in all runs, in the order of the runs."""
    entries: dict[str, list[Entry]] = {}
    for run, result in results.items():
        leaks = result.checks.get("leaks", {})
        for name, rows in questions(result.rows).items():
            if match := re.match(r"[A-Z]\d\d", name):
                by_arm = cells(rows, lambda row: row.arm, lambda row: row.targets)
                marked = [Entry(run, arm + _mark(leaks.get(arm)), of) for arm, of in by_arm.items()]
                entries.setdefault(match[0], []).extend(marked)
    return dict(sorted(entries.items()))


def _mark(leak: str | None) -> str:
    """What stands behind an arm that the test may have helped."""
    return "" if leak is None else " (leaks)" if leak.startswith("leaks") else " (may leak)"


Line = tuple[str, Entry]  # the question, in its first line alone


def _lines(asked: dict[str, list[Entry]]) -> list[Line]:
    return [("" if at else name, entry) for name, entries in asked.items() for at, entry in enumerate(entries)]


def _on(targets: str, entry: Entry) -> str:
    """The difference on a target set; its metric is named unless it is recall@10."""
    if targets not in entry.rows:
        return NOTHING
    row = entry.rows[targets]
    metric = "" if row.measure == "recall@10" else f" {row.measure}"
    return f"{difference(row)}{metric}, n {row.n:,}; {verdict_of(row)}"


NAME: tuple[str, Callable[[Line], str]] = ("", lambda line: f"**{line[0]}**" if line[0] else "")
ENTRY: Columns[Line] = [
    ("arm − baseline", lambda line: f"{line[1].arm} − {line[1].row.baseline}"),
    ("logs", lambda line: line[1].run),
    ("claim", lambda line: line[1].row.claim or NOTHING),
    *((name, lambda line, name=name: _on(name, line[1])) for name in SETS),
]


def _paper_grid(claims: dict[str, Claim], asked: dict[str, list[Entry]]) -> Grid:
    """The paper's questions; what each asks and what the paper says stand in its first line."""
    paper: Columns[Line] = [
        ("asks", lambda line: claims[line[0]].asks if line[0] else ""),
        ("the paper", lambda line: claims[line[0]].reported if line[0] else ""),
    ]
    return tabulate([NAME, *paper, *ENTRY], _lines(asked))


def _explained(claims: dict[str, Claim], asked: dict[str, list[Entry]]) -> list[Block]:
    """Why runs of ours contradict the paper, where it can be said."""
    wrong = [
        name
        for name, entries in asked.items()
        if name in claims and any(row.verdict == "contradicted" for entry in entries for row in entry.rows.values())
    ]
    columns: Columns[str] = [
        ("", lambda name: f"**{name}**"),
        ("asks", lambda name: claims[name].asks),
        ("why, as far as can be said", lambda name: claims[name].contradicted or "not explained"),
    ]
    return [Heading("Contradictions"), tabulate(columns, wrong)] if wrong else []


def _real(claims: dict[str, Claim], results: dict[str, Result], asked: dict[str, list[Entry]]) -> list[Block]:
    """For each real log the questions that it cannot answer, with the column that is missing."""
    if not results:
        return [Paragraph("No experiment on real logs was run.")]
    return [block for run, result in results.items() for block in _real_log(run, result, claims, asked)]


def _real_log(run: str, result: Result, claims: dict[str, Claim], asked: dict[str, list[Entry]]) -> list[Block]:
    absent = {lack["needs"] for lack in result.data["cannot"]}
    needs = {name: [need for need in claim.needs if need in absent] for name, claim in claims.items()}
    lacks: dict[str, list[str]] = {}
    for name, lacking in needs.items():
        if lacking:
            lacks.setdefault(", ".join(lacking), []).append(name)
    answered = [name for name, entries in asked.items() if any(entry.run == run for entry in entries)]
    unasked = [name for name in claims if name not in answered and not needs[name]]
    searches = result.data["tables"].get("searches", {}).get("kept", 0)
    page: list[Block] = [
        Heading(run, 3),
        Paragraph(
            f"{searches:,} searches. Answered: {', '.join(answered) or 'none'}. "
            f"It could answer, and was not asked: {', '.join(unasked) or 'none'}."
        ),
    ]
    page += [Paragraph(f"`{arm}`: {remark}.") for arm, remark in result.checks.get("leaks", {}).items()]
    columns: Columns[tuple[str, list[str]]] = [
        ("", lambda line: ", ".join(line[1])),
        ("this log lacks", lambda line: line[0]),
    ]
    return [*page, tabulate(columns, lacks.items())] if lacks else page
