"""The champion of a night in a search engine: the last step, which may fail and leaves the rest as it is."""

from __future__ import annotations

from data.experiment.export_config import Export
from ebr_core.errors import InputError
from tasks.engines.engine_export import export_model, restore_model
from tasks.engines.opened_engine import EngineAddress, address_of
from tasks.kinds import ModelBundle
from tasks.nights.engine_night import EngineNight


def export_champion(export: Export, experiment: str, bundle: ModelBundle) -> EngineNight:
    """Let the champion answer in the engine; any error is recorded, and what answered there before goes on."""
    try:
        address = address_of(export, experiment)
    except InputError as error:
        return EngineNight(export=export, alias=export.alias or "", failure=str(error))
    try:
        promotion = export_model(address, bundle.folder)
    except Exception as error:
        return EngineNight(export=export, alias=address.alias, failure=_reason(error, address))
    measurement, failure = promotion.measured, ""
    if not measurement.reached:
        live = promotion.live.name if promotion.live else "nothing"
        recall = f"index recall@{measurement.k} {measurement.recall:.3f}"
        failure = f"{recall} is below its target {measurement.target:g}; {live} goes on answering"
    return EngineNight(export=export, alias=address.alias, measured=measurement, failure=failure)


def restore_champion(export: Export, experiment: str, bundle: ModelBundle) -> EngineNight:
    """Let an earlier champion answer in the engine again; any error is recorded."""
    try:
        address = address_of(export, experiment)
    except InputError as error:
        return EngineNight(export=export, alias=export.alias or "", failure=str(error))
    try:
        is_back = restore_model(address, bundle.folder)
    except Exception as error:
        return EngineNight(export=export, alias=address.alias, failure=_reason(error, address))
    return EngineNight(export=export, alias=address.alias) if is_back else export_champion(export, experiment, bundle)


def _reason(error: Exception, address: EngineAddress) -> str:
    """The error on one line, without the address, which may hold a password."""
    text = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    return " ".join(text.replace(address.url, address.kind).split())[:1000]
