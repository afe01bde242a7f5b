"""The options of `ebr export`, checked before a model is opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, get_args

from data.experiment.export_config import ALIAS, EngineKind
from ebr_core.errors import InputError
from tasks.engines.opened_engine import ADDRESS, address_in


class ExportSettings(NamedTuple):
    """The engine of an export as the command line names it."""

    kind: EngineKind
    url: str
    alias: str | None
    target: float | None
    back: bool


def read_settings(
    to: str | None,
    out: str | None,
    url_from: str | None,
    alias: str | None,
    target: float | None,
    back: bool,
    queries: Path | None,
) -> ExportSettings | None:
    """The engine that the options name; None for an export to files. Raises InputError for options that do not fit."""
    if to is None:
        if out is None:
            raise InputError("ebr export: name a new folder, or an engine with --to")
        if url_from or alias or target is not None or back:
            raise InputError("--url-from, --alias, --target and --rollback are for engines: name one with --to")
        return None
    kinds: tuple[EngineKind, ...] = get_args(EngineKind)
    kind = next((kind for kind in kinds if kind == to), None)
    if kind is None:
        raise InputError(f"--to: got {to!r}; allowed: {', '.join(kinds)}")
    if queries is not None:
        raise InputError("--queries is for files of vectors; leave it or --to out")
    if out is not None and url_from is not None:
        raise InputError("give the engine's address or --url-from, not both")
    if alias is not None and not re.match(ALIAS, alias):
        raise InputError(f"--alias: got {alias!r}; expected up to 40 of a to z, 0 to 9 and _, a letter first")
    if target is not None and not 0 < target <= 1:
        raise InputError(f"--target: got {target:g}; expected a recall above 0, at most 1")
    return ExportSettings(kind, out or address_in(url_from or ADDRESS), alias, target, back)
