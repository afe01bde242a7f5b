"""`ebr export --to`: bring a model into a search engine, or go back there."""

from __future__ import annotations

from pathlib import Path

from data.experiment.export_config import default_alias
from flows.app.export_settings import ExportSettings
from flows.app.query_options import validate_query
from tasks.engines.engine_export import export_model, roll_back_engine
from tasks.engines.opened_engine import EngineAddress
from tasks.report.report_stage import write_again
from tasks.report.run_folders import run_of_model


def export_to_engine(
    settings: ExportSettings, show: list[str] | None, experiment: str | None, folder: Path | None
) -> int:
    """Export the model in the folder, or go back; print what was measured and what answers. The exit code: 1 if it does
    not answer because its recall is below the target.

    experiment: after which the alias is named, unless the settings name one. folder: None to go back.
    """
    name = settings.alias or default_alias(experiment or "")
    address = EngineAddress(settings.kind, settings.url, name)
    if folder is None:
        restored, replaced = roll_back_engine(address)
        print(f"{name}: {restored.name} answers again, in place of {replaced.name}")
        return 0
    columns = validate_query({"query": "?", "show": show}).show
    promotion = export_model(address, folder, columns, settings.target)
    print(promotion.describe())
    if run := run_of_model(promotion.measured.model):
        print(f"report: {write_again(run)}")
    return 0 if promotion.measured.reached else 1
