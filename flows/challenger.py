"""The steps of a night: read its data, train the challenger, measure it and the champions on the newest day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from data.experiment.experiment_spec import Experiment
from data.experiment.log_config import Split
from ebr_core.errors import InputError
from ebr_core.measure.promotion import ChampionComparison
from ebr_core.training.arm_config import Arm
from flows.arms import restrict_to_arm, train_run
from flows.group_vectors import text_vectors
from flows.sources import EvalSets, Source, featurize, with_own_data
from flows.submit import result, submit
from tasks.feature_stages import extract_columns, featurise_as, needs_columns, read_fitted
from tasks.kinds import (
    DayRecall,
    EvalSet,
    FeatureSet,
    Partition,
    SimulatedLog,
    TrainedTowers,
    Vectors,
)
from tasks.log_stages import contents_of, extract, files_of, sample
from tasks.nights.day_checks import align_graph, compare_on_day, graphs_of, measure, warm_start
from tasks.nights.night_records import Champion
from tasks.retrieval_stages import embed_texts


class NightPlan(NamedTuple):
    """The inputs of a night."""

    name: str  # of the experiment
    spec: Experiment
    world: SimulatedLog | None  # the simulated world that wrote the log
    day: date
    days: list[date]  # of the logs, in order
    parts: dict[str, list[Partition]]  # growing table → the partitions of its files
    accept: bool  # accept the day even if its checks fail


class Challenger(NamedTuple):
    """The trained towers and their inputs."""

    arm: str
    features: FeatureSet
    towers: TrainedTowers
    vectors: Vectors  # of every document and the newest day's searches


def read_day(plan: NightPlan, refused: tuple[date, ...], arm: str) -> tuple[Source, EvalSets]:
    """The log up to the end of the newest day, without the refused days, and its sampled searches.

    The newest day is the test; the validation days before it choose the epoch: their earlier half, if a ranker of the
    arm learns from the later one. Raises InputError if there are too few days.
    """
    earlier_days = [day for day in plan.days if day < plan.day and day not in refused]
    validation_days = plan.spec.nightly.validation_days
    if len(earlier_days) <= validation_days:
        raise InputError(
            f"day {plan.day}: {len(earlier_days)} usable days come before it; a night needs {validation_days} of "
            "them to choose the epoch (nightly.validation_days) and at least one more to train on"
        )
    day_start = datetime.combine(plan.day, time())
    split = Split(
        validation_from=datetime.combine(earlier_days[-validation_days], time()),
        test_from=day_start,
        until=day_start + timedelta(days=1),
        without=tuple(day for day in refused if day < plan.day),
    )
    files, evaluation, judged_from = (
        files_of(plan.spec.logs, plan.world),
        plan.spec.evaluation,
        plan.spec.logs.judged_from,
    )
    log = result(submit(extract, (), files, split, contents_of(files, plan.parts), plan.parts))
    sizes = {"test": evaluation.searches, "validation": evaluation.validation_searches}
    halved = any(ranker.of == arm for ranker in plan.spec.rankers.values())
    if halved:
        sizes["ranking"] = sizes["test"]
    exclude = evaluation.exclude
    searches = {
        part: result(
            submit(sample, (part,), log, part, size, judged_from, halved=halved and part != "test", exclude=exclude)
        )
        for part, size in sizes.items()
    }
    source = with_own_data(plan.spec, Source(log, plan.world, files))
    return source, EvalSets(searches["test"], searches["validation"], searches.get("ranking"))


def train_challenger(
    plan: NightPlan, source: Source, searches: EvalSets, name: str, champion: Champion | None
) -> Challenger:
    """The arm, trained on the days before the newest: from the champion's weights, or from scratch without a champion.

    The arms that it mines or starts from are trained as in the experiment.
    """
    spec, run = restrict_to_arm(plan.spec, name), (name, plan.spec.seeds[0])
    arm, features = spec.arms[name], featurize(spec, source)
    warm_starts = {}
    if champion is not None:
        warm_starts[run] = submit(warm_start, run, features[arm.features], champion.towers, arm, run[1])
    towers = train_run(spec, source, features, searches.validation, run, warm_starts).towers[run]
    vectors = submit(embed_texts, run, features[arm.features], towers, searches.test, arm.training.threads)
    return Challenger(name, result(features[arm.features]), result(towers), result(vectors))


def measure_champion(plan: NightPlan, source: Source, test: EvalSet, champion: Champion) -> DayRecall:
    """A champion's recall on the newest day: its towers and fitted features over the documents of that day."""
    graphs = {
        name: submit(align_graph, (), source.log, champion.log, graph)
        for name, graph in graphs_of(champion.features).items()
    }
    columns, reads = None, read_fitted(champion.features).features
    if needs_columns(reads):
        columns = submit(extract_columns, (), source.files, source.log, contents_of(source.files), reads)
    threads = plan.spec.arms.get(champion.arm, Arm()).training.threads
    of_texts = text_vectors(source.log, source.files, [reads])[reads]
    features = submit(featurise_as, (), source.log, champion.towers, graphs, columns, of_texts)
    vectors = submit(embed_texts, (), features, champion.towers, test, threads)
    return result(submit(measure, (), vectors, test, plan.spec.evaluation.main_k, threads))


def measure_challenger(plan: NightPlan, test: EvalSet, challenger: Challenger) -> DayRecall:
    """The challenger's recall on the newest day."""
    threads = plan.spec.arms[challenger.arm].training.threads
    return result(submit(measure, (), challenger.vectors, test, plan.spec.evaluation.main_k, threads))


def compare_with_champions(
    plan: NightPlan,
    source: Source,
    test: EvalSet,
    challenger: DayRecall,
    champion: DayRecall | None,
    champions: Sequence[Champion],
) -> tuple[ChampionComparison, ...]:
    """The comparison of the challenger with the champion and, where a tie with it would decide, with earlier champions.

    challenger and champion: their recalls on the newest day. Empty without a champion.
    """
    if champion is None:
        return ()
    settings, resamples = plan.spec.nightly, plan.spec.evaluation.resamples
    comparison = compare_on_day(test, challenger, champion, champions[-1].day, resamples)
    if comparison.bound is None or comparison.bound > 0 or comparison.bound <= -settings.tolerance:
        return (comparison,)
    earlier_champions = champions[-settings.remember : -1]
    earlier_comparisons = [
        compare_on_day(
            test, challenger, measure_champion(plan, source, test, earlier_champion), earlier_champion.day, resamples
        )
        for earlier_champion in earlier_champions
    ]
    return (comparison, *earlier_comparisons)
