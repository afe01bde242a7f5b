"""Keys of the JSON that commands print: each of them stands in the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "command-line.md"
FREE = {"failures", "questions", "log"}  # their keys are names, or those of another page


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _keys([*part.values()] if key in FREE and isinstance(part, dict) else part)
    elif isinstance(value, list):
        for part in value:
            yield from _keys(part)


def refuse_undocumented(document: dict[str, Any]) -> None:
    """Fail if a key of a document is not on the page about the command line."""
    known = set(re.findall(r"`([a-z_0-9]+)`", PAGE.read_text(encoding="utf-8")))
    document = {key: part for key, part in document.items() if key != "log"}
    assert not set(_keys(document)) - known
