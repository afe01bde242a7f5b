"""The command line `ebr`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Annotated

import typer

from flows.app.arm_commands import explain, negatives, ratings
from flows.app.init_commands import init
from flows.app.model_commands import batch, export, search, serve
from flows.app.night_commands import nightly, rollback, status
from flows.app.old_spellings import Command
from flows.app.run_commands import audit, check, compare, paper, report, run, schema, simulate, ui
from flows.app.session import run_app
from flows.app.state_commands import prune, runs

NAMES = (
    "EXPERIMENT is a file or its name: experiments/smoke.yaml or smoke. A model is EXPERIMENT/ARM, such as "
    "smoke/random; smoke/@champion is the champion of smoke, @champion that of the experiment that ran last."
)
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, epilog=NAMES)
GROUPS: dict[str, tuple[Callable[..., None], ...]] = {  # as `ebr --help` lists them
    "Start": (init, check, run),
    "Look": (report, runs, compare, negatives, explain, ui),
    "Ask": (search, batch, export, serve),
    "Every night": (nightly, status, rollback, prune),
    "Research": (audit, paper, simulate, schema),
}
for group, commands in GROUPS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=group)(command)
app.add_typer(ratings, name="ratings", rich_help_panel="Research")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ebr {importlib.metadata.version('ebr')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train embedding search on your own search logs, and find out whether it beats BM25 and the engine of today."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    run_app(app)


if __name__ == "__main__":
    main()
