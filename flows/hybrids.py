"""The modes in which a model can be served: its own list, and hybrids of it with BM25. The validation chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from data.experiment.experiment_spec import BM25, Experiment, arm_of
from ebr_core.search.index_specs import EXACT
from ebr_core.search.modes import Mode, arm_of_row, is_hybrid, row_of
from flows.arms import ArmRun
from flows.lists import Lists
from flows.sources import EvalSets, Source
from flows.submit import submit
from flows.vectors import ArmVectors, evaluated_runs, served_index
from tasks.fusion_stages import choose_mode, choose_weights_of_fusion, fusion_depth, rank_terms, retrieve_fused
from tasks.kinds import BuiltIndex, ChosenFusion, EvalSet, RetrievedList, ServedMode, TermLists, TunedBm25, Vectors

FusedLists = dict[tuple[ArmRun, str], RetrievedList]  # (row and seed, index) → list, as of arms


class Fusions(NamedTuple):
    """The lists of hybrids on the validation, and what it chose."""

    lists: FusedLists
    weights: dict[ArmRun, ChosenFusion]
    modes: dict[ArmRun, ServedMode]  # of the first seed, which is served


class ModelLists(NamedTuple):
    """A model on the validation: its vectors, their exact index and what they retrieve through it."""

    vectors: Vectors
    exact_index: BuiltIndex
    own: RetrievedList


class ModesOfRun(NamedTuple):
    """The modes of one model on the validation."""

    weights: ChosenFusion
    hybrid: RetrievedList
    weighted: RetrievedList


def fuse_validation(
    spec: Experiment, source: Source, vectors: ArmVectors, lists: Lists, searches: EvalSets, bm25: TunedBm25
) -> Fusions:
    """The hybrids of arms and ensembles for the searches of the validation, and the mode that wins for each.

    lists: of the validation. Empty without arms.
    """
    fusions = Fusions({}, {}, {})
    if searches.validation is None or not spec.arms:
        return fusions
    depth = fusion_depth(spec.evaluation.ks)
    terms = submit(rank_terms, ("validation",), source.log, searches.validation, bm25, depth)
    models = {
        run: ModelLists(vectors.validation[run], lists.indexes[run, EXACT], lists.indexed[run, EXACT])
        for run in hybrid_runs(spec, vectors)
    }
    for run, modes in fuse_runs(spec, models, searches.validation, terms, vectors.threads).items():
        fusions.weights[run] = modes.weights
        fusions.lists[_row(run, "hybrid"), EXACT] = modes.hybrid
        fusions.lists[_row(run, "weighted"), EXACT] = modes.weighted
        if run[1] == spec.seeds[0]:
            fusions.modes[run] = choose_served(spec, run, searches.validation, models[run].own, modes)
    return fusions


def fuse_runs(
    spec: Experiment,
    models: Mapping[ArmRun, ModelLists],
    validation: EvalSet,
    terms: TermLists,
    threads: Mapping[ArmRun, int],
) -> dict[ArmRun, ModesOfRun]:
    """The hybrids of models for the searches of the validation, with the weights that it chooses.

    Stages that wait for nothing are submitted first: one that waits for another keeps a worker busy.
    """
    k, main_k = max(spec.evaluation.ks), spec.evaluation.main_k
    weights = {
        run: submit(
            choose_weights_of_fusion,
            run,
            validation,
            terms,
            model.vectors,
            model.exact_index,
            main_k,
            threads[run],
            own=model.own,
        )
        for run, model in models.items()
    }
    inputs = {
        run: (validation, terms, model.vectors, model.exact_index, k, threads[run]) for run, model in models.items()
    }
    hybrids = {
        run: submit(retrieve_fused, (*run, "validation", "hybrid"), *inputs[run], own=model.own)
        for run, model in models.items()
    }
    weighted = {
        run: submit(
            retrieve_fused, (*run, "validation", "weighted"), *inputs[run], weights[run], held_out=True, own=model.own
        )
        for run, model in models.items()
    }
    return {run: ModesOfRun(weights[run], hybrids[run], weighted[run]) for run in models}


def choose_served(
    spec: Experiment, run: ArmRun, validation: EvalSet, own: RetrievedList, modes: ModesOfRun
) -> ServedMode:
    """The mode of a model that wins on the validation. own: the model's list without BM25."""
    by_mode = {"ebr": own, "hybrid": modes.hybrid, "weighted": modes.weighted}
    return submit(choose_mode, run, validation, by_mode, spec.evaluation.main_k)


def fuse_test(
    spec: Experiment,
    source: Source,
    vectors: ArmVectors,
    lists: Lists,
    fusions: Fusions,
    searches: EvalSets,
    bm25: TunedBm25,
) -> FusedLists:
    """The hybrids for the searches of the test: through exact search, and those of the first seed also through the
    index that is served. lists: of the test."""
    fused: FusedLists = {}
    if not fusions.weights:
        return fused
    terms = submit(rank_terms, ("test",), source.log, searches.test, bm25, fusion_depth(spec.evaluation.ks))
    for run, weights in fusions.weights.items():
        names = [EXACT, *([served_index(spec)] if run[1] == spec.seeds[0] else [])]
        for name in dict.fromkeys(names):
            inputs = searches.test, terms, vectors.test[run], lists.indexes[run, name]
            k, threads, own = max(spec.evaluation.ks), vectors.threads[run], lists.indexed[run, name]
            fused[_row(run, "hybrid"), name] = submit(
                retrieve_fused, (*run, name, "hybrid"), *inputs, k, threads, own=own
            )
            fused[_row(run, "weighted"), name] = submit(
                retrieve_fused, (*run, name, "weighted"), *inputs, k, threads, weights, own=own
            )
    return fused


def hybrid_runs(spec: Experiment, vectors: ArmVectors) -> list[ArmRun]:
    """The arms and ensembles of which hybrids are made: with the first seed, which is served, and with every seed
    where a question of the file's own compares one of their hybrids."""
    questions = [question for name, question in spec.questions.items() if name != BM25]  # which every run asks
    labels = [arm_of(label) for question in questions for label in (question.baseline, *question.arms)]
    compared = {arm_of_row(label)[0] for label in labels if is_hybrid(label)}
    return [run for run in evaluated_runs(spec, vectors) if run[1] == spec.seeds[0] or run[0] in compared]


def _row(run: ArmRun, mode: Mode) -> ArmRun:
    return row_of(run[0], mode), run[1]
