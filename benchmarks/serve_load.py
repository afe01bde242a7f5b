"""The latency that `ebr serve` adds to a search, and its latency at 200 hybrid searches a second (goal: p99 10 ms).

    python -m benchmarks.serve_load [experiment] [requests a second] [seconds] [mode]

Starts `ebr serve` on the models of an experiment that has run (default: the last one) and sends it the canary queries
of the champion: first one after the other, then at a fixed rate that does not wait for answers. Prints percentiles of
the latency by the client's clock beside the search time that the server measured, counts the status codes, and says how
many queries were embedded together. The load of the machine is printed first: with other work on it, no figure counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from urllib.parse import urlencode

import httpx
import numpy as np
import pyarrow.parquet as pq

from ebr_core.serving.query_towers import QUERY_SCHEMA
from tasks.served_models import bundle_of, models_of

SINGLE_REQUESTS = 1_000  # requests one after the other
CONNECTIONS = 64


def main(experiment: str | None, rate: int, seconds: int, mode: str) -> None:
    """Print the latencies one at a time and at the fixed rate."""
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before the start; mode {mode}")
    queries = [query | {"mode": mode} for query in canary_queries(experiment)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [experiment] if experiment else []
    command = [sys.executable, "-m", "flows.app.cli", "serve", *options, "--port", str(port)]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log) as server,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url)
            one_at_a_time(url, queries)
            before = embedded_together(url)
            asyncio.run(at_a_rate(url, queries, rate, seconds))
            queries_done, calls = (b - a for a, b in zip(before, embedded_together(url), strict=True))
            print(f"{queries_done:.0f} queries were embedded in {calls:.0f} calls")
        finally:
            server.terminate()


def canary_queries(experiment: str | None) -> list[dict[str, str]]:
    """The champion's canary queries with their context."""
    folder = bundle_of(models_of(experiment), None)
    rows = pq.read_table(folder / "canaries.parquet").drop_columns("vector").to_pylist()
    queries = []
    for row in rows:
        query = {name: row.pop(name) for name in QUERY_SCHEMA.names if row[name] is not None}
        fields = {name: value for name, value in row.items() if name not in QUERY_SCHEMA.names and value is not None}
        queries.append(query | ({"fields": json.dumps(fields)} if fields else {}))
    return queries


def embedded_together(url: str) -> tuple[float, float]:
    """(queries, calls of the query tower) so far."""
    text = httpx.get(f"{url}/metrics").text
    queries, calls = (
        float(re.findall(rf"^ebr_queries_embedded_together_{part} (\S+)$", text, re.MULTILINE)[0])
        for part in ("sum", "count")
    )
    return queries, calls


def wait_for(url: str) -> None:
    """Wait until the server answers; exit if it does not within a minute."""
    for _ in range(600):
        try:
            httpx.get(f"{url}/health").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server did not start within a minute")


def one_at_a_time(url: str, queries: list[dict[str, str]]) -> None:
    """Print the latencies of one client that sends one request at a time."""
    total_ms, search_ms = [], []
    with httpx.Client(base_url=url) as client:
        for number in range(SINGLE_REQUESTS + 50):
            start = time.perf_counter()
            answer = client.get("/search", params=queries[number % len(queries)])
            elapsed_ms = 1000 * (time.perf_counter() - start)
            if number >= 50:
                total_ms.append(elapsed_ms)
                search_ms.append(answer.raise_for_status().json()["took_ms"])
    print(f"one at a time, ms: {percentiles(total_ms)}; the search itself {percentiles(search_ms)}")
    added_ms = np.array(total_ms) - np.array(search_ms)
    print(f"added, including the client's time: median {np.median(added_ms):.2f} ms (goal 2)")


async def at_a_rate(url: str, queries: list[dict[str, str]], rate: int, seconds: int) -> None:
    """Print the latencies of requests that are sent when they are due, over CONNECTIONS that stay open."""
    host, _, port = url.removeprefix("http://").partition(":")
    answers: Counter[str] = Counter()
    latencies_ms: list[float] = []
    waiting = iter(range(rate * seconds))
    start = time.perf_counter() + 0.5

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in waiting:
            due = start + number / rate
            await asyncio.sleep(due - time.perf_counter())
            writer.write(
                f"GET /search?{urlencode(queries[number % len(queries)])} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:"))
            await reader.readexactly(length)
            answers[head.split()[1]] += 1
            latencies_ms.append(1000 * (time.perf_counter() - due))
        writer.close()

    outcomes = await asyncio.gather(*(connection() for _ in range(CONNECTIONS)), return_exceptions=True)
    answers.update(type(outcome).__name__ for outcome in outcomes if outcome is not None)
    duration_s = time.perf_counter() - start
    print(
        f"{rate} a second for {seconds} s on {os.cpu_count()} cores: "
        f"{len(latencies_ms) / duration_s:.0f} answered a second"
    )
    print(f"from the time each was due, ms: {percentiles(latencies_ms)}; answers: {dict(answers)} (goal: all 200)")


def percentiles(values: list[float]) -> str:
    """Percentiles as text."""
    return ", ".join(f"p{p} {np.percentile(values, p):.2f}" for p in (50, 90, 99))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(
        arguments[0] if arguments else None,
        int(arguments[1]) if len(arguments) > 1 else 200,
        int(arguments[2]) if len(arguments) > 2 else 30,
        arguments[3] if len(arguments) > 3 else "hybrid",
    )
