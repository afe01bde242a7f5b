"""Commands about what the home holds: `ebr runs`, `ebr prune`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ebr_core.errors import InputError
from flows.app.model_names import name_of
from flows.app.session import open_console


def runs(
    experiment: Annotated[
        str | None,
        typer.Argument(help="List only the runs of this experiment: its file or its name.", metavar="[EXPERIMENT]"),
    ] = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="The number of runs to list, the newest ones.")] = 20,
) -> None:
    """List the runs, the newest last, and the model that each recommends."""
    from flows.app.narrow_tables import print_grid
    from tasks.home import artifacts
    from tasks.report.page import tabulate
    from tasks.report.recommendation import recommendation
    from tasks.report.result import read

    name = experiment and name_of(experiment)
    found: list[tuple[str, Path, dict[str, Any]]] = []
    for file in artifacts().glob("report-*/run.json"):
        facts = json.loads(file.read_text())
        if name in (None, facts["experiment"]):
            found.append((str(facts["made_at"]), file.parent, facts))
    if not found:
        raise InputError(f"no run of {name}" if name else "no run yet; `ebr run EXPERIMENT` makes one")
    newest = sorted(found, key=lambda run: run[0])[-last:]
    grid = tabulate(
        [
            ("run", lambda run: run[1].name),
            ("experiment", lambda run: run[2]["experiment"]),
            ("made", lambda run: run[0].replace("T", " ").partition("+")[0]),
            ("result", lambda run: recommendation(read(run[1])).replace("`", "")),
        ],
        newest,
    )
    print_grid(grid, open_console())


def prune(
    keep: Annotated[
        float | None,
        typer.Option(min=0, help="Gigabytes to keep; default: EBR_KEEP, or only the artifacts in use.", metavar="GB"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """Free disk space: list the artifacts that can go, and remove them.

    The least recently used artifacts go first. Champions, running work, and the results and reports of runs stay. A run
    that needs a removed artifact makes it again.
    """
    from tasks.disk_budget import (
        GIGABYTE,
        Stored,
        beyond,
        budget,
        gigabytes,
        removable,
        remove,
        size_of,
        stored_artifacts,
        without,
    )

    allowed = keep * GIGABYTE if keep is not None else budget() or 0
    stored = stored_artifacts()
    chosen = beyond(allowed, stored, removable())
    kept_bytes = size_of(without(stored, chosen))
    size = size_of(stored)
    print(
        f"{len(stored):,} artifacts, {gigabytes(size)}; {len(chosen):,} can go and free {gigabytes(size - kept_bytes)}:"
    )
    by_stage: dict[str, list[Stored]] = defaultdict(list)
    for one in chosen:
        by_stage[one.stage].append(one)
    for stage, of_stage in sorted(by_stage.items(), key=lambda item: -size_of(item[1])):
        print(f"  {stage:<28} {len(of_stage):>5,}  {gigabytes(size_of(of_stage)):>10}")
    if kept_bytes > allowed:
        print(f"{gigabytes(kept_bytes)} stay: champions, results, work that runs, and what was used in the last hour.")
    if not chosen:
        return
    if not yes and not (sys.stdin.isatty() and typer.confirm("Remove them?")):
        print("Nothing was removed. --yes removes them.")
        return
    remove(chosen)
    print(f"Removed. {gigabytes(kept_bytes)} stay.")
