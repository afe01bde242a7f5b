"""Proves that a night after kill -9 is repeated as if nothing had happened, and that the next night gets its turn.

    python -m proofs.night_kills [kills [seed]]

The log is that of a simulated world, with a folder for each day. One home runs its nights undisturbed; in the other
one `ebr ui` runs them through `retrain/nightly`. Each of these is killed once, at a random point of its progress: as a
stage begins, or after one of the last steps (MLflow, the registry, the service, the record). Then `ebr ui` is restarted
if it ended. The same night is started again, or a second run of it has waited for the slot since before the kill.
Records, champion, registry, MLflow's runs and the bytes of all artifacts are compared after each night. The exit code
is 1 if anything differs, a night does not get its turn, or something is left running.
"""

from __future__ import annotations

import random
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from proofs.home_artifacts import MARK, arm_stats, folders, half_written
from proofs.kill_victims import (
    FINAL_STATES,
    MLFLOW,
    PAGES,
    PAGES_SERVER,
    WORKER,
    WORKER_AND_RUN,
    Pages,
    Process,
    kill,
    open_pages,
    processes,
    strike,
    stuck_after,
    until,
)
from proofs.night_outcomes import LATE_STEPS, NIGHTLY, difference, late_steps_done, outcome_of, query_mlflow, steps_done
from proofs.night_reference import PAUSE_S, NightReference, run_reference_nights, write_world

NIGHT, POWER = "night's process", "all at once"
KILLS_OF_10 = {NIGHT: 3, WORKER: 1, WORKER_AND_RUN: 2, PAGES_SERVER: 1, MLFLOW: 1, PAGES: 1, POWER: 1}
RUNNERS = ("prefect.engine", "prefect.flow_engine", "prefect.runner")
TURN_S = 150  # within which a night has to begin: Prefect looks every 30 s whether a slot is free, the worker every 15


class NightKill(NamedTuple):
    """The outcome of a kill."""

    victim: str
    stage: str
    queued: bool
    resumed: bool
    turn_s: float
    differing_parts: tuple[str, ...]
    retrained: int
    unfinished: int
    left_running: int
    stuck_runs: int
    differences: str = ""


class NightKills(NamedTuple):
    """The outcomes of all kills, of the night after them, and the number of processes left after the pages ended."""

    night_kills: list[NightKill]
    last_is_same: bool
    left_running: int


def choose(rng: random.Random, reference: NightReference, day: date) -> tuple[int, float]:
    """A random step of a night, more often a late step than a stage, and the seconds from it to the kill."""
    step_seconds, stages = reference.step_seconds[day], reference.stages[day]
    is_late = rng.random() < 0.6
    steps = [step for step in step_seconds if (step >= stages) == is_late] or list(step_seconds)
    step = rng.choice(steps)
    return step, rng.uniform(0, step_seconds[step]) if step else 0.0


def describe_progress(home: Path, day: date, initial_count: int, reference: NightReference) -> str:
    """The progress of a night in words."""
    if names := {path.name.removeprefix(MARK).split("-")[0] for path in (home / "artifacts").glob(f"{MARK}*")}:
        return " + ".join(sorted(names))
    if steps := late_steps_done(home, day):
        return f"after: {LATE_STEPS[steps - 1]}"
    done_stages = len(folders(home)) - initial_count
    return (
        "starting" if not done_stages else "before MLflow" if done_stages >= reference.stages[day] else "between stages"
    )


def strike_night(home: Path, victim: str, pages: Pages) -> None:
    """Kill (-9) the victim, and wait for the end of the pages if they end with it."""
    if victim == NIGHT:
        assert kill(home, *RUNNERS), "there was no process of the night"
        return
    if victim == POWER:
        kill(home, "")
    else:
        strike(home, victim, None, pages)
    pages.process.wait(timeout=300)


def wait_for_turn(pages: Pages, run_id: str, start_s: float) -> float:
    """Wait for a run to begin; return the seconds since `since`."""
    until(lambda: pages.state(run_id) in (*FINAL_STATES, "RUNNING"), "the night's turn")
    return time.monotonic() - start_s


class StruckNight(NamedTuple):
    """A kill, and the state to compare with once the night has ended."""

    victim: str
    stage: str
    queued: bool
    trained_arms: dict[str, tuple[int, int]]
    live_processes: set[Process]
    unfinished: int


def one_night(
    home: Path, day: date, victim: str, rng: random.Random, reference: NightReference, pages: Pages
) -> tuple[NightKill, Pages]:
    """Kill a night once and run it again; return the outcome and the pages."""
    initial_count, (step, wait_s), queued = len(folders(home)), choose(rng, reference, day), rng.random() < 0.5
    request = {"experiment": str(reference.experiment), "day": str(day)}
    first_order = pages.start_run(NIGHTLY, **request)
    until(lambda: pages.state(first_order) == "RUNNING", "the night")
    second_order = pages.start_run(NIGHTLY, **request) if queued else ""
    until(lambda: steps_done(home, day, initial_count) >= step, "the night's step", PAUSE_S / 5)
    time.sleep(wait_s)
    stage, trained_arms, live_processes = (
        describe_progress(home, day, initial_count, reference),
        arm_stats(home),
        set(processes(home)),
    )
    strike_night(home, victim, pages)
    unfinished = half_written(home, reference.files)
    if pages.process.poll() is None:
        live_processes = set()  # all processes but the victim should continue
    else:
        pages = open_pages(home)
    start_s = time.monotonic()
    second_order = second_order or pages.start_run(NIGHTLY, **request)
    turn_s = wait_for_turn(pages, second_order, start_s)
    state = until(lambda: (state := pages.state(second_order)) in FINAL_STATES and state, "the night's end")
    struck = StruckNight(victim, stage, queued, trained_arms, live_processes, unfinished)
    return compare(home, struck, turn_s, state == "COMPLETED", reference.outcomes[day], reference, pages), pages


def compare(
    home: Path,
    struck: StruckNight,
    turn_s: float,
    completed: bool,
    expected: dict[str, Any],
    reference: NightReference,
    pages: Pages,
) -> NightKill:
    """The outcome of a kill: the night's final state compared with that of an undisturbed night."""
    outcome, trained_after = outcome_of(home), arm_stats(home)
    differing_parts = tuple(part for part, expected_part in expected.items() if outcome[part] != expected_part)
    unfinished = half_written(home, reference.files) + len(list(home.glob(f"artifacts/{MARK}*")))
    return NightKill(
        struck.victim,
        struck.stage,
        struck.queued,
        resumed=completed and turn_s < TURN_S,
        turn_s=turn_s,
        differing_parts=differing_parts,
        retrained=sum(trained_after.get(name) != stat for name, stat in struck.trained_arms.items()),
        unfinished=struck.unfinished + unfinished,
        left_running=len(struck.live_processes & set(processes(home))),
        stuck_runs=stuck_after(pages) + pages.slots(NIGHTLY),
        differences=""
        if not differing_parts
        else str({part: difference(outcome[part], expected[part]) for part in differing_parts})[:2000],
    )


def show(night_kills: list[NightKill], models: tuple[int, int]) -> int:
    """Print the table and the moments; return the number of failed kills."""
    print(
        "| victim | kills | begun again | same | trained twice | half written | left running | stuck | longest wait |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for victim in [*KILLS_OF_10, "all"]:
        if victim_kills := [night_kill for night_kill in night_kills if victim in (night_kill.victim, "all")]:
            sums = [
                sum(column)
                for column in zip(
                    *((row.retrained, row.unfinished, row.left_running, row.stuck_runs) for row in victim_kills),
                    strict=True,
                )
            ]
            counts = [
                sum(row.resumed for row in victim_kills),
                sum(not row.differing_parts for row in victim_kills),
                *sums,
            ]
            longest = max(night_kill.turn_s for night_kill in victim_kills)
            print(f"| {victim} | {len(victim_kills)} | {' | '.join(map(str, counts))} | {longest:.0f} s |")
    moments = Counter(night_kill.stage for night_kill in night_kills)
    print("\nkilled during: " + "; ".join(f"{name} {count}" for name, count in moments.most_common()))
    print(
        f"second runs waited for the slot: {sum(night_kill.queued for night_kill in night_kills)} of {len(night_kills)}"
    )
    print(f"models that MLflow keeps: {models[0]}, undisturbed {models[1]}")
    failures = [
        night_kill
        for night_kill in night_kills
        if not night_kill.resumed or night_kill.differing_parts or any(night_kill[6:10])
    ]
    for night_kill in failures:
        print(f"\n{night_kill.victim}, during {night_kill.stage}: {night_kill}")
    return len(failures)


def kill_nights(
    home: Path, victims: list[str], days: list[date], rng: random.Random, reference: NightReference
) -> NightKills:
    """Run a night for each victim, then an undisturbed one."""
    pages, night_kills = open_pages(home), list[NightKill]()
    for day, victim in zip(days, victims, strict=False):
        night_kill, pages = one_night(home, day, victim, rng, reference, pages)
        night_kills.append(night_kill)
        print(
            f"{time.strftime('%H:%M:%S')} {len(night_kills)}/{len(victims)} {night_kill}", file=sys.stderr, flush=True
        )
    last_order = pages.start_run(NIGHTLY, experiment=str(reference.experiment), day=str(days[-1]))
    until(lambda: pages.state(last_order) in FINAL_STATES, "the last night")
    last_is_same = outcome_of(home) == reference.outcomes[days[-1]]
    pages.process.send_signal(signal.SIGINT)
    pages.process.wait(timeout=120)
    return NightKills(night_kills, last_is_same, len(set(processes(home))))


def main() -> int:
    """Run the nights; return 1 if a kill failed."""
    kills, seed = (int(argument) for argument in (*sys.argv[1:], *("10", "0")[len(sys.argv) - 1 :]))
    rng = random.Random(seed)
    victims = [victim for victim, count in KILLS_OF_10.items() for _ in range(count)] * -(
        -kills // sum(KILLS_OF_10.values())
    )
    rng.shuffle(victims)
    with tempfile.TemporaryDirectory(prefix="ebr-night-kills-") as folder:
        reference_home, home = Path(folder, "quiet"), Path(folder, "killed")
        home.mkdir()
        try:
            experiment, days = write_world(Path(folder), kills + 1)
            reference = run_reference_nights(reference_home, experiment, days)
            decisions = Counter(night["decision"] for night in reference.outcomes[days[-1]]["records"].values())
            print(f"undisturbed: {len(reference.files)} stages, {dict(decisions)}", file=sys.stderr, flush=True)
            result = kill_nights(home, victims[:kills], days, rng, reference)
            models = [
                query_mlflow(directory, "SELECT count(*) FROM logged_models")[0][0]
                for directory in (home, reference_home)
            ]
        finally:
            for directory in (reference_home, home):
                kill(directory, "")
    bad = show(result.night_kills, (models[0], models[1]))
    print(f"the night after the last kill {'is the same' if result.last_is_same else 'differs'}; ", end="")
    print(f"after Ctrl-C {result.left_running} processes are left")
    return int(bad > 0 or not result.last_is_same or result.left_running > 0)


if __name__ == "__main__":
    sys.exit(main())
