"""From an experiment to what all of its arms are made of: the log, the sampled searches, the features."""

from __future__ import annotations

from typing import NamedTuple

from data.experiment.experiment_spec import Experiment
from data.experiment.log_config import Simulated
from ebr_core.towers.feature_config import Features
from flows.submit import result, submit
from tasks.feature_stages import extract_columns, featurise, needs_columns
from tasks.graph_stage import embed_graph
from tasks.kinds import EvalSet, FeatureSet, Log, SimulatedLog
from tasks.log_stages import ReadLogs, contents_of, extract, files_of, sample, simulate_log
from tasks.ranker_stages import refuse_deep
from tasks.retrieval_stages import refuse_impossible

FeatureSets = dict[Features, FeatureSet]


class Source(NamedTuple):
    """A log as the stages read it."""

    log: Log  # the extracted tables
    world: SimulatedLog | None  # the simulated world that wrote it
    files: ReadLogs  # where its raw tables lie


class EvalSets(NamedTuple):
    """The sampled searches of each part of the split, with the documents alive in its time."""

    test: EvalSet
    validation: EvalSet | None  # its earlier half where there are rankers
    ranking: EvalSet | None  # the later half, from which rankers learn


def world_log(spec: Experiment) -> SimulatedLog | None:
    """The world whose log the experiment reads, None where it reads the user's files."""
    return result(submit(simulate_log, (), spec.logs.world)) if isinstance(spec.logs, Simulated) else None


def extract_log(spec: Experiment) -> Source:
    """The log of the experiment, extracted before anything else begins: what the files do not allow is refused here."""
    world = world_log(spec)
    files = files_of(spec.logs, world)
    return Source(result(submit(extract, (), files, spec.split, contents_of(files))), world, files)


def sample_searches(spec: Experiment, source: Source) -> EvalSets:
    """The searches of the test, the validation and, for rankers, of the validation's later half.

    The validation is cut in halves here and nowhere else: whoever trains an arm measures it on the same searches.
    """
    judged_from, halved = spec.logs.judged_from, bool(spec.rankers)
    measured, tried = spec.evaluation.searches, spec.evaluation.validation_searches
    test = submit(sample, (), source.log, "test", measured, judged_from, source.world)
    validation = submit(sample, (), source.log, "validation", tried, judged_from, halved=halved) if spec.arms else None
    ranking = submit(sample, (), source.log, "ranking", measured, judged_from, halved=True) if halved else None
    return EvalSets(test, validation, ranking)


def refuse_small(spec: Experiment, searches: EvalSets) -> None:
    """Raise, before any training, if the corpus is too small for the K, an index or a ranker's depth."""
    test = result(searches.test)
    refuse_impossible(test, spec.indexes.values(), spec.dimensions, max(spec.evaluation.ks))
    refuse_deep(test, spec.rankers)


def featurize(spec: Experiment, source: Source) -> FeatureSets:
    """What the arms read, made once for all arms that read the same. A graph or a column that is not there fails only
    the arms that read it."""
    reads = list(dict.fromkeys(arm.features for arm in spec.arms.values()))
    graphs = {
        graph: submit(embed_graph, (), source.log, graph)
        for graph in dict.fromkeys(graph for features in reads for graph in features.graphs.values())
    }
    contents = contents_of(source.files) if any(map(needs_columns, reads)) else {}
    columns = {
        features: submit(extract_columns, (), source.files, source.log, contents, features)
        for features in reads
        if needs_columns(features)
    }
    return {
        features: submit(
            featurise,
            (),
            source.log,
            features,
            {name: graphs[graph] for name, graph in features.graphs.items()},
            columns.get(features),
        )
        for features in reads
    }
