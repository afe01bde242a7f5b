"""Which of the documents' own columns a model holds."""

from __future__ import annotations

import json

import pyarrow as pa

from data.experiment.serving_config import Serving
from data.layouts import SIDES
from ebr_core.arrays import Int32
from ebr_core.own_names import OwnNames, standard_name, written_name
from ebr_core.serving.own_data import OwnSettings
from tasks.kinds import Log, OwnColumns, Places
from tasks.own_column_stages import add_own_columns, place_columns_of, too_long

NOT_NAMED = "serving.columns does not name it"


def travelling(
    log: Log,
    documents: pa.Table,
    own: OwnColumns | None,
    places: Places | None,
    serving: Serving,
    rows: Int32,
    own_names: OwnNames,
) -> tuple[pa.Table, OwnSettings]:
    """(the documents at these rows with the own columns that a model holds, the settings of these).

    Held are the columns with short values, or those that serving names. own_names: the user's names of the layout's.
    """
    show = {name: standard_name(name, own_names).lower() for name in serving.show}
    named = {standard_name(name, own_names).lower() for name in (*(serving.columns or ()), *serving.show)}
    layout = documents.column_names
    table = add_own_columns(documents, own, rows)
    written = {name.lower(): name for name in table.column_names}
    left_out = too_long(own, tuple(written[name] for name in named if name in written))
    if serving.columns is not None:
        there = [*(name for name in table.column_names if name not in layout), *_unread_columns(log)]
        left_out |= {name: NOT_NAMED for name in there if name.lower() not in named}
    kept = [name for name in table.column_names if name not in left_out]
    settings = OwnSettings(
        show=tuple(
            written_name(name, own_names) or written[column]
            for name, column in show.items()
            if written.get(column) in kept
        ),
        left_out=left_out,
        document_names=own_names,
    )
    place = place_columns_of(places).get("searches") if places is not None else None
    if place is not None and place.both != ("city", "country"):
        settings = settings.model_copy(update={"place": place.both, "names": place.names})
    return table.select(kept), settings


def _unread_columns(log: Log) -> list[str]:
    """The columns of the documents' table that the layout does not read."""
    report = json.loads((log.folder / "report.json").read_text())
    return list(report["unread_columns"].get(SIDES[report["layout"]]["documents"][0], ()))
