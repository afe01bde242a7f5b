"""Proves that every broken input is either read correctly or refused with a clear error.

    python -m proofs.fuzz [inputs, default 2000] [first number, default 0]

Each input is a small log in some layout with one defect, or a sound log under a mutated experiment file; its number is
its seed. It goes through the steps of `ebr check` in a separate process that may take 6 GB and 60 seconds. The table
counts inputs that were read, refused, and neither, by layout and defect. The exit code is 1 if any input was neither.

An input is read correctly if the report's counts add up (read = kept + dropped for every table) and equal those of
other readers, if the written files hold the kept rows, and if every identity and query in them was in the log. It is
refused clearly if it raises an InputError whose message names a file, a table or a key, is short and has no traceback.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from proofs.fuzz_checks import unclear_parts, wrong_counts
from proofs.fuzz_inputs import make_input
from proofs.small_logs import FORMS
from tasks.home import prepare_environment

LONGEST_S = 60
MOST_BYTES = 6 * 2**30


class FuzzVerdict(NamedTuple):
    """The outcome of an input."""

    layout: str
    mutation: str
    verdict: str  # read, refused or bug
    message: str
    is_counted: bool  # True if other readers counted the rows too


def try_input(number: int) -> FuzzVerdict:
    """The outcome of the input with this number, from `ebr check`."""
    from ebr_core.errors import InputError
    from flows.app.check import describe_experiment

    folder, home = Path(tempfile.mkdtemp(prefix="ebr-fuzz-")), os.environ["EBR_HOME"]
    os.environ["EBR_HOME"] = str(folder / "home")
    layout = list(FORMS)[number % len(FORMS)]
    mutation = "make_input"
    is_counted = False
    try:
        fuzz_input = make_input(number, folder)
        mutation = fuzz_input.mutation
        is_counted = bool(fuzz_input.counts) and all(count is not None for count in fuzz_input.counts.values())
        text = describe_experiment(fuzz_input.experiment)
        faults = list(wrong_counts(fuzz_input, text))
        verdict, message = ("bug", "; ".join(faults)) if faults else ("read", "")
    except InputError as error:
        faults = list(unclear_parts(str(error), fuzz_input))
        verdict, message = ("bug", f"{faults}: {error}") if faults else ("refused", str(error))
    except BaseException as error:
        verdict, message = (
            "bug",
            f"{type(error).__name__}: {error}\n{''.join(traceback.format_tb(error.__traceback__)[-3:])}",
        )
    finally:
        os.environ["EBR_HOME"] = home
        shutil.rmtree(folder, ignore_errors=True)
    return FuzzVerdict(layout, mutation, verdict, message, is_counted)


def _work(pipe: Connection) -> None:
    """Try the inputs whose numbers come through the pipe, until None comes; send the outcomes back."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryDirectory(prefix="ebr-fuzz-home-") as folder:
        os.environ["EBR_HOME"] = folder
        prepare_environment()
        while (number := pipe.recv()) is not None:
            pipe.send(try_input(number))


def fuzz(numbers: range) -> Iterator[tuple[int, FuzzVerdict]]:
    """The outcomes of the inputs with these numbers; a process that crashes or does not answer is an outcome too."""
    context = multiprocessing.get_context("spawn")
    worker, pipe = None, None
    for number in numbers:
        if worker is None or pipe is None:
            pipe, worker_pipe = context.Pipe()
            worker = context.Process(target=_work, args=(worker_pipe,), daemon=True)
            worker.start()
            worker_pipe.close()
        pipe.send(number)
        layout = list(FORMS)[number % len(FORMS)]
        patience_s = LONGEST_S + (120 if number == numbers[0] else 0)  # the first input waits for the imports too
        try:
            if not pipe.poll(patience_s):
                raise TimeoutError
            yield number, pipe.recv()
        except (EOFError, TimeoutError, ConnectionResetError) as error:
            worker.kill()
            worker.join()
            message = f"hung for {LONGEST_S} s" if isinstance(error, TimeoutError) else f"crashed, {worker.exitcode}"
            yield number, FuzzVerdict(layout, "process", "bug", message, False)
            worker = None
    if worker is not None and pipe is not None:
        pipe.send(None)
        worker.join()


def format_table(outcomes: list[FuzzVerdict]) -> str:
    """A Markdown table: a row for each mutation, a column for each layout, and read / refused / bugs in each cell."""
    cells: dict[tuple[str, str], Counter[str]] = {}
    for outcome in outcomes:
        for key in (
            (outcome.layout, outcome.mutation),
            (outcome.layout, "all"),
            ("all", outcome.mutation),
            ("all", "all"),
        ):
            cells.setdefault(key, Counter())[outcome.verdict] += 1
    mutations = [*dict.fromkeys(sorted(outcome.mutation for outcome in outcomes)), "all"]
    lines = ["| what is wrong | " + " | ".join((*FORMS, "all")) + " |", "|---" * (len(FORMS) + 2) + "|"]
    for mutation in mutations:
        row = [cells.get((layout, mutation)) for layout in (*FORMS, "all")]
        texts = [f"{c['read']} / {c['refused']} / {c['bug']}" if c else "" for c in row]
        lines.append(f"| {mutation.replace('_', ' ')} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print bugs as they come, then the table; exit with code 1 if there was a bug."""
    input_count, first_number = (int(argument) for argument in [*sys.argv[1:], *("2000", "0")[len(sys.argv) - 1 :]])
    outcomes = []
    for number, outcome in fuzz(range(first_number, first_number + input_count)):
        outcomes.append(outcome)
        if outcome.verdict == "bug" or input_count == 1:
            print(f"{number}: {outcome.layout}, {outcome.mutation}: {outcome.verdict}: {outcome.message}", flush=True)
    print(format_table(outcomes))
    totals, counted_inputs = (
        Counter(verdict.verdict for verdict in outcomes),
        sum(verdict.is_counted for verdict in outcomes),
    )
    print(f"{len(outcomes):,} inputs: {totals['read']:,} read, {totals['refused']:,} refused, {totals['bug']} neither")
    counted_and_read = sum(verdict.is_counted and verdict.verdict == "read" for verdict in outcomes)
    print(f"Rows also counted by other readers: of {counted_and_read:,} that were read ({counted_inputs:,} of all)")
    if totals["bug"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
