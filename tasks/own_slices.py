"""The slices of an evaluation by the user's own columns and by distance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ebr_core.arrays import Int32
from ebr_core.frozen import Frozen
from ebr_core.measure.value_slices import ValueSlices, slice_distances, slice_values
from ebr_core.towers.column_config import Side
from ebr_core.towers.location_cells import distance_km
from tasks.artifacts import stage
from tasks.kinds import EvalSet, Log, OwnColumns, OwnSlices, Places
from tasks.own_column_stages import read_column, read_places
from tasks.slices import GROUPS

DISTANCE = "distance"
ROW_OF = {"searches": "search_row", "documents": "document_row"}


class SliceColumn(Frozen):
    """A column by which searches are divided."""

    name: str
    side: Side | None  # None: the distance between a search and its main target
    written: str | None = None  # the user's name of it, where that names it

    @property
    def heading(self) -> str:
        """The column as it was named."""
        return self.written or self.name


@stage(OwnSlices)
def slice_by_columns(
    folder: Path,
    log: Log,
    eval_set: EvalSet,
    columns: list[SliceColumn],
    own: dict[Side, OwnColumns],
    places: Places | None,
) -> None:
    """Write slices.parquet: for each target set and search a number for each column, its slice; and labels.json: what
    the numbers mean, by column. A search has the values of its own row and of its main target.

    own: the own columns of each side that has some. Values and bins are chosen once for all target sets.
    """
    table = pq.read_table(eval_set.folder / "slices.parquet", columns=["targets", "search_row", "document_row"])
    rows: dict[Side, Int32] = {
        "searches": table["search_row"].to_numpy(),
        "documents": table["document_row"].to_numpy(),
    }
    pairs = np.stack(list(rows.values()), 1)
    counted = np.zeros(len(pairs), bool)
    counted[np.unique(pairs, axis=0, return_index=True)[1]] = True
    taken, labels = set(GROUPS), {}
    for column in columns:
        name = column.heading if column.heading not in taken else f"{column.side}.{column.heading}"
        taken.add(name)
        slices = _slices(log, column, rows, counted, own, places)
        labels[name] = slices.labels
        table = table.append_column(f"own {name}", pa.array(slices.codes))
    pq.write_table(table, folder / "slices.parquet")
    (folder / "labels.json").write_text(json.dumps(labels))


def _slices(
    log: Log,
    column: SliceColumn,
    rows: dict[Side, Int32],
    counted: Any,
    own: dict[Side, OwnColumns],
    places: Places | None,
) -> ValueSlices:
    if column.side is None:
        located = {side: read_places(places, side) for side in rows}
        ends = [np.full((len(at), 2), np.nan) if (p := located[side]) is None else p[at] for side, at in rows.items()]
        return slice_distances(distance_km(*ends[0].T, *ends[1].T))
    values = read_column(log, own.get(column.side), column.side, column.name).take(pa.array(rows[column.side]))
    return slice_values(values.combine_chunks(), counted)


def read_own_slices(slices: OwnSlices | None, targets: str) -> dict[str, ValueSlices]:
    """Column → the slices of the searches of a target set, in the order of SampledSearches.for_targets."""
    if slices is None:
        return {}
    labels: dict[str, list[str]] = json.loads((slices.folder / "labels.json").read_text())
    table = pq.read_table(slices.folder / "slices.parquet")
    inside = pa.array([name == targets for name in table["targets"].to_pylist()])
    part = table.filter(inside)
    return {name: ValueSlices(part_labels, part[f"own {name}"].to_numpy()) for name, part_labels in labels.items()}
