"""kill -9 of nights: is each made again as if nothing had happened, and does the next one get its turn?

    python -m proofs.night_kills [kills [seed]]

A simulated world's log, a folder a day; one home in which nobody disturbs its nights, one in which `ebr ui` makes them
on orders of `retrain/nightly`. Each of these is killed once, at a moment that is drawn from how far a night has come:
as a stage begins, or after one of the last steps (MLflow, the registry, what is served, the record). Then `ebr ui` is
started again where it ended, and the same night is ordered again, or a second order of it has waited since before the
kill for the slot of the first. Records, champion, registry, MLflow's runs and all artifacts' bytes are compared after
each night. Exit code 1 where anything differs, a night does not get its turn, or something is left.
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

from proofs.home_artifacts import MARK, folders, half_written, trained
from proofs.kill_victims import (
    BOTH,
    MLFLOW,
    OVER,
    PAGES,
    SERVER,
    WORKER,
    Pages,
    Process,
    kill,
    open_pages,
    processes,
    strike,
    stuck_after,
    until,
)
from proofs.night_outcomes import LATE, NIGHTLY, ask, come, difference, late, outcome_of
from proofs.night_reference import PAUSE_S, NightReference, undisturbed, world

NIGHT, POWER = "night's process", "all at once"
OF_10 = {NIGHT: 3, WORKER: 1, BOTH: 2, SERVER: 1, MLFLOW: 1, PAGES: 1, POWER: 1}
RUNNERS = ("prefect.engine", "prefect.flow_engine", "prefect.runner")
TURN_S = 150  # within which a night has to begin: Prefect looks every 30 s whether a slot is free, the worker every 15


class NightKill(NamedTuple):
    """What came of a kill."""

    victim: str
    during: str
    queued: bool
    resumed: bool
    turn_s: float
    differ: tuple[str, ...]
    twice: int
    broken: int
    left: int
    stuck: int
    said: str = ""


class NightKills(NamedTuple):
    """What came of all kills, of the night after them, and how many processes the end of the pages left."""

    found: list[NightKill]
    same: bool
    left: int


def choose(draw: random.Random, reference: NightReference, day: date) -> tuple[int, float]:
    """A step of a night, more often one of the last than a stage, and how long after it to kill."""
    lasted, stages = reference.lasted[day], reference.stages[day]
    at_last = draw.random() < 0.6
    steps = [step for step in lasted if (step >= stages) == at_last] or list(lasted)
    step = draw.choice(steps)
    return step, draw.uniform(0, lasted[step]) if step else 0.0


def where(home: Path, day: date, before: int, reference: NightReference) -> str:
    """What a night is at, in words."""
    if names := {path.name.removeprefix(MARK).split("-")[0] for path in (home / "artifacts").glob(f"{MARK}*")}:
        return " + ".join(sorted(names))
    if steps := late(home, day):
        return f"after: {LATE[steps - 1]}"
    there = len(folders(home)) - before
    return "starting" if not there else "before MLflow" if there >= reference.stages[day] else "between stages"


def hit(home: Path, victim: str, pages: Pages) -> None:
    """kill -9 of the victim, and waits for the end of the pages where they end with it."""
    if victim == NIGHT:
        assert kill(home, *RUNNERS), "there was no process of the night"
        return
    if victim == POWER:
        kill(home, "")
    else:
        strike(home, victim, None, pages)
    pages.process.wait(timeout=300)


def turn(pages: Pages, order: str, since: float) -> float:
    """Waits for an order to begin; after how many seconds it did."""
    until(lambda: pages.state(order) in (*OVER, "RUNNING"), "the night's turn")
    return time.monotonic() - since


class StruckNight(NamedTuple):
    """A kill, and what has to be held against it when the night is through at last."""

    victim: str
    during: str
    queued: bool
    done: dict[str, tuple[int, int]]
    alive: set[Process]
    broken: int


def one_night(
    home: Path, day: date, victim: str, draw: random.Random, reference: NightReference, pages: Pages
) -> tuple[NightKill, Pages]:
    """A night that is killed once and made again."""
    before, (step, wait_s), queued = len(folders(home)), choose(draw, reference, day), draw.random() < 0.5
    asked = {"experiment": str(reference.experiment), "day": str(day)}
    first = pages.order(NIGHTLY, **asked)
    until(lambda: pages.state(first) == "RUNNING", "the night")
    again = pages.order(NIGHTLY, **asked) if queued else ""
    until(lambda: come(home, day, before) >= step, "the night's step", PAUSE_S / 5)
    time.sleep(wait_s)
    during, done, alive = where(home, day, before, reference), trained(home), set(processes(home))
    hit(home, victim, pages)
    broken = half_written(home, reference.files)
    if pages.process.poll() is None:
        alive = set()  # all but the victim are meant to go on
    else:
        pages = open_pages(home)
    since = time.monotonic()
    again = again or pages.order(NIGHTLY, **asked)
    turn_s = turn(pages, again, since)
    state = until(lambda: (state := pages.state(again)) in OVER and state, "the night's end")
    struck = StruckNight(victim, during, queued, done, alive, broken)
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
    """Holds what the night left in the end against an undisturbed one."""
    found, after = outcome_of(home), trained(home)
    differ = tuple(part for part, its in expected.items() if found[part] != its)
    left_half = half_written(home, reference.files) + len(list(home.glob(f"artifacts/{MARK}*")))
    return NightKill(
        struck.victim,
        struck.during,
        struck.queued,
        resumed=completed and turn_s < TURN_S,
        turn_s=turn_s,
        differ=differ,
        twice=sum(after.get(name) != stat for name, stat in struck.done.items()),
        broken=struck.broken + left_half,
        left=len(struck.alive & set(processes(home))),
        stuck=stuck_after(pages) + pages.slots(NIGHTLY),
        said="" if not differ else str({part: difference(found[part], expected[part]) for part in differ})[:2000],
    )


def show(found: list[NightKill], models: tuple[int, int]) -> int:
    """Prints the table and the moments; how many kills were not borne."""
    print(
        "| victim | kills | begun again | same | trained twice | half written | left running | stuck | longest wait |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for victim in [*OF_10, "all"]:
        if of := [told for told in found if victim in (told.victim, "all")]:
            sums = [sum(column) for column in zip(*((t.twice, t.broken, t.left, t.stuck) for t in of), strict=True)]
            counts = [sum(t.resumed for t in of), sum(not t.differ for t in of), *sums]
            longest = max(told.turn_s for told in of)
            print(f"| {victim} | {len(of)} | {' | '.join(map(str, counts))} | {longest:.0f} s |")
    moments = Counter(told.during for told in found)
    print("\nkilled during: " + "; ".join(f"{name} {count}" for name, count in moments.most_common()))
    print(f"a second order waited for the slot: {sum(told.queued for told in found)} of {len(found)}")
    print(f"models that MLflow keeps: {models[0]}, undisturbed {models[1]}")
    bad = [told for told in found if not told.resumed or told.differ or any(told[6:10])]
    for told in bad:
        print(f"\n{told.victim}, during {told.during}: {told}")
    return len(bad)


def kill_nights(
    home: Path, victims: list[str], days: list[date], draw: random.Random, reference: NightReference
) -> NightKills:
    """A night a victim, then one that nobody disturbs."""
    pages, found = open_pages(home), list[NightKill]()
    for day, victim in zip(days, victims, strict=False):
        one, pages = one_night(home, day, victim, draw, reference, pages)
        found.append(one)
        print(f"{time.strftime('%H:%M:%S')} {len(found)}/{len(victims)} {one}", file=sys.stderr, flush=True)
    last = pages.order(NIGHTLY, experiment=str(reference.experiment), day=str(days[-1]))
    until(lambda: pages.state(last) in OVER, "the last night")
    same = outcome_of(home) == reference.outcomes[days[-1]]
    pages.process.send_signal(signal.SIGINT)
    pages.process.wait(timeout=120)
    return NightKills(found, same, len(set(processes(home))))


def main() -> int:
    """Runs the nights; 1 where a kill was not borne."""
    kills, seed = (int(told) for told in (*sys.argv[1:], *("10", "0")[len(sys.argv) - 1 :]))
    draw = random.Random(seed)
    victims = [victim for victim, count in OF_10.items() for _ in range(count)] * -(-kills // sum(OF_10.values()))
    draw.shuffle(victims)
    with tempfile.TemporaryDirectory(prefix="ebr-night-kills-") as folder:
        quiet, home = Path(folder, "quiet"), Path(folder, "killed")
        home.mkdir()
        try:
            experiment, days = world(Path(folder), kills + 1)
            reference = undisturbed(quiet, experiment, days)
            decisions = Counter(night["decision"] for night in reference.outcomes[days[-1]]["records"].values())
            print(f"undisturbed: {len(reference.files)} stages, {dict(decisions)}", file=sys.stderr, flush=True)
            result = kill_nights(home, victims[:kills], days, draw, reference)
            models = [ask(one, "SELECT count(*) FROM logged_models")[0][0] for one in (home, quiet)]
        finally:
            for one in (quiet, home):
                kill(one, "")
    bad = show(result.found, (models[0], models[1]))
    print(f"the night after the last kill {'is the same' if result.same else 'differs'}; ", end="")
    print(f"after Ctrl-C {result.left} processes are left")
    return int(bad > 0 or not result.same or result.left > 0)


if __name__ == "__main__":
    sys.exit(main())
