"""What `ebr serve` adds to a search, and whether it holds 200 requests a second.

    python -m benchmarks.serve_load [experiment] [requests a second] [seconds]

Starts `ebr serve` on the models of an experiment that has run (default: the last) and asks it the canary queries of the
champion, one after the other, then as many a second as told whether it answers or not. Prints percentiles of the
latency by the client's clock beside the search itself as the server measured it, and every answer that was not 200.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from urllib.parse import urlencode

import httpx
import numpy as np
import pyarrow.parquet as pq

from tasks.bundle_stages import bundle_of, models_of

ALONE = 1_000  # requests one after the other
CONNECTIONS = 64


def main(experiment: str | None, rate: int, seconds: int) -> None:
    """Prints both tables."""
    asked = questions(experiment)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    named = ["--experiment", experiment] if experiment else []
    command = [sys.executable, "-m", "flows.app.cli", "serve", *named, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url)
            alone(url, asked)
            asyncio.run(many(url, asked, rate, seconds))
        finally:
            server.terminate()


def questions(experiment: str | None) -> list[dict[str, str]]:
    """The champion's canary queries with their context."""
    folder = bundle_of(models_of(experiment), None)
    rows = pq.read_table(folder / "canaries.parquet").drop_columns("vector").to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def wait_for(url: str) -> None:
    """Until the server answers."""
    for _ in range(600):
        try:
            httpx.get(f"{url}/health").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the server did not start within a minute")


def alone(url: str, asked: list[dict[str, str]]) -> None:
    """One client, one request at a time."""
    whole, inside = [], []
    with httpx.Client(base_url=url) as client:
        for at in range(ALONE + 50):
            started = time.perf_counter()
            answer = client.get("/search", params=asked[at % len(asked)])
            took = 1000 * (time.perf_counter() - started)
            if at >= 50:
                whole.append(took)
                inside.append(answer.raise_for_status().json()["took_ms"])
    print(f"one at a time, ms: {shown(whole)}; the search itself {shown(inside)}")
    added = np.array(whole) - np.array(inside)
    print(f"added, the client's own time included: median {np.median(added):.2f} ms (goal 2)")


async def many(url: str, asked: list[dict[str, str]], rate: int, seconds: int) -> None:
    """Requests that come at their time, however long the others take, over CONNECTIONS that stay open."""
    host, _, port = url.removeprefix("http://").partition(":")
    told: Counter[str] = Counter()
    took: list[float] = []
    waiting = iter(range(rate * seconds))
    start = time.perf_counter() + 0.5

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for at in waiting:
            due = start + at / rate
            await asyncio.sleep(due - time.perf_counter())
            writer.write(f"GET /search?{urlencode(asked[at % len(asked)])} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:"))
            await reader.readexactly(length)
            told[head.split()[1]] += 1
            took.append(1000 * (time.perf_counter() - due))
        writer.close()

    outcomes = await asyncio.gather(*(connection() for _ in range(CONNECTIONS)), return_exceptions=True)
    told.update(type(outcome).__name__ for outcome in outcomes if outcome is not None)
    spent = time.perf_counter() - start
    print(f"{rate} a second for {seconds} s on {os.cpu_count()} cores: {len(took) / spent:.0f} answered a second")
    print(f"from when each was due, ms: {shown(took)}; answers: {dict(told)} (goal: all 200)")


def shown(values: list[float]) -> str:
    """Percentiles."""
    return ", ".join(f"p{p} {np.percentile(values, p):.2f}" for p in (50, 90, 99))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        given[0] if given else None,
        int(given[1]) if len(given) > 1 else 200,
        int(given[2]) if len(given) > 2 else 30,
    )
