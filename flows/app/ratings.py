"""`ebr ratings`: write the results of an arm for people to rate, and import their ratings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect import flow

from data import rating_files
from data.experiment.encoder_arms import ENCODER
from data.experiment.experiment_file import load_experiment
from flows.app.experiment_input import open_experiment
from flows.app.file_checks import refuse_grades
from flows.arms import prepare_arm, unrated_results
from flows.process.cluster import RUNNER
from flows.run_names import name_of_run
from flows.sources import extract_log
from flows.submit import result
from tasks.imported_ratings import store_ratings
from tasks.kinds import Log, UnratedResults


class ImportedRatings(NamedTuple):
    """The stored ratings of a file that people filled in, and their counts."""

    path: Path
    ratings: int
    searches: int
    good: int
    unasked: int  # queries of the search page's ratings that no search of the training window has, left out


@flow(name="ratings", task_runner=RUNNER, flow_run_name=name_of_run)
def list_for_raters(experiment: str, arm: str) -> tuple[Log, UnratedResults]:
    """(the log, the unrated results of the arm with the first seed). Arms without towers are trained first."""
    whole = load_experiment(Path(experiment), needs_encoder=arm == ENCODER)
    spec, source, searches, features, _ = prepare_arm(whole, arm)
    return source.log, result(unrated_results(spec, source, features, searches.validation, arm))


def export_ratings(experiment: Path, arm: str, out: Path, searches: int | None = None) -> tuple[int, int]:
    """Write a CSV file with a row for each result that nobody has judged, its grade empty; returns (the number of rows,
    that of their searches).

    searches: results of that many searches alone, those with the smallest hashes. Raises InputError if the file exists.
    """
    refuse_grades(out)
    open_experiment(experiment, arm)
    log, results = list_for_raters(str(experiment), arm)
    pairs = pq.read_table(results.folder / "to_rate.parquet")
    if searches is not None:
        pairs = _of_searches(pairs, log, searches)
    return rating_files.write_csv(log.folder, pairs, out), len(pairs["search_row"].unique())


def _of_searches(pairs: pa.Table, log: Log, count: int) -> pa.Table:
    """The pairs of `count` searches, those whose identities have the smallest hashes: a larger count adds searches."""
    rows = pairs["search_row"].unique()
    ids = pq.read_table(log.folder / "searches.parquet", columns=["search_id"])["search_id"].take(rows).to_pylist()
    hashes = {row: hashlib.md5(str(name).encode()).hexdigest() for row, name in zip(rows.to_pylist(), ids, strict=True)}
    chosen = sorted(hashes, key=lambda row: (hashes[row], row))[:count]
    return pairs.filter(pc.is_in(pairs["search_row"], pa.array(chosen, pairs["search_row"].type)))


def import_ratings(experiment: Path, arm: str, file: Path) -> ImportedRatings:
    """Check a CSV file, filled in or written by the search page, against the experiment's log and store it, for arms
    that name this one in ratings.of.

    Raises InputError if there is no such arm, or if rows are invalid.
    """
    spec = open_experiment(experiment, arm)
    log = extract_log(spec).log
    assert spec.feedback.imported is not None, "load_experiment sets it"
    path, (table, unasked) = store_ratings(log, file, spec.feedback.imported, arm)
    good = int((table["grade"].to_numpy() >= spec.feedback.good_from).sum())
    return ImportedRatings(path, table.num_rows, len(table["search_id"].unique()), good, len(unasked))
