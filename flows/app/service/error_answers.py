"""The answers of a service to requests that it cannot serve, each with the id of the request."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

OPENAI_PATHS = "/v1/"  # errors have OpenAI's form there


def error_answer(
    scope: Scope,
    status: int,
    detail: str | list[dict[str, Any]],
    headers: dict[str, str] | None = None,
    code: str | None = None,
) -> Response:
    """An answer with that status and reason, in JSON.

    detail: a sentence, or the faults of single values; code: OpenAI's name of the error.
    """
    request_id = scope.get("state", {}).get("request_id", "")
    if scope["path"].startswith(OPENAI_PATHS):
        content: dict[str, Any] = {"error": {**_openai_error(status, detail), "code": code, "request_id": request_id}}
    else:
        content = {"detail": detail, "request_id": request_id}
    return Response(json.dumps(content), status, headers, media_type="application/json")


def _openai_error(status: int, detail: str | list[dict[str, Any]]) -> dict[str, Any]:
    faults = [] if isinstance(detail, str) else detail
    names = [".".join(str(part) for part in fault["loc"][1:]) for fault in faults]
    texts = [f"{name}: {fault['msg']}" if name else fault["msg"] for name, fault in zip(names, faults, strict=True)]
    return {
        "message": detail if isinstance(detail, str) else "; ".join(texts),
        "type": "server_error" if status >= 500 else "invalid_request_error",
        "param": next((name.split(".")[0] for name in names if name), None),
    }


def describe_errors(app: FastAPI) -> None:
    """Let an app answer errors of its handlers by error_answer."""

    @app.exception_handler(RequestValidationError)
    async def describe_invalid(request: Request, error: RequestValidationError) -> Response:
        """The faults of a request, without its values: JSON cannot hold all of them, such as NaN or half a
        character."""
        faults = [
            {"loc": fault["loc"], "msg": fault["msg"].removeprefix("Value error, "), "type": fault["type"]}
            for fault in error.errors()
        ]
        return error_answer(request.scope, 422, faults)

    @app.exception_handler(HTTPException)
    async def describe_refused(request: Request, error: HTTPException) -> Response:
        return error_answer(request.scope, error.status_code, error.detail, dict(error.headers or {}))
