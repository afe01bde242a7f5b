"""kill -9 at random moments: does the same command afterwards give the same bytes, and is nothing left behind?

    python -m proofs.kills [kills [seed [minutes after which no other begins]]]

An undisturbed run of `proofs/kills.yaml` gives the bytes. Then a run, its Prefect server, the worker with or
without its run, the pages' Prefect server, the MLflow server or `ebr ui` itself is killed, at moments that are spread
over the stages and the time of an undisturbed run. They are told in finished stages, so that a busy machine moves none.
After each kill the same command goes on (with `ebr ui` started again where it ended), and is killed up to twice more
before it may end. Two homes are used side by side: one for runs, one for the pages. Exit code 1 where results differ,
an arm is trained twice, or something is half written or left.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from proofs.home_artifacts import MARK, files_of, folders, half_written, results_of, trained
from proofs.kill_victims import (
    BOTH,
    EXPERIMENT,
    ITS_SERVER,
    MLFLOW,
    OVER,
    PAGES,
    PARENT,
    RUN,
    SERVER,
    WORKER,
    Pages,
    Process,
    kill,
    log_of,
    open_pages,
    processes,
    start,
    strike,
    stuck_after,
    until,
)

OF_50 = {RUN: 14, PARENT: 8, ITS_SERVER: 6, WORKER: 5, BOTH: 5, SERVER: 5, MLFLOW: 4, PAGES: 3}
OF_RUNS = (RUN, PARENT, ITS_SERVER)


class RunReference(NamedTuple):
    """What an undisturbed run made and when."""

    results: dict[str, bytes]
    files: dict[str, set[str]]  # folder → its files
    finished: list[float]  # seconds from the start, one a folder
    seconds: float


class Moment(NamedTuple):
    """When to kill: so many stages are finished, and then a while has passed, or a stage has just begun."""

    stages: int
    wait_s: float
    begun: bool


class RunKill(NamedTuple):
    """What came of a kill."""

    victim: str
    during: str
    resumed: bool
    same: bool
    twice: int
    broken: int
    left: int
    stuck: int
    said: str = ""


def undisturbed(home: Path) -> RunReference:
    """Runs twice, the first time to compile what is not compiled."""
    for _ in range(2):
        shutil.rmtree(home / "artifacts", ignore_errors=True)
        began = time.time()
        code = start(home, "run", str(EXPERIMENT)).wait()
        assert code == 0, f"the undisturbed run ended with code {code}: {log_of(home).read_text()[-2000:]}"
        seconds = time.time() - began
    there = folders(home)
    finished = sorted(path.stat().st_mtime - began for path in there.values())
    return RunReference(results_of(home), {name: files_of(path) for name, path in there.items()}, finished, seconds)


def choose(draw: random.Random, reference: RunReference, victim: str, there: int) -> Moment:
    """A moment of what is left of an undisturbed run of which so many stages are there: half are drawn evenly over the
    stages, as the next begins, half evenly over the time; of MLflow's, half while it is written."""
    starts = reference.finished[0]
    since = reference.finished[there - 1] - starts if there else 0.0
    if victim == MLFLOW and draw.random() < 0.5:
        since = reference.finished[-1]
    elif there < len(reference.files) and draw.random() < 0.5:
        return Moment(draw.randint(there, len(reference.files) - 1), 0.0, begun=True)
    at = draw.uniform(since, 0.97 * reference.seconds)
    stages = max(there, sum(finished <= at for finished in reference.finished))
    if stages == there:
        return Moment(stages, at - since, begun=False)
    begun = stages < len(reference.finished) and draw.random() < 0.5
    return Moment(stages, at - reference.finished[stages - 1], begun)


def come(home: Path, moment: Moment, over: Callable[[], bool]) -> bool:
    """Waits for the moment; False where the run was over before."""
    until(lambda: over() or len(folders(home)) >= moment.stages, "a stage", 0.005)
    end = time.monotonic() + (2.0 if moment.begun else moment.wait_s)
    while time.monotonic() < end and not over():
        if moment.begun and any((home / "artifacts").glob(f"{MARK}*")):
            break
        time.sleep(0.005)
    return not over()


def under_way(home: Path, reference: RunReference) -> str:
    """Which stages are being made, in words."""
    names = {path.name.removeprefix(MARK).split("-")[0] for path in (home / "artifacts").glob(f"{MARK}*")}
    there = len(folders(home))
    where = "starting" if not there else "tracking, ending" if there >= len(reference.files) else "between stages"
    return " + ".join(sorted(names)) or where


def begin(home: Path, victim: str, pages: Pages | None) -> tuple[subprocess.Popen[bytes] | None, Callable[[], int]]:
    """Starts what the victim is a part of: a process of its own, or none where the worker has it; and how to wait for
    its end, which gives its exit code."""
    if pages is None or victim == MLFLOW:
        process = start(home, "run", str(EXPERIMENT), **({"MLFLOW_TRACKING_URI": pages.mlflow} if pages else {}))
        return process, process.wait
    order = pages.order()
    return None, lambda: int(until(lambda: (told := pages.state(order)) in OVER and told, "the run") != "COMPLETED")


class StruckRun(NamedTuple):
    """A kill, and what has to be held against it when the command is through at last."""

    victim: str
    during: str
    done: dict[str, tuple[int, int]]
    alive: set[Process]
    broken: int


def disturb(
    home: Path, victim: str, draw: random.Random, reference: RunReference, pages: Pages | None
) -> StruckRun | None:
    """One kill; None where the run was over before its moment. Pages end with one of their processes."""
    moment = choose(draw, reference, victim, len(folders(home)))
    process, _ = begin(home, victim, pages)
    if victim == ITS_SERVER:
        until(lambda: any("prefect.server" in one.command for one in processes(home)), "the run's server")
    if not come(home, moment, lambda: process is not None and process.poll() is not None):
        return None
    if len(folders(home)) == len(reference.files) and not process:
        time.sleep(min(moment.wait_s, 1.0))  # whether the worker's run is over is not known here, and does not matter
    struck = under_way(home, reference), trained(home), set(processes(home))
    strike(home, victim, process, pages)
    if process:
        process.wait(timeout=300)
    if pages:
        pages.process.wait(timeout=300)
    return StruckRun(victim, *struck, broken=half_written(home, reference.files))


def chain(
    home: Path, victims: list[str], draw: random.Random, reference: RunReference, pages: Pages | None
) -> tuple[list[RunKill], Pages | None]:
    """Kills the victims one after another, each as it goes on from the last, then lets the command end."""
    struck: list[StruckRun] = []
    paged = pages is not None
    for victim in victims:
        if paged and (pages is None or pages.process.poll() is not None):
            pages = open_pages(home)
        if one := disturb(home, victim, draw, reference, pages):
            struck.append(one)
    if paged and (pages is None or pages.process.poll() is not None):
        pages = open_pages(home)
    _, ended = begin(home, victims[-1], pages)
    code, after, made = ended(), set(processes(home)), trained(home)
    broken = half_written(home, reference.files) + len(list((home / "artifacts").glob(f"{MARK}*")))
    same, stuck = results_of(home) == reference.results, stuck_after(pages) if pages else 0
    said = "" if code == 0 else log_of(home).read_text()[-1500:]
    found = [
        RunKill(
            one.victim,
            one.during,
            resumed=code == 0,
            same=same,
            twice=sum(made.get(name) != told for name, told in one.done.items()),
            broken=one.broken + broken,
            left=len(one.alive & after) if pages else len(after),
            stuck=stuck,
            said=said,
        )
        for one in struck
    ]
    return found, pages


def lane(home: Path, victims: list[str], paged: bool, reference: RunReference, seed: int, end: float) -> list[RunKill]:
    """Kills one victim after another in a home, in chains of one to three, each of which begins without artifacts, and
    every fourth, where there are no pages, without a home."""
    draw, found, number = random.Random(seed), list[RunKill](), 0
    pages = open_pages(home) if paged else None
    while len(found) < len(victims) and time.monotonic() < end:
        length = draw.choice((1, 1, 2, 3))
        number += 1
        shutil.rmtree(home if number % 4 == 0 and not paged else home / "artifacts", ignore_errors=True)
        (home / "artifacts").mkdir(parents=True, exist_ok=True)
        chosen = victims[len(found) : len(found) + length]
        try:
            told, pages = chain(home, chosen, draw, reference, pages)
        except (OSError, subprocess.TimeoutExpired) as error:  # a wait without an end, or pages that did not come up
            told = [
                RunKill(one, "unknown", False, False, 0, 0, 0, 0, f"{type(error).__name__}: {error}") for one in chosen
            ]
            kill(home, "")
            pages = open_pages(home) if paged else None
        found += told
        for one in told:
            print(f"{time.strftime('%H:%M:%S')} {len(found)}/{len(victims)} {one}", file=sys.stderr, flush=True)
        print(f"progress, chain {number}: {len(told)} kills", file=sys.stderr, flush=True)
    if pages:
        pages.process.send_signal(signal.SIGINT)
        pages.process.wait(timeout=120)
        print(f"after Ctrl-C {len(set(processes(home)))} processes of ebr ui are left", file=sys.stderr)
    return found


def show(found: list[RunKill]) -> int:
    """Prints the table and the moments; how many kills were not borne."""
    print("| victim | kills | resumed | same bytes | trained twice | half written | left running | runs stuck |")
    print("|---|---|---|---|---|---|---|---|")
    for victim in [*OF_50, "all"]:
        of = [told for told in found if victim in (told.victim, "all")]
        sums = [sum(column) for column in zip(*((t[2:8]) for t in of), strict=True)] if of else [0] * 6
        print(f"| {victim} | {len(of)} | {' | '.join(str(int(total)) for total in sums)} |")
    moments = Counter(told.during for told in found)
    print("\nkilled during: " + "; ".join(f"{name} {count}" for name, count in moments.most_common()))
    bad = [told for told in found if not (told.resumed and told.same) or any(told[4:8])]
    for told in bad:
        print(f"\n{told.victim}, during {told.during}: {told}")
    return len(bad)


def main() -> int:
    """Runs the kills; 1 where one was not borne."""
    kills, seed, minutes = (int(told) for told in (*sys.argv[1:], *("50", "0", "600")[len(sys.argv) - 1 :]))
    end = time.monotonic() + 60 * minutes
    victims = [victim for victim, count in OF_50.items() for _ in range(count)] * -(-kills // 50)
    random.Random(seed).shuffle(victims)
    chosen = victims[:kills]
    with tempfile.TemporaryDirectory(prefix="ebr-kills-") as folder:
        homes = Path(folder, "runs"), Path(folder, "pages")
        reference = undisturbed(homes[0])
        print(f"undisturbed: {len(reference.files)} stages, {reference.seconds:.0f} s", file=sys.stderr, flush=True)
        of_runs = [victim for victim in chosen if victim in OF_RUNS]
        of_pages = [victim for victim in chosen if victim not in OF_RUNS]
        try:
            with ThreadPoolExecutor(2) as lanes:
                parts = [
                    lanes.submit(lane, home, of, number == 1, reference, seed + number, end)
                    for number, (home, of) in enumerate(zip(homes, (of_runs, of_pages), strict=True))
                ]
                found = [told for part in parts for told in part.result()]
        finally:
            for home in homes:
                kill(home, "")
    return int(show(found) > 0)


if __name__ == "__main__":
    sys.exit(main())
