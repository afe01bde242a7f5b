"""From the user's logs to the tables that everything else reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from data import extracted_log
from data.experiment.log_config import Beir, Esci, Simulated, Split, Tables, Ubi
from data.extract import extract as extract_logs
from data.file_digests import DigestCache, keep, read_known
from data.layouts import paths
from data.log_fingerprint import fingerprint
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.errors import InputError
from tasks.artifacts import stage
from tasks.home import home
from tasks.kinds import EvalSet, Log, Partition, SimulatedLog
from tasks.progress import showing

ReadLogs = Tables | Ubi | Esci | Beir


def files_of(logs: ReadLogs | Simulated, world: SimulatedLog | None) -> ReadLogs:
    """Where the tables are to be read: the user's files, or those that the simulated world wrote."""
    if not isinstance(logs, Simulated):
        return logs
    assert world is not None, "a simulated log needs its world to have been lived"
    return logs.tables(world.folder)


def contents_of(logs: ReadLogs, without: Collection[str] = ()) -> dict[str, str]:
    """The digest of what each table's path stands for, now, but for the tables without."""
    with known_digests() as known:
        digests = fingerprint(logs, known, without)
    return {table: digests[path] for table, path in paths(logs).items() if table not in without}


@contextmanager
def known_digests() -> Iterator[DigestCache]:
    """Digests of files that have been read, by path; what is added meanwhile is kept."""
    kept = home() / "digests.json"
    known = read_known(kept)
    try:
        yield known
    finally:
        keep(known, kept)


@contextmanager
def unchanged(logs: ReadLogs, contents: dict[str, str]) -> Iterator[None]:
    """Looks, when the logs have been read, whether they still hold what they held before: that names what is read.

    Errors: they do not, which also says why they could not be read.
    """
    try:
        yield
    except InputError:
        _refuse_changed(logs, contents)
        raise
    _refuse_changed(logs, contents)


def _refuse_changed(logs: ReadLogs, contents: dict[str, str]) -> None:
    now = contents_of(logs, [table for table in paths(logs) if table not in contents])
    if changed := [paths(logs)[table] for table, digest in contents.items() if now[table] != digest]:
        raise InputError(
            f"{', '.join(changed)}: changed while it was read, so what was read is not kept; the same command reads it "
            "anew, once nobody writes there"
        )


@stage(SimulatedLog)
def simulate_log(folder: Path, world: World) -> None:
    """Lets the simulated world run and writes its log."""
    with showing("simulate", world.days) as show:
        for day in simulate(world, folder):
            show(day, "")


@stage(Log)
def extract(
    folder: Path,
    logs: ReadLogs,
    split: Split,
    contents: dict[str, str],
    parts: dict[str, list[Partition]] | None = None,
) -> None:
    """Reads the logs, checks them, splits them by time.

    contents: the digest of each table's files, so that new logs are read anew. parts: the partitions of tables that are
    read from there, and so need no digest.
    """
    with showing("extract", 1), unchanged(logs, contents):
        extract_logs(logs, split, folder, {table: [one.folder for one in its] for table, its in (parts or {}).items()})


@stage(EvalSet)
def sample(
    folder: Path,
    log: Log,
    split: str,
    most: int,
    judged_from: float,
    world: SimulatedLog | None = None,
    halved: bool = False,
) -> None:
    """Chooses the searches of a period that an evaluation runs, with their targets and the documents alive.

    world: the simulated world whose truth is a target set of its own; only the test is ever given it. halved: the later
    half of the validation is a part of its own, "ranking".
    """
    extracted_log.sample(
        log.folder, split, most, judged_from, world.folder / "truth" if world else None, folder, halved
    )
