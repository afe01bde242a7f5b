"""The session that commands share: the console, the log level, the Prefect server, the exit code."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from ebr_core.errors import InputError
from tasks.home import prepare_environment
from tasks.stage_words import say

if TYPE_CHECKING:
    from prefect import State

EXPERIMENT = Annotated[
    str, typer.Argument(help="The experiment: its file (YAML) or its name, such as smoke.", metavar="EXPERIMENT")
]
EXPERIMENT_ARM = Annotated[
    str,
    typer.Argument(
        help="The arm: EXPERIMENT/ARM, such as smoke/random or smoke/@champion; or @champion, that of the last run.",
        metavar="EXPERIMENT/ARM",
    ),
]
VERBOSE = Annotated[bool, typer.Option("--verbose", help="Also print Prefect's log of every stage.")]
JSON = Annotated[bool, typer.Option("--json", help="Print only one JSON document to standard output.")]
PIPE_WIDTH = 170  # columns if the output goes to a file or a pipe


def open_console(pipe_width: int = PIPE_WIDTH) -> Console:
    """A console as wide as the terminal, or `pipe_width` columns wide if the output goes elsewhere."""
    return Console(width=None if sys.stdout.isatty() else pipe_width)


def open_session(verbose: bool = False) -> None:
    """Prepare this process for a flow; call it before anything imports Prefect, which reads its settings once.

    From here on, Ctrl-C ends the process with one line. Processes that killed runs left behind are ended. The flow
    reports to the server of a running `ebr ui`, or else to a temporary server. verbose: print Prefect's log, of which
    otherwise warnings and errors alone reach the terminal, in place of a line for each long stage.

    Raises InputError if the disk, a database or a server cannot be used.
    """
    if not verbose:  # what reaches the server, and so the pages, stays as it is
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    say("starting Prefect, which keeps track of the work")
    from flows.process.cleanup import end_orphans
    from flows.process.preflight import refuse_unusable
    from flows.process.signals import install_handlers
    from flows.process.temporary_server import await_server, serve_process
    from flows.process.ui import use_running_server

    install_handlers()
    end_orphans()
    use_running_server()
    refuse_unusable(served="PREFECT_API_URL" in os.environ)
    await_server(serve_process())
    say("loading the libraries that train and search")
    import prefect  # noqa: F401  (it configures the loggers, and would drop the filters)

    from tasks.progress import LINES

    LINES.set(not verbose)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_drop_traceback)
        if not verbose:
            logging.getLogger(name).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """False for what follows from a failure that the terminal has shown: its state, and the stages that need it."""
    message = record.getMessage()
    return not message.startswith("Finished in state") or not any(
        state in message for state in ("NotReady(", "Failed(")
    )


def outcome_of(state: State[Any]) -> Any:
    """The value that a flow returned, even if some of its stages failed. Raises the error that stopped the flow."""
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def run_app(app: Callable[[], None]) -> None:
    """Run the command line and end the process with its exit code.

    0: success. 1: a part of a run failed. 2: an error that the user can correct, printed as one line. 130 and 143:
    Ctrl-C and SIGTERM. A bug keeps its traceback.
    """
    signal.signal(signal.SIGTERM, _interrupt)  # otherwise Prefect's temporary server would outlive the run
    try:
        prepare_environment()
        app()
    except SystemExit as system_exit:
        if system_exit.code:  # the frames of a failed run, too, may hold a DuckDB connection
            _exit(system_exit.code if isinstance(system_exit.code, int) else 1)
        raise
    except Exception as error:
        if (message := user_message(error)) is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        _exit(2)


def user_message(error: BaseException) -> str | None:
    """One line about an error that the user can correct, None for a bug."""
    if isinstance(error, InputError):
        return str(error)
    from flows.process.preflight import environment_error

    return environment_error(error)


def _drop_traceback(record: logging.LogRecord) -> bool:
    """True for every record. An error that the user can correct loses its traceback, which only a developer needs."""
    error = record.exc_info[1] if record.exc_info else None
    if error and user_message(error):
        record.exc_info = record.exc_text = None
    return True


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _exit(code: int) -> NoReturn:
    """End the process after its exit handlers, without the report of leaked objects that DuckDB's binding prints if the
    frames of an error still hold a connection."""
    if "prefect.logging.handlers" in sys.modules:
        sys.modules["prefect.logging.handlers"].APILogWorker.drain_all(timeout=5)  # while the server still listens
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
