"""The training of arms: the one wiring of it, for every flow and command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from data.experiment.experiment_spec import Experiment, arm_of
from ebr_core.errors import InputError
from flows.sources import FeatureSets, Source
from flows.submit import settle, submit
from tasks.feedback_stages import imported_of, list_unrated, rate, take_imported
from tasks.kinds import EvalSet, MinedNegatives, RatedResults, TrainedTowers, UnratedResults
from tasks.training_stages import best_recall, mine_negatives, train_arm

ArmRun = tuple[str, int]  # an arm and a seed


class TrainedArms(NamedTuple):
    """What training made, by arm and seed, in the order in which it began."""

    towers: dict[ArmRun, TrainedTowers]
    mined: dict[ArmRun, MinedNegatives]  # offline hard negatives of the arm
    unrated: dict[ArmRun, UnratedResults]  # what the arm retrieves and nobody has judged
    ratings: dict[ArmRun, RatedResults]  # of what the arm retrieves


class TrainingPlan(NamedTuple):
    """What a training reads, and what was begun so far."""

    spec: Experiment
    source: Source
    features: FeatureSets
    validation: EvalSet | None
    warm: Mapping[ArmRun, TrainedTowers]  # towers to start from in place of the arm's own start
    trained: TrainedArms


def train_arms(
    spec: Experiment,
    source: Source,
    features: FeatureSets,
    validation: EvalSet | None,
) -> TrainedArms:
    """The towers of every arm with the first seed; with the others of every arm, too, or, under screening, of each
    question's baseline and its best arm on validation; and the parts of ensembles.

    An arm that mines, starts or takes ratings from another needs that one's towers, with the same seed.
    """
    plan = TrainingPlan(spec, source, features, validation, {}, TrainedArms({}, {}, {}, {}))
    for arm in spec.arms:
        _train(plan, (arm, spec.seeds[0]))
    for seed in spec.seeds[1:]:
        for arm in screen(spec, plan.trained.towers) if spec.screening else spec.arms:
            _train(plan, (arm, seed))
    for run in ensemble_parts(spec):
        _train(plan, run)
    for run in _rated_for_filters(plan):
        _rate(plan, run)
    return plan.trained


def train_run(
    spec: Experiment,
    source: Source,
    features: FeatureSets,
    validation: EvalSet | None,
    run: ArmRun,
    warm: Mapping[ArmRun, TrainedTowers] | None = None,
) -> TrainedArms:
    """The towers of one arm and seed, and of those that it needs, by the same wiring.

    warm: towers from which an arm and seed start in place of those that the experiment names.
    """
    plan = TrainingPlan(spec, source, features, validation, warm or {}, TrainedArms({}, {}, {}, {}))
    _train(plan, run)
    return plan.trained


def unrated_results(
    spec: Experiment, source: Source, features: FeatureSets, validation: EvalSet | None, arm: str
) -> UnratedResults:
    """What the arm retrieves with the first seed and nobody has judged yet, for people to rate."""
    plan = TrainingPlan(spec, source, features, validation, {}, TrainedArms({}, {}, {}, {}))
    return _list_unrated(plan, (arm, spec.seeds[0]))


def restrict_to_arm(spec: Experiment, arm: str) -> Experiment:
    """The experiment with that arm and those that it needs, and the first seed, alone. Raises InputError if there is no
    such arm.

    Rankers stay: they decide which part of the validation an arm is measured on.
    """
    if arm not in spec.arms:
        raise InputError(f"--arm: no arm {arm!r}; there are {', '.join(spec.arms)}")
    arms = {name: spec.arms[name] for name in spec.needed([arm])}
    rest = {"ensembles": {}, "filters": {}, "questions": {}, "screening": False}
    return spec.model_copy(update={"arms": arms, "seeds": spec.seeds[:1]} | rest)


def screen(spec: Experiment, towers: Mapping[ArmRun, TrainedTowers]) -> list[str]:
    """Each question's baseline and its best arm by validation recall with the first seed, in the order of the arms.

    This waits for the first seed: screening has to look at validation before the other seeds begin.
    """
    trained, _ = settle({arm: towers[arm, spec.seeds[0]] for arm in spec.arms})
    recalls = {arm: best_recall(artifact) for arm, artifact in trained.items()}
    chosen: set[str] = set()
    for question in spec.questions.values():
        compared = [arm for label in question.arms if (arm := arm_of(label)) in recalls]
        chosen |= {arm_of(question.baseline)} & set(recalls)
        chosen |= {max(compared, key=lambda arm: recalls[arm])} if compared else set()
    return [arm for arm in spec.arms if arm in chosen]


def ensemble_parts(spec: Experiment) -> list[ArmRun]:
    """The arms and seeds that ensembles are made of, without repeats."""
    runs = [
        run for seed in spec.seeds for ensemble in spec.ensembles.values() for run in ensemble.runs(seed, spec.seeds)
    ]
    return list(dict.fromkeys(runs))


def _train(plan: TrainingPlan, run: ArmRun) -> TrainedTowers:
    """The towers of an arm and seed; what they need is begun first."""
    if run not in plan.trained.towers:
        (name, seed), spec = run, plan.spec
        arm, first = spec.arms[name], (name, spec.seeds[0])
        ratings = [_rate(plan, (rated, seed)) for rated in arm.ratings.of] if arm.ratings else None
        mined = _mine(plan, run, ratings) if arm.mine_from else None
        start = plan.warm.get(run) or (_train(plan, (arm.start_from, seed)) if arm.start_from else None)
        screened = _train(plan, first) if run != first and len(arm.trial_arms) > 1 else None
        assert plan.validation is not None, "an experiment with arms has validation searches"
        plan.trained.towers[run] = submit(
            train_arm,
            run,
            plan.source.log,
            plan.features[arm.features],
            plan.validation,
            arm,
            seed,
            start,
            mined,
            screened,
            ratings,
        )
    return plan.trained.towers[run]


def _mine(plan: TrainingPlan, run: ArmRun, ratings: list[RatedResults] | None) -> MinedNegatives:
    """Offline hard negatives for an arm and seed, from what the arm mine_from retrieves."""
    if run not in plan.trained.mined:
        name, seed = run
        arm = plan.spec.arms[name]
        assert arm.mine_from is not None, "the caller has looked"
        miner = plan.spec.arms[arm.mine_from]
        plan.trained.mined[run] = submit(
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
    return plan.trained.mined[run]


def _rate(plan: TrainingPlan, run: ArmRun) -> RatedResults:
    """Ratings of what an arm and seed retrieve: by a simulated world's truth, else those that people gave."""
    if run not in plan.trained.ratings:
        feedback, world = plan.spec.feedback, plan.source.world
        if plan.spec.people_rate:
            assert feedback.imported is not None, "load_experiment names it"
            files = imported_of(feedback.imported, run[0])
            ratings = submit(take_imported, run[:1], plan.source.log, run[0], files, feedback.good_from)
        else:
            assert world is not None, "only a simulated world has a truth"
            assert feedback.rater is not None, "people_rate has looked"
            unrated = _list_unrated(plan, run)
            ratings = submit(rate, run, plan.source.log, world, unrated, feedback.rater, feedback.good_from)
        plan.trained.ratings[run] = ratings
    return plan.trained.ratings[run]


def _list_unrated(plan: TrainingPlan, run: ArmRun) -> UnratedResults:
    """What an arm and seed retrieve, without what the log or the ratings that the arm learnt from judged."""
    if run not in plan.trained.unrated:
        arm = plan.spec.arms[run[0]]
        before = [_rate(plan, (rated, run[1])) for rated in arm.ratings.of] if arm.ratings else []
        features, towers = plan.features[arm.features], _train(plan, run)
        plan.trained.unrated[run] = submit(
            list_unrated, run, plan.source.log, features, towers, arm, before, plan.spec.feedback
        )
    return plan.trained.unrated[run]


def _rated_for_filters(plan: TrainingPlan) -> Iterator[ArmRun]:
    """The arms and seeds whose ratings filters learn from, for each seed that the filtered arm has."""
    for spec in plan.spec.filters.values():
        for seed in plan.spec.seeds:
            if (spec.arm, seed) in plan.trained.towers:
                yield from ((arm, seed) for arm in spec.of)
