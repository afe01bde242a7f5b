"""Proves that after kill -9 at random moments the same command gives the same bytes and leaves nothing behind.

    python -m proofs.kills [kills [seed [minutes after which no chain begins]]]

An undisturbed run of `proofs/kills.yaml` gives the expected bytes. The victims are a run, its Prefect server, the
worker with or without its run, the pages' Prefect server, the MLflow server and `ebr ui` itself. They are killed at
moments spread over the stages and the time of an undisturbed run. Moments are counted in finished stages, so that a
busy machine does not shift them. After each kill the same command resumes (after a restart of `ebr ui` if that ended),
and is killed up to twice more before it may end. Two homes are used side by side: one for runs, one for the pages. The
exit code is 1 if results differ, an arm is trained twice, or something is half written or left running.
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

from proofs.home_artifacts import MARK, arm_stats, folders, half_written, results_of
from proofs.kill_moments import RunReference, choose, run_reference, under_way, wait_for_moment
from proofs.kill_victims import (
    EXPERIMENT,
    FINAL_STATES,
    MLFLOW,
    PAGES,
    PAGES_SERVER,
    RUN,
    RUN_PROCESS,
    RUN_SERVER,
    WORKER,
    WORKER_AND_RUN,
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

KILLS_OF_50 = {
    RUN: 14,
    RUN_PROCESS: 8,
    RUN_SERVER: 6,
    WORKER: 5,
    WORKER_AND_RUN: 5,
    PAGES_SERVER: 5,
    MLFLOW: 4,
    PAGES: 3,
}
RUN_VICTIMS = (RUN, RUN_PROCESS, RUN_SERVER)


class RunKill(NamedTuple):
    """The outcome of a kill."""

    victim: str
    stage: str
    resumed: bool
    same_bytes: bool
    retrained: int
    unfinished: int
    left_running: int
    stuck_runs: int
    log_end: str = ""


def begin(home: Path, victim: str, pages: Pages | None) -> tuple[subprocess.Popen[bytes] | None, Callable[[], int]]:
    """Start the run that the victim belongs to; return its process and a function that waits for its exit code.

    The process is None if the worker runs it.
    """
    if pages is None or victim == MLFLOW:
        process = start(home, "run", str(EXPERIMENT), **({"MLFLOW_TRACKING_URI": pages.mlflow} if pages else {}))
        return process, process.wait
    run_id = pages.start_run()
    return None, lambda: int(
        until(lambda: (state := pages.state(run_id)) in FINAL_STATES and state, "the run") != "COMPLETED"
    )


class StruckRun(NamedTuple):
    """A kill, and the state to compare with once the command has ended."""

    victim: str
    stage: str
    trained_arms: dict[str, tuple[int, int]]
    live_processes: set[Process]
    unfinished: int


def disturb(
    home: Path, victim: str, rng: random.Random, reference: RunReference, pages: Pages | None
) -> StruckRun | None:
    """One kill; None if the run was over before its moment. The pages end with any of their processes."""
    moment = choose(rng, reference, victim, len(folders(home)))
    process, _ = begin(home, victim, pages)
    if victim == RUN_SERVER:
        until(lambda: any("prefect.server" in candidate.command for candidate in processes(home)), "the run's server")
    if not wait_for_moment(home, moment, lambda: process is not None and process.poll() is not None):
        return None
    if len(folders(home)) == len(reference.files) and not process:
        time.sleep(min(moment.wait_s, 1.0))  # the worker's run may be over by now, which does not matter
    state_before = under_way(home, reference), arm_stats(home), set(processes(home))
    strike(home, victim, process, pages)
    if process:
        process.wait(timeout=300)
    if pages:
        pages.process.wait(timeout=300)
    return StruckRun(victim, *state_before, unfinished=half_written(home, reference.files))


def chain(
    home: Path, victims: list[str], rng: random.Random, reference: RunReference, pages: Pages | None
) -> tuple[list[RunKill], Pages | None]:
    """Kill the victims one after another as the command resumes, then let it end; return the outcomes and the pages."""
    struck_runs: list[StruckRun] = []
    has_pages = pages is not None
    for victim in victims:
        if has_pages and (pages is None or pages.process.poll() is not None):
            pages = open_pages(home)
        if struck_run := disturb(home, victim, rng, reference, pages):
            struck_runs.append(struck_run)
    if has_pages and (pages is None or pages.process.poll() is not None):
        pages = open_pages(home)
    _, wait_for_end = begin(home, victims[-1], pages)
    code, processes_after, trained_after = wait_for_end(), set(processes(home)), arm_stats(home)
    unfinished = half_written(home, reference.files) + len(list((home / "artifacts").glob(f"{MARK}*")))
    same_bytes, stuck_runs = results_of(home) == reference.results, stuck_after(pages) if pages else 0
    log_end = "" if code == 0 else log_of(home).read_text()[-1500:]
    run_kills = [
        RunKill(
            struck_run.victim,
            struck_run.stage,
            resumed=code == 0,
            same_bytes=same_bytes,
            retrained=sum(trained_after.get(name) != stat for name, stat in struck_run.trained_arms.items()),
            unfinished=struck_run.unfinished + unfinished,
            left_running=len(struck_run.live_processes & processes_after) if pages else len(processes_after),
            stuck_runs=stuck_runs,
            log_end=log_end,
        )
        for struck_run in struck_runs
    ]
    return run_kills, pages


def lane(
    home: Path, victims: list[str], has_pages: bool, reference: RunReference, seed: int, end: float
) -> list[RunKill]:
    """Kill one victim after another in a home, in chains of one to three.

    Each chain begins without artifacts, and every fourth without a home if there are no pages.
    """
    rng, run_kills, number = random.Random(seed), list[RunKill](), 0
    pages = open_pages(home) if has_pages else None
    while len(run_kills) < len(victims) and time.monotonic() < end:
        length = rng.choice((1, 1, 2, 3))
        number += 1
        shutil.rmtree(home if number % 4 == 0 and not has_pages else home / "artifacts", ignore_errors=True)
        (home / "artifacts").mkdir(parents=True, exist_ok=True)
        chain_victims = victims[len(run_kills) : len(run_kills) + length]
        try:
            chain_kills, pages = chain(home, chain_victims, rng, reference, pages)
        except (OSError, subprocess.TimeoutExpired) as error:  # a wait that timed out, or pages that did not start
            chain_kills = [
                RunKill(item, "unknown", False, False, 0, 0, 0, 0, f"{type(error).__name__}: {error}")
                for item in chain_victims
            ]
            kill(home, "")
            pages = open_pages(home) if has_pages else None
        run_kills += chain_kills
        for item in chain_kills:
            print(f"{time.strftime('%H:%M:%S')} {len(run_kills)}/{len(victims)} {item}", file=sys.stderr, flush=True)
        print(f"progress, chain {number}: {len(chain_kills)} kills", file=sys.stderr, flush=True)
    if pages:
        pages.process.send_signal(signal.SIGINT)
        pages.process.wait(timeout=120)
        print(f"after Ctrl-C {len(set(processes(home)))} processes of ebr ui are left", file=sys.stderr)
    return run_kills


def show(run_kills: list[RunKill]) -> int:
    """Print the table and the moments; return the number of failed kills."""
    print("| victim | kills | resumed | same bytes | trained twice | half written | left running | runs stuck |")
    print("|---|---|---|---|---|---|---|---|")
    for victim in [*KILLS_OF_50, "all"]:
        victim_kills = [run_kill for run_kill in run_kills if victim in (run_kill.victim, "all")]
        sums = (
            [sum(column) for column in zip(*((row[2:8]) for row in victim_kills), strict=True)]
            if victim_kills
            else [0] * 6
        )
        print(f"| {victim} | {len(victim_kills)} | {' | '.join(str(int(total)) for total in sums)} |")
    moments = Counter(run_kill.stage for run_kill in run_kills)
    print("\nkilled during: " + "; ".join(f"{name} {count}" for name, count in moments.most_common()))
    bad = [run_kill for run_kill in run_kills if not (run_kill.resumed and run_kill.same_bytes) or any(run_kill[4:8])]
    for run_kill in bad:
        print(f"\n{run_kill.victim}, during {run_kill.stage}: {run_kill}")
    return len(bad)


def main() -> int:
    """Run the kills; return 1 if one of them failed."""
    kills, seed, minutes = (int(item) for item in (*sys.argv[1:], *("50", "0", "600")[len(sys.argv) - 1 :]))
    end = time.monotonic() + 60 * minutes
    victims = [victim for victim, count in KILLS_OF_50.items() for _ in range(count)] * -(-kills // 50)
    random.Random(seed).shuffle(victims)
    chosen_victims = victims[:kills]
    with tempfile.TemporaryDirectory(prefix="ebr-kills-") as folder:
        homes = Path(folder, "runs"), Path(folder, "pages")
        reference = run_reference(homes[0])
        print(f"undisturbed: {len(reference.files)} stages, {reference.seconds:.0f} s", file=sys.stderr, flush=True)
        run_victims = [victim for victim in chosen_victims if victim in RUN_VICTIMS]
        page_victims = [victim for victim in chosen_victims if victim not in RUN_VICTIMS]
        try:
            with ThreadPoolExecutor(2) as lanes:
                parts = [
                    lanes.submit(lane, home, lane_victims, number == 1, reference, seed + number, end)
                    for number, (home, lane_victims) in enumerate(zip(homes, (run_victims, page_victims), strict=True))
                ]
                run_kills = [item for part in parts for item in part.result()]
        finally:
            for home in homes:
                kill(home, "")
    return int(show(run_kills) > 0)


if __name__ == "__main__":
    sys.exit(main())
