"""The parts of a night: its data, its challenger, and both against the newest day."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from data.experiment import Experiment
from data.logs import Split
from ebr_core.config import Arm, InputError
from ebr_core.promotion import Compared
from flows.bundles import served
from flows.ebr import read_features
from flows.feedback import Source, feeding
from tasks.artifacts import Artifact
from tasks.bundle import bundle, tabulate
from tasks.features import extract_columns, featurise_as, needs_columns, read_fitted
from tasks.hybrid import calibrate_radius
from tasks.judging import align_graph, carry, compare_on_day, graphs_of, measure
from tasks.logs import contents_of, extract, files_of, sample
from tasks.nights import Champion
from tasks.retrieval import build_index, embed_texts
from tasks.tracking.run_metrics import main_k
from tasks.training import mine_negatives, train_arm


class Asked(NamedTuple):
    """What a night is asked to do."""

    name: str  # the experiment's
    experiment: Experiment
    world: Artifact | None  # where the log is simulated
    day: date
    days: list[date]  # of the logs, in order
    parts: dict[str, list[Artifact]]  # table that grows by the day → its files, as read
    accept: bool  # the day although its checks fail


class Data(NamedTuple):
    """What a night reads: the log up to the newest day, that day's searches, and those that choose the epoch."""

    log: Artifact
    test: Artifact
    validation: Artifact


class Challenger(NamedTuple):
    """What was trained, and what it reads."""

    arm: str
    features: Artifact
    towers: Artifact
    vectors: Artifact  # of every document and the newest day's searches


def read_data(asked: Asked, without: tuple[date, ...]) -> Data:
    """The log as it stood at the end of the newest day, without the days that were refused.

    The newest day is the test, the days before it that choose the epoch are the validation. Errors: too few days.
    """
    before = [one for one in asked.days if one < asked.day and one not in without]
    held_out = asked.experiment.nightly.validation_days
    if len(before) <= held_out:
        raise InputError(
            f"day {asked.day}: {len(before)} usable days lie before it; a night needs {held_out} that choose the epoch "
            "(nightly.validation_days), and at least one to train on"
        )
    newest = datetime.combine(asked.day, time())
    split = Split(
        validation_from=datetime.combine(before[-held_out], time()),
        test_from=newest,
        until=newest + timedelta(days=1),
        without=tuple(one for one in without if one < asked.day),
    )
    files, its = files_of(asked.experiment.logs, asked.world), asked.experiment.evaluation
    log = extract(files, split, contents_of(files, asked.parts), asked.parts)
    test = sample(log, "test", its.searches, asked.experiment.logs.judged_from)
    validation = sample(log, "validation", its.validation_searches, asked.experiment.logs.judged_from)
    return Data(log, test, validation)


def train_challenger(asked: Asked, data: Data, name: str, champion: Champion | None) -> Challenger:
    """Trains the arm on the days before the newest: from the champion's weights, or from nothing where none is given.

    Arms that it mines or starts from are trained as the experiment says.
    """
    every, seed = asked.experiment.arms, asked.experiment.seeds[0]
    needed = {one: every[one] for one in asked.experiment.needed([name])}
    narrowed = asked.experiment.model_copy(update={"arms": needed})
    features = {reads: made.result() for reads, made in read_features(narrowed, data.log, asked.world).items()}

    def train(one: str, warm: Champion | None = None) -> Artifact:
        arm = every[one]
        its = features[arm.reads]
        ratings = [rated(other, seed) for other in arm.ratings.of] if arm.ratings else None
        mined = None
        if arm.mine_from:
            source, threads = every[arm.mine_from], arm.training.threads
            found = features[source.reads], train(arm.mine_from), source
            mined = mine_negatives(
                data.log, *found, arm.positives, arm.mask, arm.mining, seed, threads, arm.ratings, ratings
            )
        start = carry(its, warm.towers, arm, seed) if warm else train(arm.start_from) if arm.start_from else None
        return train_arm(data.log, its, data.validation, arm, seed, start, mined, None, ratings)

    def source(one: str, _seed: int) -> Source:
        return Source(features[every[one].reads], train(one), every[one])

    rated = feeding(asked.experiment, data.log, asked.world, source, lambda task, *_: task).rated
    arm = every[name]
    towers = train(name, champion)
    vectors = embed_texts(features[arm.reads], towers, data.test, arm.training.threads)
    return Challenger(name, features[arm.reads], towers, vectors)


def measure_champion(asked: Asked, data: Data, champion: Champion) -> Artifact:
    """A champion's recall on the newest day: its towers, with what they decided, over the documents of that day."""
    graphs = {name: align_graph(data.log, champion.log, graph) for name, graph in graphs_of(champion.features).items()}
    columns, reads = None, read_fitted(champion.features).features
    if needs_columns(reads):
        files = files_of(asked.experiment.logs, asked.world)
        columns = extract_columns(files, data.log, contents_of(files), reads)
    threads = asked.experiment.arms.get(champion.arm, Arm()).training.threads
    features = featurise_as(data.log, champion.towers, graphs, columns)
    vectors = embed_texts(features, champion.towers, data.test, threads)
    return measure(vectors, data.test, main_k(asked.experiment), threads)


def compare_with_champions(
    asked: Asked, data: Data, ours: Artifact, measured: Artifact | None, champions: list[Champion]
) -> tuple[Compared, ...]:
    """The challenger against the champion, and, where equality with it is what decides, against those before it."""
    if measured is None:
        return ()
    settings, resamples = asked.experiment.nightly, asked.experiment.evaluation.resamples
    first = compare_on_day(data.test, ours, measured, champions[-1].day, resamples)
    if first.bound is None or first.bound > 0 or first.bound <= -settings.tolerance:
        return (first,)
    before = champions[-settings.remember : -1]
    others = [compare_on_day(data.test, ours, measure_champion(asked, data, one), one.day, resamples) for one in before]
    return (first, *others)


def bundle_challenger(asked: Asked, data: Data, made: Challenger) -> Artifact:
    """The challenger as a model that can be asked, over the documents of the newest day, through the index of the
    experiment."""
    arm, seed = asked.experiment.arms[made.arm], asked.experiment.seeds[0]
    threads, spec = arm.training.threads, asked.experiment.all_indexes[served(asked.experiment)]
    validation = embed_texts(made.features, made.towers, data.validation, threads)
    index = build_index(made.vectors, data.test, spec, threads, validation)
    radius = calibrate_radius(validation, data.validation, threads)
    tables = tabulate(data.log, data.test)
    parts = [made.towers], made.vectors, index, radius, None
    return bundle(tables, data.test, *parts, made.arm, seed)
