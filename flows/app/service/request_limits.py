"""The sizes of requests that a service accepts."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.app.service.error_answers import error_answer

LARGEST_BODY_BYTES = 16 * 1024
LARGEST_HEAD_BYTES = 16 * 1024  # the address with its query, and the headers


class RequestLimits:
    """A layer that refuses a request which is larger than any query, before its body is read."""

    def __init__(self, app: ASGIApp, bodies: dict[str, int]) -> None:
        """bodies: the largest body in bytes of each path that has a limit of its own."""
        self.app, self.bodies = app, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        refusal = _refusal(scope, self.bodies) if scope["type"] == "http" else None
        await (self.app if refusal is None else error_answer(scope, *refusal))(scope, receive, send)


def _refusal(scope: Scope, bodies: dict[str, int]) -> tuple[int, str] | None:
    """(status, reason); None if the request is small enough."""
    headers, limit = Headers(scope=scope), bodies.get(scope["path"], LARGEST_BODY_BYTES)
    head = len(scope["path"]) + len(scope["query_string"])
    head += sum(len(name) + len(value) for name, value in headers.raw)
    if head > LARGEST_HEAD_BYTES:
        return 431, f"got an address and headers of {head} bytes; expected at most {LARGEST_HEAD_BYTES}"
    if "transfer-encoding" in headers:
        return 411, "got a body in chunks; send it with its content-length"
    size = headers.get("content-length", "0")
    if not size.isdigit() or int(size) > limit:
        return 413, f"got a body of {size} bytes; expected at most {limit}"
    return None
