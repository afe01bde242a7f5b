"""The key that requests need, if the environment names one."""

from __future__ import annotations

import hashlib
import hmac
import os
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ebr_core.errors import InputError
from flows.app.service.error_answers import error_answer

VARIABLE = "EBR_API_KEY"
OPEN_PATHS = frozenset({"/", "/health", "/ready"})  # the page is static; the other two then say no more than a word


def read_key() -> str | None:
    """The key in the environment, None if the variable is not set. Raises InputError if no header can hold it."""
    key = os.environ.get(VARIABLE)
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        got = "nothing" if not key else "blanks alone" if not key.strip() else "blanks or signs beyond ASCII in it"
        raise InputError(f"{VARIABLE}: got {got}; set a key of printable ASCII without blanks, or remove the variable")
    return key


class RequireKey:
    """A layer that refuses requests without the key. Without one (None) it passes all of them on."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self.app, self.expected = app, None if key is None else _digest(key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            knows_key = self.expected is None or hmac.compare_digest(_digest(_given(scope)), self.expected)
            scope.setdefault("state", {})["knows_key"] = knows_key
            if not knows_key and scope["path"] not in OPEN_PATHS:
                detail = "this service needs its key: Authorization: Bearer KEY, or X-API-Key: KEY"
                headers = {"www-authenticate": "Bearer"}
                refusal = error_answer(scope, 401, detail, headers, code="invalid_api_key")
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _given(scope: Scope) -> str:
    """The key in the headers of a request; empty without one."""
    headers = Headers(scope=scope)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _digest(key: str) -> bytes:
    """Of the same length for every key, so that comparing takes the same time for all of them."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
