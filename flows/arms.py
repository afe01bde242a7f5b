"""Train arms: the same wiring for every flow and command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, assert_never

from data.experiment.experiment_spec import Experiment, trained_arm
from ebr_core.encoders.static_config import StaticStart
from ebr_core.errors import InputError
from ebr_core.towers.tower_config import NgramTowerConfig, TransformerTowerConfig
from flows.group_vectors import teacher_vectors
from flows.sources import EvalSets, FeatureSets, Source, extract_log, featurize, sample_searches
from flows.submit import settle, submit
from tasks.feedback_stages import list_unrated, rate, take_imported
from tasks.imported_ratings import imported_files
from tasks.kinds import EvalSet, MinedNegatives, RatedResults, StartTable, TextVectors, TrainedTowers, UnratedResults
from tasks.static_stage import start_table
from tasks.training_stages import best_recall, mine_negatives, train_arm

ArmRun = tuple[str, int]  # an arm and a seed


class TrainedArms(NamedTuple):
    """The artifacts of training, by arm and seed, in the order in which their stages were submitted."""

    towers: dict[ArmRun, TrainedTowers]
    mined_negatives: dict[ArmRun, MinedNegatives]  # offline hard negatives of the arm
    unrated_results: dict[ArmRun, UnratedResults]  # results that the arm retrieves and nobody has judged
    ratings: dict[ArmRun, RatedResults]  # of the results that the arm retrieves
    teachers: dict[str, TextVectors | None]  # of each arm: the vectors of the encoder whose scores are a soft target


class TrainingPlan(NamedTuple):
    """The inputs of a training, and the stages submitted so far."""

    spec: Experiment
    source: Source
    features: FeatureSets
    validation: EvalSet | None
    warm_starts: Mapping[ArmRun, TrainedTowers]  # towers to start from, in place of the arm's own start
    arms: TrainedArms
    first_towers: Mapping[ArmRun, TrainedTowers] | None = None  # of a refit: those whose trials and epochs it uses


def train_arms(
    spec: Experiment,
    source: Source,
    features: FeatureSets,
    validation: EvalSet | None,
) -> TrainedArms:
    """The towers of every arm and seed that the experiment needs.

    Every arm is trained with the first seed. With the other seeds every arm is trained or, under screening, only each
    question's baseline and its best arm on validation. The parts of ensembles follow. An arm that mines from another,
    starts from it or takes its ratings needs the towers of that arm with the same seed.
    """
    plan = TrainingPlan(spec, source, features, validation, {}, TrainedArms({}, {}, {}, {}, {}))
    for arm in spec.arms:
        _train(plan, (arm, spec.seeds[0]))
    for seed in spec.seeds[1:]:
        for arm in screen(spec, plan.arms.towers) if spec.screening else spec.arms:
            _train(plan, (arm, seed))
    for run in ensemble_parts(spec):
        _train(plan, run)
    for run in _runs_rated_for_filters(plan):
        _rate(plan, run)
    return plan.arms


def train_run(
    spec: Experiment,
    source: Source,
    features: FeatureSets,
    validation: EvalSet | None,
    run: ArmRun,
    warm_starts: Mapping[ArmRun, TrainedTowers] | None = None,
) -> TrainedArms:
    """The towers of one arm and seed, and of the arms that it needs, by the same wiring.

    warm_starts: the towers from which an arm and seed start, in place of those that the experiment names.
    """
    plan = TrainingPlan(spec, source, features, validation, warm_starts or {}, TrainedArms({}, {}, {}, {}, {}))
    _train(plan, run)
    return plan.arms


def refit_runs(
    spec: Experiment,
    log_and_validation: Source,
    features: FeatureSets,
    runs: Iterable[ArmRun],
    first_towers: Mapping[ArmRun, TrainedTowers],
    warm_starts: Mapping[ArmRun, TrainedTowers] | None = None,
) -> TrainedArms:
    """The towers of these arms and seeds, and of the arms that they need, trained on training and validation together.

    log_and_validation: the log in which the validation is a part of the training; the features are fitted on it.
    first_towers: those of the same arms and seeds from which each refit takes its trial and its number of epochs.
    """
    arms = TrainedArms({}, {}, {}, {}, {})
    plan = TrainingPlan(spec, log_and_validation, features, None, warm_starts or {}, arms, first_towers)
    for run in runs:
        _train(plan, run)
    return arms


def unrated_results(
    spec: Experiment, source: Source, features: FeatureSets, validation: EvalSet | None, arm: str
) -> UnratedResults:
    """The results that the arm retrieves with the first seed and nobody has judged yet, for people to rate."""
    plan = TrainingPlan(spec, source, features, validation, {}, TrainedArms({}, {}, {}, {}, {}))
    return _list_unrated(plan, (arm, spec.seeds[0]))


class OneArm(NamedTuple):
    """What the training of one arm reads, alone with the arms that it needs, as in a run of the experiment."""

    spec: Experiment
    source: Source
    searches: EvalSets
    features: FeatureSets
    run: ArmRun  # the arm with the first seed


def prepare_arm(experiment: Experiment, arm: str) -> OneArm:
    """The inputs of the training of one arm. Raises InputError if there is no such arm."""
    spec = restrict_to_arm(experiment, arm)
    source = extract_log(spec)
    return OneArm(spec, source, sample_searches(spec, source), featurize(spec, source), (arm, spec.seeds[0]))


def restrict_to_arm(spec: Experiment, arm: str) -> Experiment:
    """The experiment with that arm, the arms that it needs and the first seed only. Raises InputError if there is no
    such arm.

    Rankers stay: they decide which part of the validation an arm is measured on.
    """
    if arm not in spec.arms:
        raise InputError(f"no arm {arm!r}; there are {', '.join(spec.arms)}")
    arms = {name: spec.arms[name] for name in spec.with_sources([arm])}
    rest = {"ensembles": {}, "filters": {}, "questions": {}, "screening": False}
    return spec.model_copy(update={"arms": arms, "seeds": spec.seeds[:1]} | rest)


def screen(spec: Experiment, towers: Mapping[ArmRun, TrainedTowers]) -> list[str]:
    """Each question's baseline and its best arm by validation recall with the first seed, in the order of the arms.

    Waits for the first seed: screening reads its validation before the other seeds begin.
    """
    artifacts, _ = settle({arm: towers[arm, spec.seeds[0]] for arm in spec.arms})
    recalls = {arm: best_recall(artifact) for arm, artifact in artifacts.items()}
    selection: set[str] = set()
    for question in spec.questions.values():
        candidates = [arm for label in question.arms if (arm := trained_arm(label)) in recalls]
        selection |= {trained_arm(question.baseline)} & set(recalls)
        selection |= {max(candidates, key=lambda arm: recalls[arm])} if candidates else set()
    return [arm for arm in spec.arms if arm in selection]


def ensemble_parts(spec: Experiment) -> list[ArmRun]:
    """The arms and seeds that the ensembles combine, without repeats."""
    runs = [
        run for seed in spec.seeds for ensemble in spec.ensembles.values() for run in ensemble.runs(seed, spec.seeds)
    ]
    return list(dict.fromkeys(runs))


def _train(plan: TrainingPlan, run: ArmRun) -> TrainedTowers:
    """The towers of an arm and seed; the stages that they need are submitted first."""
    if run not in plan.arms.towers:
        (name, seed), spec = run, plan.spec
        arm, first_run = spec.arms[name], (name, spec.seeds[0])
        ratings = [_rate(plan, (rated_arm, seed)) for rated_arm in arm.ratings.of] if arm.ratings else None
        negatives = _mine(plan, run, ratings) if arm.mine_from else None
        start = plan.warm_starts.get(run) or (_train(plan, (arm.start_from, seed)) if arm.start_from else None)
        refit_of = plan.first_towers[run] if plan.first_towers else None
        screened = refit_of is None and run != first_run and len(arm.trial_arms) > 1
        assert refit_of or plan.validation is not None, "an experiment with arms has validation searches"
        plan.arms.towers[run] = submit(
            train_arm,
            run,
            plan.source.log,
            plan.features[arm.features],
            plan.validation,
            arm,
            seed,
            start,
            negatives,
            _train(plan, first_run) if screened else None,
            ratings,
            refit_of,
            plan.spec.evaluation.main_k,
            _start_table(plan, run) if start is None else None,
            _teacher(plan, name),
        )
    return plan.arms.towers[run]


def _teacher(plan: TrainingPlan, name: str) -> TextVectors | None:
    """The vectors of the encoder whose scores are a soft target of an arm; None if it has none."""
    if name not in plan.arms.teachers:
        plan.arms.teachers[name] = teacher_vectors(plan.source.log, plan.spec.arms[name])
    return plan.arms.teachers[name]


def _start_table(plan: TrainingPlan, run: ArmRun) -> StartTable | None:
    """The vectors at which the n-grams of an arm and seed start; None for random ones."""
    (name, seed), arm = run, plan.spec.arms[run[0]]
    match arm.towers:
        case NgramTowerConfig(static=StaticStart() as static):
            inputs = static, arm.towers.dimensions, seed, arm.training.threads
            return submit(start_table, (name,), plan.source.log, plan.features[arm.features], *inputs)
        case NgramTowerConfig() | TransformerTowerConfig():
            return None
        case _:
            assert_never(arm.towers)


def _mine(plan: TrainingPlan, run: ArmRun, ratings: list[RatedResults] | None) -> MinedNegatives:
    """Offline hard negatives for an arm and seed, from the results of the arm that mine_from names."""
    if run not in plan.arms.mined_negatives:
        name, seed = run
        arm = plan.spec.arms[name]
        assert arm.mine_from is not None, "only arms with mine_from are mined for"
        miner = plan.spec.arms[arm.mine_from]
        plan.arms.mined_negatives[run] = submit(
            mine_negatives,
            (arm.mine_from, seed),
            plan.source.log,
            plan.features[miner.features],
            _train(plan, (arm.mine_from, seed)),
            miner,
            arm.positives,
            arm.mask,
            arm.mining,
            seed,
            arm.training.threads,
            arm.ratings,
            ratings,
        )
    return plan.arms.mined_negatives[run]


def _rate(plan: TrainingPlan, run: ArmRun) -> RatedResults:
    """Ratings of the results of an arm and seed: from a simulated world's truth, or else imported from people."""
    if run not in plan.arms.ratings:
        feedback, world = plan.spec.feedback, plan.source.world
        if plan.spec.people_rate:
            assert feedback.imported is not None, "load_experiment sets it"
            files = imported_files(feedback.imported, run[0])
            ratings = submit(take_imported, run[:1], plan.source.log, run[0], files, feedback.good_from)
        else:
            assert world is not None, "only a simulated world has a truth"
            assert feedback.rater is not None, "without a rater people rate"
            results = _list_unrated(plan, run)
            ratings = submit(rate, run, plan.source.log, world, results, feedback.rater, feedback.good_from)
        plan.arms.ratings[run] = ratings
    return plan.arms.ratings[run]


def _list_unrated(plan: TrainingPlan, run: ArmRun) -> UnratedResults:
    """The results of an arm and seed that neither the log nor the ratings that the arm was trained on judge."""
    if run not in plan.arms.unrated_results:
        arm = plan.spec.arms[run[0]]
        earlier_ratings = [_rate(plan, (rated_arm, run[1])) for rated_arm in arm.ratings.of] if arm.ratings else []
        features, towers = plan.features[arm.features], _train(plan, run)
        plan.arms.unrated_results[run] = submit(
            list_unrated, run, plan.source.log, features, towers, arm, earlier_ratings, plan.spec.feedback
        )
    return plan.arms.unrated_results[run]


def _runs_rated_for_filters(plan: TrainingPlan) -> Iterator[ArmRun]:
    """The arms and seeds whose ratings train filters, for each seed that the filtered arm has."""
    for settings in plan.spec.filters.values():
        for seed in plan.spec.seeds:
            if (settings.arm, seed) in plan.arms.towers:
                yield from ((arm, seed) for arm in settings.of)
