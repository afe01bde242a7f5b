"""Retrieve lists for the searches of a part: baselines, oracles, arms with each index, and what is made of arms."""

from __future__ import annotations

from typing import NamedTuple, get_args

from data.experiment.experiment_spec import BASELINES, BM25, ORACLES, Experiment
from data.experiment.log_config import Simulated
from data.world.world_config import Sees
from ebr_core.search.index_specs import EXACT
from flows.arms import ArmRun
from flows.combined_lists import ListInputs, ListRun, combined_lists, exact_lists, index_of, part_of
from flows.rerankers import Rerankers
from flows.sources import EvalSets, Source, retrieve_own
from flows.submit import submit
from flows.vectors import (
    ArmVectors,
    Indexes,
    Radii,
    evaluated_runs,
)
from tasks.audit_stage import rank_targets
from tasks.bm25_stages import retrieve_bm25
from tasks.kinds import EvalSet, RankedList, RetrievedList, TargetRanks, TunedBm25
from tasks.retrieval_stages import retrieve, retrieve_baseline, retrieve_oracle


class Lists(NamedTuple):
    """The lists retrieved for the searches of one part."""

    baselines: dict[str, RetrievedList]  # baselines, the user's own lists and, for the test, oracles
    indexed: dict[tuple[ArmRun, str], RetrievedList]  # arms and ensembles; for the test with each index
    combined: dict[ListRun, RetrievedList]  # retrievals, cascades, rankers, filters
    indexes: Indexes  # over the documents of the part


def retrieve_test(
    spec: Experiment,
    source: Source,
    vectors: ArmVectors,
    indexes: Indexes,
    radii: Radii,
    rerankers: Rerankers,
    searches: EvalSets,
    bm25: TunedBm25,
    own_lists: dict[str, RankedList],
) -> Lists:
    """Every list of the experiment for the searches of the test, as deep as the largest K."""
    k = max(spec.evaluation.ks)
    baselines = retrieve_baselines(spec, source, bm25, own_lists, searches.test, k, ())
    baselines |= _oracles(spec, source, searches.test, k)
    inputs = ListInputs(
        *(spec, source, "test", searches.test, vectors.test, vectors, indexes, radii, rerankers, bm25, baselines), k
    )
    return Lists(baselines, indexed_lists(inputs, list(indexes)), combined_lists(inputs), indexes)


def retrieve_validation(
    spec: Experiment,
    source: Source,
    vectors: ArmVectors,
    radii: Radii,
    rerankers: Rerankers,
    searches: EvalSets,
    bm25: TunedBm25,
    own_lists: dict[str, RankedList],
) -> Lists:
    """Every list for the searches of the validation, as deep as the largest K: arms by exact search alone, because an
    index costs more to build than it tells; combined lists with their own index. Empty without a
    validation."""
    validation, k = searches.validation, max(spec.evaluation.ks)
    if validation is None:
        return Lists({}, {}, {}, {})
    baselines = retrieve_baselines(spec, source, bm25, own_lists, validation, k, ("validation",))
    inputs = ListInputs(
        *(spec, source, "validation", validation, vectors.validation, vectors, {}, radii, rerankers, bm25, baselines),
        k,
    )
    runs = [(run, EXACT) for run in evaluated_runs(spec, vectors)]
    return Lists(baselines, indexed_lists(inputs, runs), combined_lists(inputs), inputs.indexes)


def retrieve_exact(
    spec: Experiment,
    source: Source,
    vectors: ArmVectors,
    radii: Radii,
    rerankers: Rerankers,
    searches: EvalSets,
    bm25: TunedBm25,
    lists: Lists,
) -> dict[ArmRun, RetrievedList]:
    """The cascades and rankers by exact search for the searches of the validation, of the seed that is served: it is
    chosen by these. lists: of the validation. Empty without a validation."""
    if searches.validation is None:
        return {}
    part = vectors.validation, vectors, lists.indexes, radii, rerankers, bm25, lists.baselines
    inputs = ListInputs(spec, source, "validation", searches.validation, *part, max(spec.evaluation.ks))
    return exact_lists(inputs, lists.combined)


def rank_all_targets(spec: Experiment, vectors: ArmVectors, searches: EvalSets) -> dict[ArmRun, TargetRanks]:
    """The rank of every target of the test in exact search, of each arm and ensemble."""
    return {
        run: submit(rank_targets, run, vectors.test[run], searches.test, vectors.threads[run])
        for run in evaluated_runs(spec, vectors)
    }


def retrieve_baselines(
    spec: Experiment,
    source: Source,
    bm25: TunedBm25,
    own_lists: dict[str, RankedList],
    searches: EvalSet,
    k: int,
    part: tuple[str, ...],
) -> dict[str, RetrievedList]:
    """The baselines and the user's own lists. part: the end of the stages' labels."""
    lists = {BM25: submit(retrieve_bm25, part, source.log, searches, bm25, k)}
    for name in BASELINES:
        if name != BM25:
            lists[name] = submit(retrieve_baseline, (name, *part), source.log, searches, name, k)
    return lists | {name: retrieve_own(spec, source, name, ranked, searches) for name, ranked in own_lists.items()}


def _oracles(spec: Experiment, source: Source, test: EvalSet, k: int) -> dict[str, RetrievedList]:
    """The oracles of a simulated world."""
    lists = {}
    if isinstance(spec.logs, Simulated) and source.world is not None:
        for name, sees in zip(ORACLES, get_args(Sees), strict=True):
            lists[name] = submit(retrieve_oracle, (name,), spec.logs.world, source.world, source.log, test, sees, k)
    return lists


def indexed_lists(inputs: ListInputs, runs: list[tuple[ArmRun, str]]) -> dict[tuple[ArmRun, str], RetrievedList]:
    """Arms and ensembles, each through an index."""
    return {
        (run, name): submit(
            retrieve,
            (*run, name, *part_of(inputs)),
            inputs.documents[run],
            index_of(inputs, run, name),
            inputs.searches,
            inputs.k,
            inputs.vectors.threads[run],
        )
        for run, name in runs
    }
