"""The command that writes a first experiment file: `ebr init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def init(
    files: Annotated[
        list[str], typer.Argument(help="The files of the log, or globs in quotes: Parquet, CSV or NDJSON.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The experiment file to write; default: experiments/NAME.yaml, named after the log."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Look at your files, write an experiment for them, and check it.

    It guesses the layout and the columns; the experiment compares three or more arms. The exit code is that of
    `ebr check`.
    """
    from data.guess.first_experiment import write_experiment
    from flows.app.run_commands import check

    console = Console()
    path = write_experiment(files, out, overwrite)
    console.print(path.read_text(encoding="utf-8"), markup=False, soft_wrap=True, highlight=False)
    console.print(f"Written: {path}. Correct it where it is wrong.\n", markup=False, soft_wrap=True, highlight=False)
    check(str(path))
    console.print(f"\nNext: ebr run {path}", markup=False, soft_wrap=True, highlight=False)
