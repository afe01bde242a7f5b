"""Is every broken input either read right or refused with a clear error?

    python -m proofs.fuzz [inputs, default 2000] [number of the first, default 0]

Each input is a small log in some layout with one thing wrong in it, or a sound one under a mutated experiment file; its
number is its seed. It goes through what `ebr check` does, in a process of its own that may take 6 GB and 60 seconds.
Printed: layout × what is wrong × how many were read, refused, and neither. Exit code 1 where any was neither.

Read: the report's counts add up (read = kept + dropped for every table), what was read is what other readers count, the
files written hold what was kept, and no identity or query came out that was not in the log. Refused: an InputError
whose message names a file, a table or a key, is short and holds no traceback.
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
from proofs.fuzz_inputs import made
from proofs.small_logs import FORMS
from tasks.home import prepare_environment

LONGEST_S = 60
MOST_BYTES = 6 * 2**30


class FuzzVerdict(NamedTuple):
    """What became of an input."""

    layout: str
    mutation: str
    verdict: str  # read, refused or bug
    told: str
    counted: bool  # whether other readers counted the rows too


def tried(number: int) -> FuzzVerdict:
    """What the product makes of the input of this number."""
    from ebr_core.errors import InputError
    from flows.app.check import describe_experiment

    folder, home = Path(tempfile.mkdtemp(prefix="ebr-fuzz-")), os.environ["EBR_HOME"]
    os.environ["EBR_HOME"] = str(folder / "home")
    layout = list(FORMS)[number % len(FORMS)]
    mutation = "made"
    counted = False
    try:
        given = made(number, folder)
        mutation = given.mutation
        counted = bool(given.counts) and all(count is not None for count in given.counts.values())
        text = describe_experiment(given.experiment)
        wrong = list(wrong_counts(given, text))
        verdict, told = ("bug", "; ".join(wrong)) if wrong else ("read", "")
    except InputError as error:
        unclear = list(unclear_parts(str(error), given))
        verdict, told = ("bug", f"{unclear}: {error}") if unclear else ("refused", str(error))
    except BaseException as error:
        verdict, told = (
            "bug",
            f"{type(error).__name__}: {error}\n{''.join(traceback.format_tb(error.__traceback__)[-3:])}",
        )
    finally:
        os.environ["EBR_HOME"] = home
        shutil.rmtree(folder, ignore_errors=True)
    return FuzzVerdict(layout, mutation, verdict, told, counted)


def _work(pipe: Connection) -> None:
    """Tries the inputs whose numbers come in until none comes."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with tempfile.TemporaryDirectory(prefix="ebr-fuzz-home-") as folder:
        os.environ["EBR_HOME"] = folder
        prepare_environment()
        while (number := pipe.recv()) is not None:
            pipe.send(tried(number))


def fuzz(numbers: range) -> Iterator[tuple[int, FuzzVerdict]]:
    """The outcomes of the inputs of these numbers; a process that crashes or does not answer is an outcome too."""
    context = multiprocessing.get_context("spawn")
    worker, pipe = None, None
    for number in numbers:
        if worker is None or pipe is None:
            pipe, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs,), daemon=True)
            worker.start()
            theirs.close()
        pipe.send(number)
        layout = list(FORMS)[number % len(FORMS)]
        started = LONGEST_S + (120 if number == numbers[0] else 0)  # the first waits for imports as well
        try:
            if not pipe.poll(started):
                raise TimeoutError
            yield number, pipe.recv()
        except (EOFError, TimeoutError, ConnectionResetError) as error:
            worker.kill()
            worker.join()
            told = f"hung for {LONGEST_S} s" if isinstance(error, TimeoutError) else f"crashed, {worker.exitcode}"
            yield number, FuzzVerdict(layout, "process", "bug", told, False)
            worker = None
    if worker is not None and pipe is not None:
        pipe.send(None)
        worker.join()


def shown(outcomes: list[FuzzVerdict]) -> str:
    """The table, in Markdown: a row a layout, a column a mutation, read / refused / bugs in a cell."""
    cells: dict[tuple[str, str], Counter[str]] = {}
    for one in outcomes:
        for key in ((one.layout, one.mutation), (one.layout, "all"), ("all", one.mutation), ("all", "all")):
            cells.setdefault(key, Counter())[one.verdict] += 1
    mutations = [*dict.fromkeys(sorted(one.mutation for one in outcomes)), "all"]
    lines = ["| what is wrong | " + " | ".join((*FORMS, "all")) + " |", "|---" * (len(FORMS) + 2) + "|"]
    for mutation in mutations:
        row = [cells.get((layout, mutation)) for layout in (*FORMS, "all")]
        texts = [f"{c['read']} / {c['refused']} / {c['bug']}" if c else "" for c in row]
        lines.append(f"| {mutation.replace('_', ' ')} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prints the bugs as they come, and the table."""
    many, first = (int(given) for given in [*sys.argv[1:], *("2000", "0")[len(sys.argv) - 1 :]])
    outcomes = []
    for number, outcome in fuzz(range(first, first + many)):
        outcomes.append(outcome)
        if outcome.verdict == "bug" or many == 1:
            print(f"{number}: {outcome.layout}, {outcome.mutation}: {outcome.verdict}: {outcome.told}", flush=True)
    print(shown(outcomes))
    totals, counted = Counter(one.verdict for one in outcomes), sum(one.counted for one in outcomes)
    print(f"{len(outcomes):,} inputs: {totals['read']:,} read, {totals['refused']:,} refused, {totals['bug']} neither")
    read_counted = sum(one.counted and one.verdict == "read" for one in outcomes)
    print(f"Rows counted by other readers too: of {read_counted:,} that were read ({counted:,} of all)")
    if totals["bug"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
