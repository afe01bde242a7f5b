"""The flow of `ebr run --tune`: what a user chooses settings by. Nothing of the test is retrieved or measured."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Experiment
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from flows.arms import TrainedArms, train_arms
from flows.evaluated_lists import evaluate_on_validation
from flows.hybrids import Fusions, fuse_validation
from flows.latest import latest_of_part
from flows.lists import Lists, retrieve_validation
from flows.process.cleanup import begin, end
from flows.process.cluster import RUNNER, cluster_of, run_on
from flows.rerankers import train_rerankers
from flows.run_names import name_of_run
from flows.settled_run import settle_lists
from flows.sources import (
    EvalSets,
    Source,
    extract_log,
    featurize,
    match_lists,
    refuse_small,
    sample_searches,
    tune_terms,
    with_own_data,
)
from flows.submit import settle
from flows.vectors import calibrate_radii, embed_arms, join_ensembles
from tasks.experiment_paths import note_path
from tasks.kinds import RunResults


class Tuning(Frozen):
    """The results on the validation, and what failed."""

    results: RunResults
    failures: dict[str, str]  # label → reason


@flow(name="tune", task_runner=RUNNER, flow_run_name=name_of_run)
def tune(experiment: str) -> Tuning | State[Tuning]:
    """Train the arms of the experiment in that file, and measure every list on the validation alone."""
    begin()
    spec = load_experiment(Path(experiment))
    note_path(Path(experiment))
    cluster = cluster_of(spec.runner)
    if cluster is not None:
        return run_on(cluster, tune, experiment)
    source = with_own_data(spec, extract_log(spec))
    searches = sample_searches(spec, source)
    refuse_small(spec, searches)
    own_lists = match_lists(spec, source, searches)
    bm25 = tune_terms(spec, source, searches)
    features = featurize(spec, source)
    arms = train_arms(spec, source, features, searches.validation)
    vectors = embed_arms(spec, features, arms, searches)
    vectors = join_ensembles(spec, arms, vectors, searches)
    radii = calibrate_radii(spec, vectors, searches)
    rerankers = train_rerankers(spec, source, features, arms, vectors, searches, bm25)
    lists = retrieve_validation(spec, source, vectors, radii, rerankers, searches, bm25, own_lists)
    fusions = fuse_validation(spec, source, vectors, lists, searches, bm25)
    latest = latest_of_part(spec, features, arms, searches.validation, "validation")
    tuning = conclude_tuning(spec, source, searches, arms, lists, fusions._replace(lists=fusions.lists | latest))
    end()
    return tuning


def conclude_tuning(
    spec: Experiment, source: Source, searches: EvalSets, arms: TrainedArms, lists: Lists, fusions: Fusions
) -> Tuning | State[Tuning]:
    """The results of all lists; in a failed state if one could not be made.

    Raises InputError for an experiment without arms, which has no validation.
    """
    failures = {
        f"{name}, seed {seed}": reason for ((name, seed), _), reason in settle(lists.indexed | fusions.lists)[1].items()
    } | {name: reason for (name, _), reason in settle(lists.combined)[1].items()}
    results = evaluate_on_validation(spec, source, searches, settle_lists(lists, fusions.lists), settle(arms.towers)[0])
    if results is None:
        raise InputError("--tune: this experiment has no arms, so there is nothing to tune; leave --tune out")
    tuning = Tuning(results=results, failures=failures)
    return Failed(data=tuning, message="; ".join(failures)) if failures else tuning
