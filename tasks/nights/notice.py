"""Notice of a night to a webhook or a command. A failure here changes nothing else."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import urllib.error
import urllib.request

from data.experiment.night_config import Notice
from ebr_core.errors import InputError
from tasks.nights.night_records import Night, describe_night

SHORTEST_SECRET = 6  # characters of an argument; shorter ones are not hidden in messages


def notify(notice: Notice, night: Night) -> str | None:
    """Send the night as JSON; None, or the reason why that failed. No message holds a secret."""
    content = night.model_dump(mode="json", include={"experiment", "day", "decision", "reason", "figures"})
    body = json.dumps(content | {"text": f"{night.experiment}: {describe_night(night)}"}).encode()
    try:
        if notice.command:
            return _run(notice, body)
        return _post(notice, body)
    except InputError as error:
        return str(error)


def _run(notice: Notice, body: bytes) -> str | None:
    try:
        done = subprocess.run(notice.command, input=body, capture_output=True, timeout=notice.timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return f"nightly.notice: {notice.command[0]} did not end within {notice.timeout_s:g} s"
    except OSError as error:
        return f"nightly.notice: {notice.command[0]} cannot be run: {error.strerror}"
    if done.returncode:
        output = done.stderr.decode(errors="replace")
        for argument in notice.command[1:]:  # an argument may be a secret that the command repeats
            output = output.replace(argument, "…") if len(argument) >= SHORTEST_SECRET else output
        output = output.strip()[-300:]
        return f"nightly.notice: {notice.command[0]} ended with code {done.returncode}: {output}"
    return None


def _post(notice: Notice, body: bytes) -> str | None:
    url = notice.url or _secret(notice.url_from or "", "url_from")
    if not url.startswith(("http://", "https://")):
        return f"nightly.notice: {notice.url_from} holds no http:// or https:// address"
    token = _secret(notice.token_from, "token_from") if notice.token_from else None
    address = notice.url or f"the address in {notice.url_from}"
    try:
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        if token:  # not sent on to a redirect
            request.add_unredirected_header("authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=notice.timeout_s):
            return None
    except urllib.error.HTTPError as error:
        return f"nightly.notice: {address} answered {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else type(error).__name__
        return f"nightly.notice: {address} cannot be reached: {reason}"


def _secret(variable: str, key: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise InputError(f"nightly.notice.{key}: the environment variable {variable} is not set")
    return value
