"""The time that a model takes to embed a query: some milliseconds with a transformer, a fraction of one with n-grams.

It lies beside a bundle's files and not among them, so that two bundles of the same content have the same digests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from ebr_core.encoders.pretrained import choose_device
from ebr_core.serving.query_towers import EnsembleParts, embed_query_table
from ebr_core.towers.checkpoint import Checkpoint

COSTS = "costs.json"
EMBED_QUERY = "embed_query_ms"
QUERIES = 40  # measured, each by itself


def measure_embedding(parts: Sequence[tuple[Checkpoint | EnsembleParts, pa.Table]]) -> float | None:
    """The milliseconds to embed a query by all of these towers: the median of 40 queries, each by itself; None without
    queries.

    parts: towers, and the same queries as a table for each. All are embedded once before. The caller fixes one thread:
    on a CPU the time is that of its processor, so that what runs beside does not count.
    """
    clock = time.thread_time if choose_device("auto").type == "cpu" else time.perf_counter
    rows, times = parts[0][1].num_rows, list[float]()
    for number in range(rows + QUERIES if rows else 0):
        started = clock()
        for towers, queries in parts:
            embed_query_table(towers, queries.slice(number % rows, 1))
        times.append(clock() - started)
    return float(np.median(times[rows:])) * 1000 if times else None


def write_cost(folder: Path, milliseconds: float | None) -> None:
    """Write what `read_cost` reads; nothing for None."""
    if milliseconds is not None:
        (folder / COSTS).write_text(json.dumps({EMBED_QUERY: milliseconds}))


def read_cost(folder: Path) -> float | None:
    """The milliseconds to embed a query with the bundle in a folder; None if nobody measured them."""
    file = folder / COSTS
    return float(json.loads(file.read_text())[EMBED_QUERY]) if file.exists() else None


def describe_cost(milliseconds: float) -> str:
    """The time to embed a query in words.

    >>> describe_cost(14.23), describe_cost(0.254)
    ('14 ms', '0.25 ms')
    """
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.2g} ms"
