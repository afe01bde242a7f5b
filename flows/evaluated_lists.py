"""What is evaluated: the lists of the validation and of the test, those of a refit, and the questions."""

from __future__ import annotations

from collections.abc import Iterable

from data.experiment.action_weights import action_sets
from data.experiment.experiment_file import against_bm25
from data.experiment.experiment_spec import BM25, LOGGED, MEMORY, REFIT, Comparison, Experiment
from data.experiment.log_config import weights_of
from ebr_core.search.index_specs import NO_INDEX
from ebr_core.search.modes import arm_of_row
from flows.arms import ArmRun
from flows.leaking_models import leak_of
from flows.refit import Refit
from flows.settled_run import SettledLists, SettledRun, label_of
from flows.sources import EvalSets, Source
from flows.submit import result, submit
from tasks.audit_stage import RankedArm, audit
from tasks.evaluation_stage import EvaluatedList, evaluate, evaluate_validation
from tasks.finished_run import ServedRow
from tasks.kinds import (
    EvalSet,
    OwnSlices,
    RunAudit,
    RunResults,
    TrainedTowers,
)
from tasks.leaks import is_leak
from tasks.list_measures import EVERY_SET
from tasks.own_slices import slice_by_columns
from tasks.ranked_list_stages import engine_reasons
from tasks.training_stages import training_remark


def evaluate_run(
    spec: Experiment,
    source: Source,
    searches: EvalSets,
    run: SettledRun,
    lists: list[EvaluatedList],
    served: ServedRow | None,
) -> RunResults:
    """The results of all lists, on the validation and, these lists, on the test."""
    validation = evaluate_on_validation(spec, source, searches, run.validation, run.towers)
    questions, test = questions_of_run(spec, served), result(searches.test)
    return evaluate(test, lists, questions, spec.evaluation, validation, slice_searches(source, test))


def slice_searches(source: Source, test: EvalSet) -> OwnSlices | None:
    """The slices of the test's searches by the user's own columns and by distance; None without such slices."""
    own = source.own
    if not own.slices:
        return None
    return result(submit(slice_by_columns, (), source.log, test, list(own.slices), own.by_side, own.places))


def questions_of_run(spec: Experiment, served: ServedRow | None) -> dict[str, Comparison]:
    """The questions of the file, and those of the report's first line: the row that is served, through its index,
    against BM25, beside the arms, against the engine of today and against memory. A file's own stay as they are."""
    if served is None:
        return spec.questions
    questions, generated = dict(spec.questions), against_bm25(spec).get(BM25)
    if generated and questions.get(BM25) == generated:
        arms = tuple(dict.fromkeys([*generated.arms, served.row, served.label]))
        questions[BM25] = generated.model_copy(update={"arms": arms})
    titles = {
        LOGGED: "what is served against the engine of today",
        MEMORY: "what is served against what was clicked for the query before",
    }
    for baseline, title in titles.items():
        name = baseline if baseline not in questions else f"served-{baseline}"
        metric = f"recall@{spec.evaluation.main_k}"
        questions[name] = Comparison(title=title, baseline=baseline, arms=(served.label,), metric=metric)
    return questions


def evaluate_on_validation(
    spec: Experiment,
    source: Source,
    searches: EvalSets,
    lists: SettledLists,
    towers: dict[ArmRun, TrainedTowers],
) -> RunResults | None:
    """The levels of all lists on the validation; None where nothing needs one."""
    if searches.validation is None:
        return None
    lists_to_evaluate = evaluated_lists(spec, source, lists, towers)
    return evaluate_validation(result(searches.validation), lists_to_evaluate, spec.evaluation)


def evaluated_lists(
    spec: Experiment, source: Source, settled: SettledLists, towers: dict[ArmRun, TrainedTowers]
) -> list[EvaluatedList]:
    """The lists of one part to evaluate: those of baselines, of arms through their indexes, and those made of arms."""
    sets = action_sets(weights_of(spec.logs))
    made_by_engine = {name: engine_reasons(name, rows, sets) for name, rows in settled.baselines.items()}
    lists = [
        EvaluatedList(arm=name, seed=None, index=NO_INDEX, rows=rows, undecidable=made_by_engine[name])
        for name, rows in settled.baselines.items()
    ]
    leaks = {arm: leak_of(spec, source.log, arm) for arm in {arm_of_row(name)[0] for (name, _), _ in settled.indexed}}
    for ((name, seed), index), rows in settled.indexed.items():
        arm = arm_of_row(name)[0]
        runs = _runs_of(spec, (arm,), seed)
        facts = {"undecidable": _undecidable(towers, runs, leaks[arm]), "trainings": tuple(map(label_of, runs))}
        lists.append(EvaluatedList(arm=name, seed=seed, index=index, rows=rows, leak=leaks[arm], **facts))
    for (name, list_seed), rows in settled.combined.items():
        runs = _runs_of(spec, spec.combined_lists[name].vector_sources, list_seed)
        leak = leak_of(spec, source.log, name)
        undecidable = _undecidable(towers, runs, leak)
        for fused in spec.retrievals[name].lists if name in spec.retrievals else ():
            undecidable |= made_by_engine[fused]
        index = spec.index_of_list(name)
        if list_seed is not None and name in {**spec.rankers, **spec.filters}:
            runs.append((name, list_seed))  # what reorders or shortens the list is trained, too
        trainings = tuple(sorted(map(label_of, set(runs))))
        facts = {"undecidable": undecidable, "trainings": trainings}
        lists.append(EvaluatedList(arm=name, seed=list_seed, index=index, rows=rows, leak=leak, **facts))
    return lists


def _runs_of(spec: Experiment, names: Iterable[str], seed: int | None) -> list[ArmRun]:
    """The trainings of these arms and of the parts of these ensembles; empty without a seed."""
    if seed is None:
        return []
    return [
        part
        for name in names
        for part in (spec.ensembles[name].runs(seed, spec.seeds) if name in spec.ensembles else [(name, seed)])
    ]


def _undecidable(towers: dict[ArmRun, TrainedTowers], runs: list[ArmRun], leak: str | None) -> dict[str, str]:
    """The reason why nothing is decided about a list of these trainings: they have seen answers of the test, or one
    ended by the cap. Empty without one."""
    if is_leak(leak):
        return {EVERY_SET: f"it {leak}"}
    for run in runs:
        if run in towers and (remark := training_remark(towers[run])):
            return {EVERY_SET: f"{label_of(run)}: {remark}"}
    return {}


def refit_lists(spec: Experiment, refit: Refit | None) -> list[EvaluatedList]:
    """The lists of what was trained on the validation, too; empty without a refit."""
    if refit is None:
        return []
    leak = leak_of(spec, refit.log, refit.run[0])
    return [
        *(
            EvaluatedList(arm=name + REFIT, seed=None, index=NO_INDEX, rows=rows)
            for name, rows in refit.baselines.items()
        ),
        *(
            EvaluatedList(arm=name, seed=refit.run[1], index=index, rows=rows, leak=leak)
            for (name, index), rows in refit.lists.items()
        ),
    ]


def audit_run(spec: Experiment, source: Source, searches: EvalSets, run: SettledRun) -> RunAudit:
    """The findings of the checks for leaks and for sampled evaluations."""
    ranked = [RankedArm(arm=arm, seed=seed, ranks=ranks) for (arm, seed), ranks in run.target_ranks.items()]
    refit_log, refit_features = (run.refit.log, run.refit.features) if run.refit else (None, None)
    return audit(source.log, result(searches.test), run.features, ranked, spec.evaluation, refit_log, refit_features)
