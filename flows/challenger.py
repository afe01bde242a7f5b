"""The steps of a night: read its data, train the challenger, measure it and the champions on the newest day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from data.experiment.experiment_spec import Experiment
from data.experiment.log_config import Split
from ebr_core.errors import InputError
from ebr_core.measure.promotion import ChampionComparison
from ebr_core.search.index_specs import EXACT, Exact
from ebr_core.training.arm_config import Arm
from flows.arms import ArmRun, restrict_to_arm, train_run
from flows.hybrids import ModelLists, choose_served, fuse_runs
from flows.sources import EvalSets, Source, featurize, tune_terms
from flows.submit import result, submit
from flows.vectors import served_index
from tasks.bundle_stages import bundle, tabulate
from tasks.feature_stages import extract_columns, featurise_as, needs_columns, read_fitted
from tasks.fusion_stages import fusion_depth, rank_terms
from tasks.hybrid_stages import calibrate_radius
from tasks.kinds import (
    ChosenFusion,
    DayRecall,
    EvalSet,
    ExtraColumns,
    FeatureSet,
    ModelBundle,
    Partition,
    ServedMode,
    SimulatedLog,
    TrainedTowers,
    TunedBm25,
    Vectors,
)
from tasks.log_stages import contents_of, extract, files_of, sample
from tasks.nights.day_checks import align_graph, compare_on_day, graphs_of, measure, warm_start
from tasks.nights.night_records import Champion
from tasks.retrieval_stages import build_index, embed_texts, retrieve


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


def read_day(plan: NightPlan, refused: tuple[date, ...]) -> tuple[Source, EvalSets]:
    """The log up to the end of the newest day, without the refused days, and its sampled searches.

    The newest day is the test; the validation days before it choose the epoch. Raises InputError if there are too few
    days.
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
    test, validation = (
        result(submit(sample, (), log, part, size, judged_from, exclude=evaluation.exclude))
        for part, size in sizes.items()
    )
    return Source(log, plan.world, files), EvalSets(test, validation, None)


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
    features = submit(featurise_as, (), source.log, champion.towers, graphs, columns)
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


def bundle_challenger(plan: NightPlan, source: Source, searches: EvalSets, challenger: Challenger) -> ModelBundle:
    """The challenger as a bundle that answers queries over the documents of the newest day, with the served index, in
    the mode that won on the validation days."""
    arm, seed = plan.spec.arms[challenger.arm], plan.spec.seeds[0]
    threads, index_spec, test = arm.training.threads, plan.spec.all_indexes[served_index(plan.spec)], searches.test
    assert searches.validation is not None, "a night has validation days"
    validation = submit(embed_texts, (), challenger.features, challenger.towers, searches.validation, threads)
    index = submit(build_index, (), challenger.vectors, test, index_spec, threads, validation)
    radius = submit(calibrate_radius, (), validation, searches.validation, threads)
    bm25 = tune_terms(plan.spec, source, searches)
    tables = submit(tabulate, (), source.log, test, bm25)
    towers, vectors = [challenger.towers], challenger.vectors
    fusion, mode = _choose_mode(plan, source, searches.validation, bm25, (challenger.arm, seed), validation, threads)
    columns, facts = _columns_of(source, arm), (challenger.arm, seed, plan.spec.evaluation.ks)
    return result(submit(bundle, (), tables, test, towers, vectors, index, radius, None, columns, fusion, mode, *facts))


def _choose_mode(
    plan: NightPlan,
    source: Source,
    validation: EvalSet,
    bm25: TunedBm25,
    run: ArmRun,
    vectors: Vectors,
    threads: int,
) -> tuple[ChosenFusion, ServedMode]:
    """(the weights of terms and embedding, the mode) that win on the validation days."""
    spec, k = plan.spec, max(plan.spec.evaluation.ks)
    index = submit(build_index, (*run, EXACT), vectors, validation, Exact(), threads)
    terms = submit(rank_terms, ("validation",), source.log, validation, bm25, fusion_depth(spec.evaluation.ks))
    own = submit(retrieve, (*run, "validation"), vectors, index, validation, k, threads)
    modes = fuse_runs(spec, {run: ModelLists(vectors, index, own)}, validation, terms, {run: threads})[run]
    return modes.weights, choose_served(spec, run, validation, own, modes)


def _columns_of(source: Source, arm: Arm) -> list[ExtraColumns]:
    """The columns of searches that the arm reads and no layout knows, if it reads any."""
    if not needs_columns(arm.features):
        return []
    return [submit(extract_columns, (), source.files, source.log, contents_of(source.files), arm.features)]
