"""Request ids, and a line of JSON for each request; neither holds what was searched, by whom, or a key."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any, TextIO

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.app.service.error_answers import error_answer
from flows.app.service.service_metrics import ServiceMetrics

_ID = re.compile(r"[!-~]{1,100}")  # printable ASCII without blanks
OTHER = "other"  # in place of a path that the service does not have, which may hold anything


def note_model(request: Request, model: str, mode: str | None) -> None:
    """Note for the log which model answers a request, and in which mode."""
    request.scope["state"] |= {"model": model, "mode": mode}


class RequestLog:
    """A layer that gives each request its id, counts it, and writes a line about it. An error of the service itself is
    answered with 500; its line names the places in the code, and no values."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, paths: frozenset[str], stream: TextIO | None) -> None:
        """paths: those of the service; stream: to which lines are written, None for no lines."""
        self.app, self.metrics, self.paths, self.stream = app, metrics, paths, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = request_id_of(scope)
        path = scope["path"] if scope["path"] in self.paths else OTHER
        status, error, started = 0, "", time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            with self.metrics.in_flight.track_inprogress():
                try:
                    await self.app(scope, receive, send_with_id)
                except Exception as fault:
                    error = place_of(fault)
                    if not status:
                        await error_answer(scope, 500, "an error of the service itself")(scope, receive, send_with_id)
        finally:
            took_s = time.perf_counter() - started
            self.metrics.requests.labels(path, status).inc()
            self.metrics.request_seconds.labels(path).observe(took_s)
            line = {"id": request_id, "method": scope["method"], "path": path, "status": status}
            line |= {"ms": round(1000 * took_s, 2), "model": state.get("model"), "mode": state.get("mode")}
            self._write(line | ({"error": error} if error else {}))

    def _write(self, facts: dict[str, Any]) -> None:
        if self.stream is not None:
            with contextlib.suppress(OSError, ValueError):  # a reader that has gone must not end requests
                print(json_line(facts), file=self.stream, flush=True)


def request_id_of(scope: Scope) -> str:
    """The request's own id, if it is short and printable, else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def place_of(fault: BaseException) -> str:
    """The type of an error and the lines of code that it came through, without its message, which may hold values.

    >>> try:
    ...     [].pop()
    ... except IndexError as error:
    ...     place_of(error).split(" at ")[0]
    'IndexError'
    """
    lines = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(fault.__traceback__)]
    return " ".join((type(fault).__name__, "at", ", ".join(lines[-6:])))


def json_line(facts: dict[str, Any]) -> str:
    """The facts in a line of JSON, after the time (UTC)."""
    return json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts})


class JsonLines(logging.Formatter):
    """The HTTP server's own messages, such as that of an invalid request, in the form of the lines about requests."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return json_line({"level": record.levelname.lower(), "message": record.getMessage()})


LOG_CONFIG: dict[str, Any] = {  # of the HTTP server: warnings and errors, on standard error
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonLines}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False}},
}
