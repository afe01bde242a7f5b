"""What an extraction costs, in copies: extraction in full against a bare Parquet copy of the same tables.

    python -m benchmarks.extraction [rounds [searches documents]]

The log is a simulated world's, by default of some 1.75 million results over a document for ten of them, in day files.
A copy is DuckDB's `COPY (SELECT * FROM read_parquet(…)) TO …` of the four tables, with the codec of the extracted files
(Snappy). Both sides have one thread, and alternate in one process. Prints the processor seconds of each round, user and
system together, and the ratios: median, least and most. Another program on the machine moves both sides, so only the
ratio means something. The first round is not counted: it loads libraries and fills the cache of files.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median

from tasks.home import prepare_environment

prepare_environment()

import duckdb  # noqa: E402

from data.experiment.log_config import Simulated, Split, Tables  # noqa: E402
from data.extract import extract  # noqa: E402
from data.layouts import sources  # noqa: E402
from data.world.simulate import simulate  # noqa: E402
from data.world.world_config import World  # noqa: E402

ROUNDS, SEARCHES, DOCUMENTS = 9, 190_000, 175_000


def write_log(folder: Path, searches: int, documents: int) -> Tables:
    """The log of a new world, to be read in one thread."""
    source = Simulated(layout="simulated", world=World(searches=searches, documents=documents), threads=1)
    for _ in simulate(source.world, folder):
        pass
    return source.tables(folder)


def copy(logs: Tables, folder: Path) -> None:
    """Write every table of the log once more, as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(duckdb.connect(":memory:", config={"threads": "1"})) as con:
        for table, path in sources(logs).items():
            out = folder / f"{table}.parquet"
            con.execute(f"COPY (SELECT * FROM read_parquet('{path}')) TO '{out}' (FORMAT parquet, COMPRESSION snappy)")


def count_results(logs: Tables) -> int:
    """The number of results of the log."""
    with closing(duckdb.connect()) as con:
        return int(con.execute(f"SELECT count(*) FROM read_parquet('{logs.results}')").fetchall()[0][0])


def processor_seconds(work: Callable[[], None]) -> float:
    """The processor seconds of this process, all threads, user and system together, that some work takes."""
    start_s = time.process_time()
    work()
    return time.process_time() - start_s


def main(rounds: int, searches: int, documents: int) -> None:
    """Print the costs of each round, then the ratios."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        logs = write_log(folder / "world", searches, documents)
        print(f"{count_results(logs):,} results, {searches:,} searches, {documents:,} documents")
        ratios = []
        for number in range(rounds + 1):
            copied_s = processor_seconds(lambda: copy(logs, folder / "copied"))
            extracted_s = processor_seconds(lambda: extract(logs, Split(), folder / "extracted"))
            ratio, note = extracted_s / copied_s, "" if number else "  (not counted)"
            print(f"copy {copied_s:.2f} s, extraction {extracted_s:.2f} s: {ratio:.2f}{note}", flush=True)
            ratios += [ratio] if number else []
        print(f"extraction in copies: median {median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*[*given, *(ROUNDS, SEARCHES, DOCUMENTS)[len(given) :]])
