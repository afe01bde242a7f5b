"""`ebr export --to`: bring a model into a search engine, or go back there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, get_args

from data.experiment.export_config import ALIAS, EngineKind, default_alias
from ebr_core.errors import InputError
from flows.app.model_search import validate_query
from tasks.engines.engine_export import export_model, roll_back_engine
from tasks.engines.opened_engine import ADDRESS, EngineAddress, address_in
from tasks.report.comparison import run_of_model
from tasks.report.report_stage import write_again
from tasks.served_models import bundle_of, models_of


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


def export_to_engine(
    settings: ExportSettings, show: list[str] | None, experiment: str | None, model: str | None, folder: Path | None
) -> int:
    """Export the model, or go back; print what was measured and what answers. The exit code: 1 if it does not answer
    because its recall is below the target."""
    if folder and not settings.alias:
        raise InputError("--bundle: give --alias, too, the name that queries ask for")
    models = None if folder else models_of(experiment)
    name = settings.alias or default_alias(models["experiment"] if models else "")
    address = EngineAddress(settings.kind, settings.url, name)
    if settings.back:
        restored, replaced = roll_back_engine(address)
        print(f"{name}: {restored.name} answers again, in place of {replaced.name}")
        return 0
    chosen = bundle_of(models, model) if models else Path(folder or "")
    columns = validate_query({"query": "?", "show": show}).show
    promotion = export_model(address, chosen, columns, settings.target)
    print(promotion.describe())
    if run := run_of_model(promotion.measured.model):
        print(f"report: {write_again(run)}")
    return 0 if promotion.measured.reached else 1
