"""The paper, question by question: its report and the results of our runs, as one page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field

from data.experiment.experiment_spec import LISTS, trained_arm
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from tasks.leaks import is_leak
from tasks.report.answers import difference, verdict_of
from tasks.report.formats import DASH, ends, signed
from tasks.report.page import Block, Grid, Heading, Paragraph
from tasks.report.result import Result, ResultRow, read
from tasks.slices import WHOLE


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
    page: list[Block] = [Paragraph(facts), Paragraph(METHOD), _decided(claims, by_question)]
    built = {name: by_question[name] for name in claims if name in by_question}
    lines = _lines(built, lambda name: [f"**{name}**", claims[name].asks, claims[name].reported])
    page.append(Grid(["", "asks", "the paper", *HEADERS], lines))
    page += _namesakes(by_question)
    page += _explained(claims, by_question)
    later = {name: entries for name, entries in by_question.items() if not name.startswith("P")}
    if later:
        page += [Heading("Later work"), Grid(["", *HEADERS], _lines(later, lambda name: [f"**{name}**"]))]
    page += [Heading("Real logs"), *_real(claims, real, by_question)]
    page += [Paragraph(f"`{name}` was left out: {why}.") for name, why in (absent or {}).items()]
    missing = [f"{name} ({claims[name].asks})" for name in claims if name not in by_question]
    if missing:
        page += [Heading("Not in these runs"), Paragraph("; ".join(missing) + ".")]
    return page


MODELS = ("full model", "text alone")
COLUMNS = [("truth", "full model"), ("truth", "text alone"), ("clicked", "full model"), ("clicked", "text alone")]
HEADERS = ["arm − baseline", "logs", "claim", *(f"{targets}, {model}" for targets, model in COLUMNS), "judged"]
METHOD = (
    "Differences are paired on the same searches, with simultaneous 95% intervals over all arms of a question, "
    "clusters and, where several seeds were trained, training noise included. n counts searches. Truth is what the "
    "searcher of the simulated world wanted; real logs have none. The full model reads text, place and friends, as the "
    "paper's does; an arm that reads text and nothing else is in the columns of text alone. The paper's per cents are "
    "relative unless said otherwise, ours are differences of the metric. Our claims were fixed in the experiment files "
    "before the runs."
)
NAMESAKES = {"title: shared": "shared title", "title: unique": "title of its own"}
ON_NAMES = ("P12", "P13", "P14", "P15", "P16")  # whose reason is that a model goes by the name


class Entry(NamedTuple):
    """The answers to one comparison of a question on one log."""

    log: str
    arm: str  # with a mark if the test may have helped it
    rows: dict[tuple[str, str, str], ResultRow]  # by target set, model and slice


def _by_question(results: dict[str, Result]) -> dict[str, list[Entry]]:
    """The comparisons of each of the paper's questions in all runs, in the order of the runs."""
    entries: dict[str, dict[tuple[str, str, str], Entry]] = {}
    for run, result in results.items():
        leaks, log = result.checks.get("leaks", {}), _log_of(run)
        for row in result.rows:
            match = re.match(r"[A-Z]\d\d", row.question or "")
            if match is None or row.baseline is None or row.slice not in (WHOLE, *NAMESAKES):
                continue
            key = log, f"{row.arm} − {row.baseline}", row.measure
            found = entries.setdefault(match[0], {})
            entry = found.setdefault(key, Entry(log, row.arm, {}))
            if row.arm in leaks:
                found[key] = entry._replace(arm=row.arm + _mark(leaks[row.arm]))
            entry.rows[row.targets, model_of(result.spec, row.arm), row.slice] = row
    return {name: list(found.values()) for name, found in sorted(entries.items())}


def _log_of(run: str) -> str:
    """The log of a run: two runs share it, of which one has `-text` behind its name."""
    return run.removesuffix("-text")


def model_of(spec: dict[str, Any], label: str) -> str:
    """The model of an arm or list of a question: the full model, or text alone if all its arms read nothing else."""
    names, queue = set[str](), [trained_arm(label)]
    while queue:
        name = queue.pop()
        names.add(name)
        lists = [spec[section][name] for section in ("ensembles", *LISTS) if name in spec.get(section, {})]
        queue += [part for body in lists for part in parts_of_list(body)]
    return MODELS[0 if any(spec["arms"].get(name, {}).get("groups") for name in names) else 1]


def parts_of_list(body: dict[str, Any]) -> list[str]:
    """The arms that a list of the experiment file names."""
    named = [body.get(key) for key in ("parts", "first", "then", "arm", "of")]
    return [name for value in named if value for name in (value if isinstance(value, list) else [value])]


def _mark(leak: str) -> str:
    """The mark after the name of an arm that the test may have helped."""
    return " (leaks)" if is_leak(leak) else " (may leak)"


def _lines(by_question: dict[str, list[Entry]], prefix_cells: Callable[[str], list[str]]) -> list[list[str]]:
    """A line for each entry; the cells before the entries of a question are in the first of its lines alone."""
    lines = []
    for name, entries in by_question.items():
        cells_before = prefix_cells(name)
        lines += [[*("" if at else cell for cell in cells_before), *_cells(entry)] for at, entry in enumerate(entries)]
    return lines


def _cells(entry: Entry) -> list[str]:
    row = next(iter(entry.rows.values()))  # baseline and claim are the same on all target sets
    differences = [_cell(entry.rows.get((*column, WHOLE))) for column in COLUMNS]
    judged = [found for model in MODELS if (found := entry.rows.get(("judged", model, WHOLE)))]
    return [f"{entry.arm} − {row.baseline}", entry.log, row.claim or DASH, *differences, _cell(*judged[:1])]


def _cell(row: ResultRow | None = None) -> str:
    if row is None:
        return DASH
    metric = "" if row.measure == "recall@10" else f" {row.measure}"
    return f"{difference(row)}{metric}, n {row.n:,}; {verdict_of(row)}"


def is_decided(row: ResultRow) -> bool:
    """True if the row decides its question: the claim holds or is contradicted; without a claim, the arm is better,
    worse or equal."""
    return row.verdict in ("holds", "contradicted") if row.claim else row.finding in ("better", "worse", "equal")


def _decided(claims: dict[str, Claim], by_question: dict[str, list[Entry]]) -> Paragraph:
    """How many of the paper's questions are decided on truth, on the full model wherever a run put them to it."""
    some, every = [], []
    for name in claims:
        answers = [row for entry in by_question.get(name, ()) if (row := _answer(entry)) is not None]
        some += [name] * any(is_decided(row) for row in answers)
        every += [name] * (bool(answers) and all(is_decided(row) for row in answers))
    rest = ", ".join(name for name in claims if name not in some) or "none"
    return Paragraph(
        f"On truth {len(some)} of the paper's {len(claims)} questions are decided for at least one arm, {len(every)} "
        f"for every arm; the full model decides wherever the question was put to it. Undecided or not asked: {rest}."
    )


def _answer(entry: Entry) -> ResultRow | None:
    """The row on truth that answers a comparison: of the full model if there is one."""
    return next((row for model in MODELS if (row := entry.rows.get(("truth", model, WHOLE)))), None)


def _namesakes(by_question: dict[str, list[Entry]]) -> list[Block]:
    """The differences on truth where another document has the same title, and where none has."""
    columns = [(model, part) for model in MODELS for part in NAMESAKES]
    lines = []
    for name in ON_NAMES:
        for entry in by_question.get(name, ()):
            found = [entry.rows.get(("truth", model, part)) for model, part in columns]
            if any(found):
                row = next(iter(entry.rows.values()))
                lines.append([f"**{name}**", f"{entry.arm} − {row.baseline}", *(_slice_cell(row) for row in found)])
    if not lines:
        return []
    headers = ["", "arm − baseline", *(f"{model}, {NAMESAKES[part]}" for model, part in columns)]
    remark = (
        "The wanted document's title has the same words as another one's (a shared title), or is its own. Recall@10 on "
        "truth; exploratory: each interval holds by itself."
    )
    return [Heading("Where the name alone cannot tell"), Paragraph(remark), Grid(headers, lines)]


def _slice_cell(row: ResultRow | None) -> str:
    if row is None:
        return DASH
    return f"{signed(row.difference)} {ends(row.difference_low, row.difference_high)}, n {row.n:,}"


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
    answered = [name for name, entries in by_question.items() if any(entry.log == _log_of(run) for entry in entries)]
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
