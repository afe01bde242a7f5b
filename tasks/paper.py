"""The paper, question by question: what it reports and what runs of ours say, as one page."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import Field

from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from tasks.answers import Row, ends, metric_name, questions, signed, verdict_of
from tasks.page import Block, Grid, Heading, Paragraph
from tasks.report import read
from tasks.result import Result


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
    simulated = [name for name, result in results.items() if _simulated(result)]
    real = [name for name in results if name not in simulated]
    built = [name for name in claims if name in asked]
    table = [line for name in built for line in _lines(name, claims[name], asked[name])]
    page: list[Block] = [Paragraph(facts), Paragraph(HOW)]
    page.append(Grid(["", "asks", "the paper", "arm − baseline", "logs", "claim", *SETS], table))
    page += _explained(claims, asked)
    page += [Heading("Later work"), _later(asked)] if any(not name.startswith("P") for name in asked) else []
    page += [Heading("Real logs"), *_real(claims, {name: results[name] for name in real}, asked)]
    page += [Paragraph(f"`{name}` was left out: {told}.") for name, told in (absent or {}).items()]
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
Entry = tuple[str, str, dict[str, Row]]  # run, arm, the row of each target set


def _asked(results: dict[str, Result]) -> dict[str, list[Entry]]:
    """The arms of each of the paper's questions in all runs, in the order of the runs."""
    found: dict[str, list[Entry]] = {}
    for run, result in results.items():
        for name, rows in questions(result.rows).items():
            match = re.match(r"[A-Z]\d\d", name)
            by_arm: dict[str, dict[str, Row]] = {}
            for row in rows:
                by_arm.setdefault(row["arm"], {})[row["targets"]] = row
            if match:
                leaks = result.checks.get("leaks", {})
                named = [(arm + _mark(leaks[arm]) if arm in leaks else arm, of) for arm, of in by_arm.items()]
                found.setdefault(match[0], []).extend((run, arm, of) for arm, of in named)
    return dict(sorted(found.items()))


def _mark(told: str) -> str:
    """What stands behind an arm that the test may have helped."""
    return " (leaks)" if told.startswith("leaks") else " (may leak)"


def _simulated(result: Result) -> bool:
    return bool(result.asked["logs"]["layout"] == "simulated")


def _lines(name: str, claim: Claim, entries: list[Entry]) -> list[list[str]]:
    """The question's lines; what it asks and what the paper says stand in the first."""
    lines = [["", "", "", *_said(*entry)] for entry in entries]
    lines[0][:3] = [f"**{name}**", claim.asks, claim.reported]
    return lines


def _said(run: str, arm: str, of: dict[str, Row]) -> list[str]:
    one = next(iter(of.values()))
    cells = [_cell(of[targets]) if targets in of else "–" for targets in SETS]
    return [f"{arm} − {one['baseline']}", run, one["claim"] or "–", *cells]


def _cell(row: Row) -> str:
    number = f"{signed(row['difference'])} {ends(row['family_low'], row['family_high'])}"
    metric = "" if metric_name(row) == "recall@10" else f" {metric_name(row)}"
    return f"{number}{metric}, n {row['n']:,}; {verdict_of(row)}"


def _explained(claims: dict[str, Claim], asked: dict[str, list[Entry]]) -> list[Block]:
    """Why runs of ours contradict the paper, where it can be said."""
    wrong = {
        name: claims[name].contradicted
        for name, entries in asked.items()
        if name in claims and any(row["verdict"] == "contradicted" for *_, of in entries for row in of.values())
    }
    if not wrong:
        return []
    lines = [[f"**{name}**", claims[name].asks, why or "not explained"] for name, why in wrong.items()]
    return [Heading("Contradictions"), Grid(["", "asks", "why, as far as can be said"], lines)]


def _later(asked: dict[str, list[Entry]]) -> Grid:
    table: list[list[str]] = []
    for name, entries in asked.items():
        if not name.startswith("P"):
            table += [[f"**{name}**" if at == 0 else "", *_said(*entry)] for at, entry in enumerate(entries)]
    return Grid(["", "arm − baseline", "logs", "claim", *SETS], table)


def _real(claims: dict[str, Claim], results: dict[str, Result], asked: dict[str, list[Entry]]) -> list[Block]:
    """For each real log the questions that it cannot answer, with the column that is missing."""
    if not results:
        return [Paragraph("No experiment on real logs was run.")]
    page: list[Block] = []
    for run, result in results.items():
        absent = {each["needs"] for each in result.data["cannot"]}
        answered = [name for name, entries in asked.items() if any(of == run for of, *_ in entries)]
        lacks: dict[str, list[str]] = {}
        for name, claim in claims.items():
            if lacking := [need for need in claim.needs if need in absent]:
                lacks.setdefault(", ".join(lacking), []).append(name)
        short = {name for names in lacks.values() for name in names}
        searches = result.data["tables"].get("searches", {}).get("kept", 0)
        open_ = [name for name in claims if name not in answered and name not in short]
        page.append(Heading(run, 3))
        page.append(
            Paragraph(
                f"{searches:,} searches. Answered: {', '.join(answered) or 'none'}. "
                f"It could answer, and was not asked: {', '.join(open_) or 'none'}."
            )
        )
        page += [Paragraph(f"`{arm}`: {told}.") for arm, told in result.checks.get("leaks", {}).items()]
        if lacks:
            lines = [[", ".join(names), lacking] for lacking, names in lacks.items()]
            page.append(Grid(["", "this log lacks"], lines))
    return page
