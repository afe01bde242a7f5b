"""One JSON document on standard output, and nothing else there."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from flows.app.session import user_message

Document = dict[str, Any]


@contextmanager
def one_document(wanted: bool) -> Iterator[Callable[[Document], None] | None]:
    """A function that takes the document, which is printed at the end; None if it is not wanted.

    All that is printed meanwhile, also by other processes, goes to standard error. An error that the user can correct
    gives the document {"error": …}, and is raised again.
    """
    if not wanted:
        yield None
        return
    documents: list[Document] = []
    try:
        with _stdout_to_stderr():
            yield documents.append
    except Exception as error:
        if (message := user_message(error)) is not None:
            documents = [{"error": message}]
        raise
    finally:
        for document in documents[-1:]:
            print(json.dumps(without_nan(document), indent=1, ensure_ascii=False), flush=True)


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what this process and its children print to standard error."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stderr.flush()
        os.dup2(own, 1)
        os.close(own)


def without_nan(value: Any) -> Any:
    """The value with null in place of numbers that are none or have no end, which JSON has not.

    >>> without_nan({"low": float("nan"), "ends": (0.5, float("inf"))})
    {'low': None, 'ends': [0.5, None]}
    """
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
