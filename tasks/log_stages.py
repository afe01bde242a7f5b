"""From the user's logs to the tables that all other stages read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from data import extracted_log
from data.experiment.log_config import AnyFiles, Simulated, Split
from data.extract import extract as extract_logs
from data.file_digests import DigestCache, extend_digest_cache, read_digest_cache
from data.layouts import labels, sources
from data.log_fingerprint import fingerprint
from data.pinned_sources import pin
from data.schemas import ACTION_TIMES_FILE, ACTIONS_FILE
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.errors import InputError
from tasks.artifacts import link, stage
from tasks.home import home
from tasks.kinds import EvalSet, Log, Partition, SimulatedLog
from tasks.progress import show_progress

ReadLogs = AnyFiles


def files_of(logs: ReadLogs | Simulated, world: SimulatedLog | None) -> ReadLogs:
    """The files of the tables: the user's, with their lake tables as they are now, or those that the simulated world
    wrote."""
    if not isinstance(logs, Simulated):
        return pin(logs)
    assert world is not None, "a simulated log needs a world that was simulated"
    return logs.tables(world.folder)


def contents_of(logs: ReadLogs, without: Collection[str] = ()) -> dict[str, str]:
    """The current digest of each table's files, except for the tables in without."""
    with digest_cache() as cache:
        return fingerprint(logs, cache, without)


@contextmanager
def digest_cache() -> Iterator[DigestCache]:
    """The digests of files read before, by path; digests added in the block are saved at its end."""
    file = home() / "digests.json"
    digests = read_digest_cache(file)
    try:
        yield digests
    finally:
        extend_digest_cache(digests, file)


@contextmanager
def refuse_changes(logs: ReadLogs, contents: dict[str, str]) -> Iterator[None]:
    """Raise InputError if a log file changed while the block ran, because its digest names the artifact.

    An error of the block that such a change explains is replaced.
    """
    try:
        yield
    except InputError:
        _refuse_changed(logs, contents)
        raise
    _refuse_changed(logs, contents)


def _refuse_changed(logs: ReadLogs, contents: dict[str, str]) -> None:
    current = contents_of(logs, [table for table in sources(logs) if table not in contents])
    if changed := [labels(logs)[table] for table, digest in contents.items() if current[table] != digest]:
        raise InputError(
            f"{', '.join(changed)}: changed while it was read, so the result is discarded; run the same command "
            "again once no process writes there"
        )


@stage(SimulatedLog)
def simulate_log(folder: Path, world: World) -> None:
    """Run the simulated world and write its log."""
    with show_progress("simulate", world.days) as show:
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
    """Read the logs, check them, split them by time.

    contents: the digest of each table's files, so that new logs are read again. parts: the partitions of tables that
    are read from those, and so need no digest.
    """
    with show_progress("extract", 1), refuse_changes(logs, contents):
        extract_logs(
            logs,
            split,
            folder,
            {table: [part.folder for part in partitions] for table, partitions in (parts or {}).items()},
        )


@stage(Log)
def join_validation(folder: Path, log: Log) -> None:
    """Write the same log with the validation as a part of the training. Rows keep their numbers, the test its part."""
    for table in extracted_log.TABLES:
        if table != "searches":
            link(log.folder / f"{table}.parquet", folder / f"{table}.parquet")
    for name in (ACTIONS_FILE, ACTION_TIMES_FILE):
        if (log.folder / name).exists():
            link(log.folder / name, folder / name)
    extracted_log.join_validation(log.folder, folder)


@stage(EvalSet)
def sample(
    folder: Path,
    log: Log,
    split: str,
    most: int,
    judged_from: float,
    world: SimulatedLog | None = None,
    halved: bool = False,
    exclude: str | None = None,
) -> None:
    """Choose the searches of a period for an evaluation, with their targets and the documents alive.

    world: the simulated world whose truth is a target set of its own; the test alone gets it. halved: the later half
    of the validation is a separate part, "ranking". exclude: evaluation.exclude.
    """
    extracted_log.sample(
        log.folder,
        split,
        most,
        judged_from,
        world.folder / "truth" if world else None,
        folder,
        halved,
        exclude == "clicked",
    )
