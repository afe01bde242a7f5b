"""`ebr serve` on a free port, as a process of its own, over bundles built without training."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.bundles import make_bundle, publish_bundles

PROJECT = Path(__file__).parent.parent


class Service(NamedTuple):
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path  # standard output and error

    def lines(self) -> list[dict[str, Any]]:
        """The lines about requests that it has written, once no more come: a line follows its answer."""
        text, deadline = self.output.read_text(), time.monotonic() + 10
        while time.monotonic() < deadline:
            time.sleep(0.5)
            before, text = text, self.output.read_text()
            if text == before:
                break
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def answers(url: str) -> bool:
    """True if a service answers there."""
    try:
        return call(f"{url}/health").status == 200
    except OSError:
        return False


class Reply(NamedTuple):
    """An answer, whatever its status."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        """The content."""
        return json.loads(self.text)


def environment_of(home: Path) -> dict[str, str]:
    """The environment of a process whose state is in home."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    return environment | {"EBR_HOME": str(home), "OMP_NUM_THREADS": "1"}


def make_home(home: Path, *arms: str) -> Path:
    """home with a bundle for each arm, as a run leaves them; the first two are served, the first is the champion."""
    folders = {arm: make_bundle(home / "artifacts" / f"bundle-{arm}", arm, seed) for seed, arm in enumerate(arms)}
    publish_bundles(home, "mine", folders, arms[0])
    return home


@contextlib.contextmanager
def running_service(home: Path, *options: str, key: str | None = None) -> Iterator[Service]:
    """A service over the models in home, which has answered. Its output goes to a file: nobody reads a pipe."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output = home / f"service-{port}.txt"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.app.cli", "serve", "--port", str(port), *options],
            cwd=PROJECT,
            env=environment_of(home) | ({} if key is None else {"EBR_API_KEY": key}),
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    service = Service(f"http://127.0.0.1:{port}", process, output)
    try:
        wait_until(lambda: process.poll() is not None or answers(service.url), 300)
        yield service
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until it holds. Raises TimeoutError if it does not within the time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s")
        time.sleep(0.05)


def call(url: str, body: object = None, headers: dict[str, str] | None = None, **parameters: object) -> Reply:
    """The answer to a request: GET, or POST of a body as JSON (bytes as they are)."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    kind = {} if body is None else {"content-type": "application/json"}
    request = urllib.request.Request(url + query, data, {**kind, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Reply(answer.status, answer.headers, answer.read().decode())
    except urllib.error.HTTPError as refused:
        return Reply(refused.code, refused.headers, refused.read().decode())
