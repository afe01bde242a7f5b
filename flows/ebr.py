"""The main flow: a search log in, verdicts out."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.client.schemas.objects import State

from data.experiment.experiment_file import load_experiment
from flows.arms import train_arms
from flows.bundles import build_bundles
from flows.evaluated_lists import audit_run, evaluate_run, evaluated_lists, refit_lists
from flows.hybrids import fuse_test, fuse_validation
from flows.latest import retrieve_latest
from flows.lists import rank_all_targets, retrieve_exact, retrieve_test, retrieve_validation
from flows.process.cleanup import begin, end
from flows.process.cluster import RUNNER, cluster_of, run_on
from flows.refit import refit_champion
from flows.rerankers import train_rerankers
from flows.run import conclude, finish_run, select_champion
from flows.run_names import name_of_run
from flows.served import bundle_reranked, measure_reranked
from flows.settled_run import Stages, settle_run
from flows.sources import (
    extract_log,
    extract_named_columns,
    featurize,
    match_lists,
    refuse_small,
    sample_searches,
    tune_terms,
    with_own_data,
)
from flows.vectors import build_indexes, calibrate_radii, embed_arms, join_ensembles
from tasks.experiment_paths import note_path
from tasks.report.report_stage import report
from tasks.tracking.experiment_names import refuse_untrackable
from tasks.tracking.runs import Outcome, track

DEFAULT = "experiments/default.yaml"


@flow(name="ebr", task_runner=RUNNER, flow_run_name=name_of_run)
def ebr(experiment: str = DEFAULT) -> Outcome | State[Outcome]:
    """Run the experiment in that file: a search log in, verdicts out. If an arm fails, the run reports it and finishes
    the others."""
    begin()
    spec, name = load_experiment(Path(experiment)), Path(experiment).stem
    note_path(Path(experiment))
    refuse_untrackable(name)  # before anything is trained
    cluster = cluster_of(spec.runner)
    if cluster is not None:
        return run_on(cluster, ebr, experiment)
    source = with_own_data(spec, extract_log(spec))
    searches = sample_searches(spec, source)  # the validation is halved here and nowhere else
    refuse_small(spec, searches)
    own_lists = match_lists(spec, source, searches)
    bm25 = tune_terms(spec, source, searches)
    columns = extract_named_columns(spec, source)
    features = featurize(spec, source, columns)
    arms = train_arms(spec, source, features, searches.validation)  # follows mine_from, start_from and ratings
    vectors = embed_arms(spec, features, arms, searches)
    vectors = join_ensembles(spec, arms, vectors, searches)  # from here on an ensemble is an arm
    indexes = build_indexes(spec, vectors, searches)
    radii = calibrate_radii(spec, vectors, searches)
    rerankers = train_rerankers(spec, source, features, arms, vectors, searches, bm25)
    validation = retrieve_validation(spec, source, vectors, radii, rerankers, searches, bm25, own_lists)
    fusions = fuse_validation(spec, source, vectors, validation, searches, bm25)  # chooses weights and modes
    test = retrieve_test(spec, source, vectors, indexes, radii, rerankers, searches, bm25, own_lists)
    fused = fuse_test(spec, source, vectors, test, fusions, searches, bm25)
    latest = retrieve_latest(spec, features, arms, searches)
    ranks = rank_all_targets(spec, vectors, searches)
    bundles = build_bundles(spec, source, columns, arms, vectors, indexes, radii, fusions, searches, bm25)
    bundles |= bundle_reranked(spec, source, searches, indexes, rerankers, bundles)
    exact = retrieve_exact(spec, source, vectors, radii, rerankers, searches, bm25, validation)
    reranked = measure_reranked(spec, exact, searches)
    refit = refit_champion(spec, source, arms, vectors, indexes, radii, fusions, bundles, searches, bm25)
    trained = features, arms, vectors, indexes, rerankers
    run = settle_run(spec, Stages(*trained, validation, test, fusions, fused, latest, ranks, reranked, bundles, refit))
    evaluated = [*evaluated_lists(spec, source, run.test, run.towers), *refit_lists(spec, run.refit)]
    served = select_champion(spec, name, source, run)
    results = evaluate_run(spec, source, searches, run, evaluated, served)
    audit = audit_run(spec, source, searches, run)
    finished_run = finish_run(spec, name, source, searches, bm25, run, evaluated, results, served)
    page = report(finished_run, results, audit)
    outcome = track(finished_run, results, page)
    end()
    return conclude(outcome, results, audit)
