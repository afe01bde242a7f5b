"""`ebr ratings`: what an arm retrieves written out for people to rate, and their ratings read in."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
from prefect import flow

from data import rating_files
from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Simulated
from data.log_fingerprint import refuse_absent
from ebr_core.errors import InputError
from flows.arms import restrict_to_arm, unrated_results
from flows.process.cluster import RUNNER
from flows.sources import extract_log, featurize, sample_searches
from flows.submit import result
from tasks.feedback_stages import keep_imported
from tasks.kinds import Log, UnratedResults


class Imported(NamedTuple):
    """What became of a file that people filled in."""

    kept: Path
    ratings: int
    searches: int
    good: int


@flow(name="ratings", task_runner=RUNNER, flow_run_name="{arm} of {experiment}")
def list_for_raters(experiment: str, arm: str) -> tuple[Log, UnratedResults]:
    """(the log, what is to be rated of the arm with the first seed); trains what is not there."""
    spec = restrict_to_arm(load_experiment(Path(experiment)), arm)
    source = extract_log(spec)
    searches, features = sample_searches(spec, source), featurize(spec, source)
    return source.log, result(unrated_results(spec, source, features, searches.validation, arm))


def export_ratings(experiment: Path, arm: str, out: Path) -> int:
    """Writes a CSV for people: a row a retrieved result that no log has judged, the column grade empty; how many."""
    if out.exists():
        raise InputError(f"{out}: there already, perhaps with grades in it; name another file, or remove it")
    asked = load_experiment(experiment)
    if not isinstance(asked.logs, Simulated):
        refuse_absent(asked.logs)
    log, listed = list_for_raters(str(experiment), arm)
    return rating_files.write_csv(log.folder, pq.read_table(listed.folder / "to_rate.parquet"), out)


def import_ratings(experiment: Path, arm: str, file: Path) -> Imported:
    """Checks a filled-in CSV against the experiment's log and keeps it, for arms that name this one in ratings.of."""
    asked = load_experiment(experiment)
    if arm not in asked.arms:
        raise InputError(f"--arm: no arm {arm!r}; there are {', '.join(asked.arms)}")
    if not isinstance(asked.logs, Simulated):
        refuse_absent(asked.logs)
    log = extract_log(asked).log
    assert asked.feedback.imported is not None, "load_experiment names it"
    kept, table = keep_imported(log, file, asked.feedback.imported, arm)
    good = int((table["grade"].to_numpy() >= asked.feedback.good_from).sum())
    return Imported(kept, table.num_rows, len(table["search_id"].unique()), good)
