"""Speed and memory of the simulated world.

    python -m benchmarks.world_speed [impressions, default 10 million] [documents, default 1 million]

Prints impressions a second, the seconds that it took to build the world, and the largest resident memory.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from data.world.simulate import simulate
from data.world.world_config import World

IMPRESSIONS_A_SEARCH = 11  # measured with 1 million documents


def main(impressions: int, documents: int) -> None:
    """Simulate a world of this size and print its speed and memory."""
    world = World(searches=max(1, impressions // IMPRESSIONS_A_SEARCH), documents=documents)
    with tempfile.TemporaryDirectory() as folder:
        for _ in simulate(World(searches=10, documents=200, days=2), Path(folder) / "compile"):
            pass
        start = time.perf_counter()
        built_at = start
        for day in simulate(world, Path(folder) / "world"):
            built_at = time.perf_counter() if day == 1 else built_at
        end = time.perf_counter()
        impressions_logged = sum(
            pq.read_metadata(p).num_rows for p in (Path(folder) / "world" / "results").rglob("*.parquet")
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB → GiB
    elapsed_s = end - start
    print(
        f"{impressions_logged:,} impressions of {world.searches:,} searches over {documents:,} documents "
        f"in {elapsed_s:.0f} s"
    )
    print(
        f"{impressions_logged / elapsed_s:,.0f} impressions/s in all; "
        f"the world and its first day took {built_at - start:.0f} s"
    )
    print(f"largest resident memory {peak:.2f} GiB")


if __name__ == "__main__":
    main(*(int(a) for a in (sys.argv[1:] + ["10000000", "1000000"][len(sys.argv) - 1 :])))
