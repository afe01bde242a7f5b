"""The results of a run as tables on a terminal."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from data.experiment import BASELINES, ORACLES, Experiment
from flows.hybrid_table import compare_retrievals
from tasks.answers import MAIN, ends, noise, signed, verdict_of
from tasks.slices import WHOLE
from tasks.tracking import Outcome

WORDS = {
    "clicked": "targets: clicked documents (or what stands in for clicks)",
    "judged": "targets: judged documents",
    "recovered": "targets: what a failed search's session clicked later",
    "truth": "targets: what the searcher wanted, clicked or not",
}


def show(outcome: Outcome, asked: Experiment, console: Console) -> None:
    """Prints, for each target set, every arm's recall over the whole corpus, then the questions' paired differences."""
    rows = pq.read_table(outcome.results.folder / "results.parquet").to_pylist()
    checks = json.loads((outcome.results.folder / "checks.json").read_text())
    counts = json.loads((outcome.sample.folder / "counts.json").read_text())
    for count in counts:
        of_targets = [row for row in rows if row["targets"] == count["targets"]]
        if of_targets:
            console.print(_recall_table(of_targets, count, checks, asked), Text(""))
    if asked.questions:
        console.print(_questions(rows, asked), Text(""))
    console.print(_pairs(rows), Text(""))
    if asked.retrievals or asked.cascades or asked.rankers or asked.filters:
        console.print(compare_retrievals(rows, asked), Text(""))
    for arm, error in outcome.failures.items():
        console.print(f"[red]failed[/red] {arm}: {error}")


def _recall_table(
    rows: list[dict[str, Any]], count: dict[str, Any], checks: dict[str, Any], asked: Experiment
) -> Table:
    """One line a run: recall@K with the 95 % interval of the middle K, MRR."""
    ks = sorted(asked.evaluation.ks)
    table = Table(
        title=WORDS[count["targets"]], title_justify="left", caption=_caption(count, checks, ks), caption_justify="left"
    )
    table.add_column("arm")
    table.add_column("index")
    for k in ks:
        table.add_column(f"recall@{k}", justify="right")
    table.add_column(f"MRR@{ks[-1]}", justify="right")
    table.add_column(f"index recall@{ks[len(ks) // 2]}", justify="right")
    table.add_column("scanned", justify="right")
    oracle = next((row["value"] for row in rows if _is_best(row, ks[len(ks) // 2])), None)
    if count["targets"] != "truth":  # clicks and their like are not what the oracle aims at
        rows, oracle = [row for row in rows if row["arm"] not in ORACLES], None
    if oracle:
        table.add_column("of the oracle", justify="right")
    runs: dict[tuple[Any, ...], dict[tuple[str, int | None], dict[str, Any]]] = {}
    for row in rows:
        if row["question"] is None and row["slice"] == "all":
            runs.setdefault((row["arm"], row["seed"], row["index"]), {})[row["metric"], row["k"]] = row
    main = ks[len(ks) // 2]
    exact = {run[:2]: of["recall", main]["value"] for run, of in runs.items()}  # of a retrieval, through its index
    exact |= {run[:2]: of["recall", main]["value"] for run, of in runs.items() if run[2] in ("exact", "none")}
    for (arm, seed, index), metrics in sorted(
        runs.items(), key=lambda run: (run[0][0] in ORACLES, -exact[run[0][:2]], str(run[0][:2]), run[0][2] != "exact")
    ):
        if arm == ORACLES[-1]:  # the best of them, so the first
            table.add_section()
        name = arm if seed is None or len(asked.seeds) == 1 else f"{arm}, seed {seed}"
        cells = [_cell(metrics["recall", k], interval=k == main) for k in ks]
        inside, looked_at = metrics.get(("index_recall", main)), metrics.get(("scanned", None))
        style = "dim" if arm in BASELINES else "italic" if arm in ORACLES else ""
        name += _mark(checks["leaks"].get(arm))
        name = (
            name
            if index in ("exact", "none") or arm in (*asked.retrievals, *asked.cascades, *asked.rankers, *asked.filters)
            else ""
        )  # an index stands under its arm
        share = [f"{metrics['recall', main]['value'] / oracle:.0%}"] if oracle else []
        table.add_row(
            name,
            index,
            *cells,
            _cell(metrics["mrr", None]),
            _cell(inside) if inside else "",
            f"{looked_at['value']:,.0f}" if looked_at else "",
            *share,
            style=style,
        )
    for arm in checks["unavailable"]:
        table.add_row(arm, "none", *["not available"] * len(ks), "not available", "", style="dim")
    ceilings = checks["ceilings"][count["targets"]]
    table.add_row("ceiling", "", *[f"{ceilings[f'recall@{k}']:.3f}" for k in ks], "", "", style="italic dim")
    return table


def _mark(leak: str | None) -> str:
    """What stands behind the name of an arm whose features may hold the test's answers."""
    return "" if leak is None else " (LEAK)" if leak.startswith("leaks") else " (may leak)"


def _is_best(row: dict[str, Any], k: int) -> bool:
    """Whether a row is the best that anybody could do who knows all that the simulated world knows."""
    plain = row["question"] is None and row["slice"] == "all"
    return plain and (row["arm"], row["metric"], row["k"]) == ("oracle-everything", "recall", k)


def _caption(count: dict[str, Any], checks: dict[str, Any], ks: list[int]) -> str:
    without = count["searches"] - count["with_target"]
    lines = [
        f"{count['sampled']:,} of {count['searches']:,} test searches; {without:,} have no target and are left out."
    ]
    if count["targets_not_alive"]:
        lines.append(f"{count['targets_not_alive']:,} targets were not alive in the period and are left out.")
    lines.append("The ceiling is what searches with more than K targets allow.")
    lines += [f"{arm}: not available, {reason}." for arm, reason in checks["unavailable"].items()]
    lines += [f"{arm}{_mark(told)}: it {told}." for arm, told in checks["leaks"].items()]
    return "\n".join(lines)


def _cell(row: dict[str, Any], interval: bool = False) -> str:
    if not interval or row["low"] is None or math.isnan(row["low"]):
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _questions(rows: list[dict[str, Any]], asked: Experiment) -> RenderableType:
    """Each question: the differences to its baseline, paired on the same searches, a column for each target set."""
    sets = [name for name in MAIN if any(row["targets"] == name for row in rows)]
    by_arm: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["question"] is not None and row["slice"] == WHOLE and row["baseline"] is not None:
            by_arm.setdefault((row["question"], row["arm"]), {})[row["targets"]] = row
    table = Table(
        title="questions: difference to the baseline on the same searches, and what became of the claim",
        title_justify="left",
        caption=_how_sure(rows),
        caption_justify="left",
    )
    same = len({question.metric for question in asked.questions.values()}) == 1
    for heading in ("question", "claim", "arm − baseline", *(() if same else ("metric",)), *sets):
        table.add_column(heading, no_wrap=heading in (*sets, "arm − baseline"))
    for name, question in asked.questions.items():
        table.add_section()
        title, claim = f"{name} {question.title}".strip(), question.claim or ""
        for arm in question.arms:
            found = by_arm.get((name, arm), {})
            cells = [_difference(found[targets]) if targets in found else "not available" for targets in sets]
            metric = [] if same else [question.metric]
            table.add_row(title, claim, f"{arm} − {question.baseline}", *metric, *cells)
            title = claim = ""
    if same and asked.questions:
        table.title = f"{next(iter(asked.questions.values())).metric}: {str(table.title).removeprefix('questions: ')}"
    return table


def _how_sure(rows: list[dict[str, Any]]) -> str:
    told = noise(rows).replace("**", "")
    return f"95 % intervals over searchers, for all arms of a question together (max-t). {told}"


STYLES = {"holds": "green", "contradicted": "red", "undecided": "yellow", "too few": "dim"}


def _difference(row: dict[str, Any]) -> str:
    verdict = verdict_of(row)
    shown = f"{signed(row['difference'])} {ends(row['family_low'], row['family_high'])}".replace("[", "\\[")
    return f"{shown} [{STYLES.get(verdict, 'default')}]{verdict}[/]"


def _pairs(rows: list[dict[str, Any]]) -> RenderableType:
    """recall@10 (or the nearest K) of searches whose (query, searcher) pair was seen in training, and of new ones."""
    seen, new = "(query, searcher): seen", "(query, searcher): new"
    inside = [
        row
        for row in rows
        if row["question"] is None
        and (row["targets"], row["metric"]) == ("clicked", "recall")
        and row["slice"] in (seen, new)
        and row["arm"] not in ORACLES
    ]
    if seen not in {row["slice"] for row in inside}:
        return Group()  # no search of the test repeats one of the training window
    k = min({row["k"] for row in inside}, key=lambda k: abs(k - 10))
    table = Table(title=f"clicked, recall@{k}: (query, searcher) seen or new", title_justify="left")
    for heading in ("arm", "index"):
        table.add_column(heading)
    for heading in ("seen", "n", "new", "n"):
        table.add_column(heading, justify="right")
    runs: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in inside:
        if row["k"] == k:
            runs.setdefault((row["arm"], row["index"]), {}).setdefault(row["slice"], []).append(row)
    for (arm, index), by_slice in sorted(runs.items(), key=lambda run: -_mean(run[1].get(new, []))):
        both = [by_slice.get(name, []) for name in (seen, new)]
        cells = [(f"{_mean(of):.3f}", f"{of[0]['n']:,}") if of else ("", "0") for of in both]
        table.add_row(arm, index, *cells[0], *cells[1])
    return table


def _mean(rows: list[dict[str, Any]]) -> float:
    """Over seeds; 0 where there is none."""
    return float(sum(row["value"] for row in rows)) / max(len(rows), 1)
