"""`ebr compare`: compare two runs, or a row of each, on the searches that they share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from data.experiment.experiment_spec import metric_of
from ebr_core.errors import InputError
from flows.app.comparison_gate import GateVerdict, decide, reason_against
from flows.app.narrow_tables import print_grid
from tasks.report.comparison import ArmComparison, compare_rows, compare_runs
from tasks.report.formats import count, ends, share, signed
from tasks.report.page import Columns, tabulate
from tasks.report.run_folders import RunArm, with_champion
from tasks.report.target_sets import in_order, set_words

DIFFERENCE = "B − A on the same searches, 95% interval"
COLUMNS: Columns[ArmComparison] = [
    ("A", lambda row: share(row.a)),
    ("B", lambda row: share(row.b)),
    (DIFFERENCE, lambda row: f"{signed(row.difference)} {ends(row.low, row.high)}"),
    ("searches", lambda row: count(row.searches)),
]


def show_comparison(
    a: RunArm,
    b: RunArm,
    metric: str | None,
    margin: float | None,
    console: Console,
    write: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Print each shared arm's metric in both runs with the paired difference, a table for each target set; of runs with
    a row, that of the two rows. The exit code: with a margin that of the verdict, else 0.

    metric: by default recall at the main K of A. margin: the difference that still counts as a tie, of a verdict on the
    rows, or on the champions of runs without a row. write: takes the comparison in place of the console.
    """
    if a.row is None and b.row is None and margin is None:
        every = compare_runs(a.folder, b.folder)
    else:
        a, b = with_champion(a), with_champion(b)
        every = compare_rows(a.folder, str(a.row), b.folder, str(b.row))
    metric = metric_of(metric) if metric else f"recall@{_main_k(a.folder)}"
    rows = [row for row in every if row.metric == metric]
    if not rows:
        metrics = ", ".join(sorted({row.metric for row in every}))
        raise InputError(f"--metric: got {metric}; both runs have {metrics}")
    verdict = None if margin is None else _verdict(a, b, rows, margin)
    if write:
        write(_document(a, b, rows, verdict))
    else:
        _print(a, b, rows, console)
    if verdict:
        print(verdict.line, file=sys.stderr if write else sys.stdout)
    return verdict.exit_code if verdict else 0


def _verdict(a: RunArm, b: RunArm, rows: list[ArmComparison], margin: float) -> GateVerdict:
    """The verdict on the main target set."""
    main = in_order(row.targets for row in rows)[0]
    row = next(row for row in rows if row.targets == main)
    reasons = [reason_against(run.folder, str(run.row), main, row.metric) for run in (a, b)]
    return decide(row, margin, next(filter(None, reasons), ""))


def _main_k(folder: Path) -> int:
    spec = yaml.safe_load((folder / "experiment.yaml").read_text())
    return int(spec["evaluation"].get("main_k", 10))


def _label(run: RunArm) -> str:
    name = "/".join(filter(None, (run.facts["experiment"], run.row)))
    return f"{name} ({run.folder})"


def _print(a: RunArm, b: RunArm, rows: list[ArmComparison], console: Console) -> None:
    console.print(f"A: {_label(a)}\nB: {_label(b)}\n", soft_wrap=True, highlight=False, markup=False)
    metric = rows[0].metric
    if a.row:
        columns: Columns[ArmComparison] = [("targets", lambda row: set_words(row.targets)), *COLUMNS]
        place = {name: at for at, name in enumerate(in_order(row.targets for row in rows))}
        grid = tabulate(columns, sorted(rows, key=lambda row: place[row.targets]))
        print_grid(grid._replace(title=metric), console)
    else:
        for targets in in_order(row.targets for row in rows):
            best_first = sorted((row for row in rows if row.targets == targets), key=lambda row: -row.b)
            grid = tabulate([("arm", lambda row: row.arm), *COLUMNS], best_first)
            print_grid(grid._replace(title=f"{metric}, targets: {set_words(targets)}"), console)
    if not any(row.training_noise for row in rows):
        console.print("The intervals do not include training noise: no arm here was trained with several seeds.")


def _document(a: RunArm, b: RunArm, rows: list[ArmComparison], verdict: GateVerdict | None) -> dict[str, Any]:
    """The comparison for a machine (docs/command-line.md)."""
    main = in_order(row.targets for row in rows)[0]
    sides = {
        side: {"experiment": run.facts["experiment"], "run": run.folder.name, "row": run.row}
        for side, run in (("a", a), ("b", b))
    }
    decided = verdict and {
        "verdict": verdict.word,
        "exit_code": verdict.exit_code,
        "margin": verdict.margin,
        "reason": verdict.reason or None,
        "line": verdict.line,
    }
    place = {name: at for at, name in enumerate(in_order(row.targets for row in rows))}
    in_place = sorted(rows, key=lambda row: place[row.targets])
    fields = [field for field in ArmComparison._fields if field != "arm"]
    listed = [{"row": row.arm} | {field: getattr(row, field) for field in fields} for row in in_place]
    return {**sides, "metric": rows[0].metric, "targets": main, "rows": listed, "gate": decided}
