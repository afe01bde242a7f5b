"""The histories of searchers: read from the log, fitted on the training window, written beside the other features."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Bool, Float32, Int32, Int64
from ebr_core.errors import InputError
from ebr_core.scratch import Scratch
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.column_values import ColumnData, listed_values
from ebr_core.towers.fitted_features import DOCUMENTS, FittedFeatures, FittedValues
from ebr_core.towers.history_bags import Clicks, Moments, click_bags, list_bags, own_bags
from ebr_core.towers.history_config import History
from tasks.kinds import ExtraColumns, FeatureSet, Log

LATEST = "latest"  # the bags of evaluated searches, up to the minute; the others end with the training window
SEARCHERS = "searchers"  # the bags of all searchers at the end of the training window, for serving
COUNTS = "histories.json"


class ListCounts(NamedTuple):
    """What a column of lists holds."""

    given: int  # values
    unknown: int  # of these, values that no document has as its identity
    left_out: int  # of these, documents that the searcher clicks after the training window


class _Searches(NamedTuple):
    searchers: Int32  # (S,) −1 if not signed in
    at: Int64  # (S,) microseconds
    session_from: Int64  # (S,) microseconds
    training: Bool  # (S,)


def fit_histories(log: Log, histories: dict[str, History], searches: ColumnData) -> dict[str, FittedValues]:
    """For each group, the identities, in order, of the documents that have a vector: those clicked in the training
    window and those that its searches list.

    searches: the columns of all searches. Raises InputError if no training search has a history.
    """
    fitted: dict[str, FittedValues] = {}
    ids = _document_ids(log)
    for name, history in histories.items():
        known = extracted_log.read_clicks(log.folder, len(ids)) > 0
        if history.column is None:
            _refuse_untimed(log, name)
            with_history = _training_histories(log, history, known)
        else:
            owners, documents = _read_listed(log, searches[history.column])
            of_training = _read_searches(log).training[owners]
            known[documents[of_training]] = True
            with_history = int(of_training.sum())
        if not with_history:
            raise InputError(_without_history(name, history))
        fitted[name] = {DOCUMENTS: sorted(ids.filter(pa.array(known)).to_pylist())}
    return fitted


def _training_histories(log: Log, history: History, known: Bool) -> int:
    """The clicks in the histories of training searches."""
    searches = _read_searches(log)
    moments = Moments(searches.searchers[searches.training], searches.session_from[searches.training])
    rows = np.where(known, 0, -1).astype(np.int32)
    return len(click_bags(_read_clicks(log, rows, latest=False), moments, history.model_copy(update={"newest": 1})).ids)


def _refuse_untimed(log: Log, name: str) -> None:
    if not extracted_log.read(log.folder, "timed")["timed"][0].as_py():
        raise InputError(
            f"groups.{name}: a history of clicks ends with the training window, but this split has training searches "
            f"that are later than searches of the test. Split by time, or name a list in groups.{name}.column"
        )


def _without_history(name: str, history: History) -> str:
    if history.column is None:
        return (
            f"groups.{name}: no search of the training window has a searcher_id and an earlier session with a click of "
            "the same searcher, so nobody has a history. Leave the group out"
        )
    return (
        f"groups.{name}: searches.{history.column} lists no document of this log in the training window; expected "
        "lists of document_id, without what the searcher clicks later. Leave the group out, or name another column"
    )


def save_histories(folder: Path, log: Log, fitted: FittedFeatures, searches: ColumnData) -> None:
    """Write the bags of each group for searches and documents, of clicks also those for LATEST and SEARCHERS."""
    ids = _document_ids(log)
    for name, history in fitted.features.histories.items():
        known = pc.index_in(ids, pa.array(fitted.history_documents(name), pa.string()))
        rows = pc.fill_null(known, -1).to_numpy(zero_copy_only=False).astype(np.int32)
        _save(folder, f"{name}.documents", own_bags(rows))
        if history.column is not None:
            owners, documents = _read_listed(log, searches[history.column])
            known_rows = rows[documents]
            bags = list_bags(owners[known_rows >= 0], known_rows[known_rows >= 0], len(searches[history.column]))
            _save(folder, f"{name}.searches", bags)
        else:
            _save_clicked(folder, log, name, history, rows)


def _save_clicked(folder: Path, log: Log, name: str, history: History, rows: Int32) -> None:
    searches, scratch = _read_searches(log), Scratch(folder)
    clicks = _read_clicks(log, rows, latest=False)
    _save(folder, f"{name}.searches", click_bags(clicks, history_moments(log), history, scratch))
    people = np.arange(pq.read_metadata(log.folder / "searchers.parquet").num_rows, dtype=np.int32)
    end = np.full(len(people), np.iinfo(np.int64).max)
    _save(folder, f"{name}.{SEARCHERS}", click_bags(clicks, Moments(people, end), history, scratch))
    evaluated = np.where(searches.training, -1, searches.searchers).astype(np.int32)
    clicks = _read_clicks(log, rows, latest=True)
    _save(folder, f"{name}.{LATEST}", click_bags(clicks, Moments(evaluated, searches.at), history, scratch))


def history_moments(log: Log) -> Moments:
    """The searchers of all searches, and the start of each search's session.

    A click of the test knows nothing of its session, because a session lies in one part of the split as a whole. So in
    training, too, a history ends before the session.
    """
    searches = _read_searches(log)
    return Moments(searches.searchers, searches.session_from)


def leave_out_later(log: Log, column: pa.Array) -> tuple[pa.Array, ListCounts]:
    """(a column of the log's searches that lists documents, without those that may be answers of the evaluation,
    counts).

    A list has no times, so what its searcher clicks after the training window, or finds judged well, is left out of
    all lists of the searcher. A search without a searcher stands for itself.
    """
    ids = _document_ids(log)
    values, owners = listed_values(column)
    documents = pc.fill_null(pc.index_in(values, ids), -1).to_numpy(zero_copy_only=False)
    later = extracted_log.read(log.folder, "later_clicks")
    people = _read_searches(log).searchers[owners].astype(np.int64)
    owner = np.where(people >= 0, people, -1 - owners.astype(np.int64))
    later_keys = later["owner"].to_numpy() * len(ids) + later["document_row"].to_numpy()
    is_later = (documents >= 0) & np.isin(owner * len(ids) + documents, later_keys)
    counts = np.bincount(owners[~is_later], minlength=len(column))
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    kept = pa.ListArray.from_arrays(offsets, values.filter(pa.array(~is_later)))
    return kept, ListCounts(len(values), int((documents < 0).sum()), int(is_later.sum()))


def _read_listed(log: Log, column: pa.Array) -> tuple[Int32, Int32]:
    """(the row of each listed document of the log, in order, its document row)."""
    values, owners = listed_values(column)
    documents = pc.fill_null(pc.index_in(values, _document_ids(log)), -1).to_numpy(zero_copy_only=False)
    return owners[documents >= 0], documents[documents >= 0].astype(np.int32)


def _read_searches(log: Log) -> _Searches:
    table = extracted_log.read(log.folder, "history_searches")
    at, session_from = (table[name].cast(pa.int64()).to_numpy() for name in ("searched_at", "session_from"))
    training = table["training"].to_numpy()
    return _Searches(extracted_log.row_numbers(table, "searcher_row"), at, session_from, training)


def _read_clicks(log: Log, rows: Int32, latest: bool) -> Clicks:
    """The clicks on known documents; rows (N,): the documents' rows of the group's table, −1 if unknown."""
    table = extracted_log.read(log.folder, "history_clicks", {"latest": latest})
    documents = rows[extracted_log.row_numbers(table, "document_row")]
    known = documents >= 0
    at = table["clicked_at"].cast(pa.int64()).to_numpy()
    return Clicks(extracted_log.row_numbers(table, "searcher_row")[known], at[known], documents[known])


def _document_ids(log: Log) -> pa.Array:
    return pq.read_table(log.folder / "documents.parquet", columns=["document_id"])["document_id"].combine_chunks()


def _save(folder: Path, name: str, bags: Bags) -> None:
    arrays: dict[str, Int64 | Int32 | Float32] = bags._asdict()
    for part, array in arrays.items():
        np.save(folder / f"{name}.{part}.npy", array)


def clean_lists(folder: Path, log: Log, columns: list[str]) -> None:
    """Leave what searchers click later out of these columns in searches.parquet; histories.json has the counts."""
    counts: dict[str, dict[str, int]] = {}
    if columns:
        table = pq.read_table(folder / "searches.parquet")
        for column in columns:
            kept, counted = leave_out_later(log, table[column].combine_chunks())
            table = table.set_column(table.column_names.index(column), column, kept)
            counts[column] = counted._asdict()
        pq.write_table(table, folder / "searches.parquet")
    (folder / COUNTS).write_text(json.dumps(counts, indent=1))


def keep_counts(folder: Path, columns: ExtraColumns | None) -> None:
    """Write the counts of the columns, if there are any, beside the features that are made of them."""
    if columns is not None:
        shutil.copyfile(columns.folder / COUNTS, folder / COUNTS)


def list_counts(columns: ExtraColumns | FeatureSet) -> dict[str, ListCounts]:
    """The counts of each column that lists documents."""
    file = columns.folder / COUNTS
    counts = json.loads(file.read_text()) if file.exists() else {}
    return {column: ListCounts(**counted) for column, counted in counts.items()}
