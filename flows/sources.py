"""The inputs that all arms of an experiment share: the log, the sampled searches, the features."""

from __future__ import annotations

from typing import NamedTuple

from data.column_names import own_names
from data.experiment.experiment_spec import Experiment
from data.experiment.log_config import Simulated
from data.ranked_lists import RankedFile
from ebr_core.towers.column_config import SIDES
from ebr_core.towers.feature_config import Features
from flows.group_vectors import text_vectors
from flows.submit import result, submit
from flows.used_columns import UsedColumns, read_used_columns
from tasks.bm25_stages import tune_bm25
from tasks.feature_stages import extract_columns, featurise, needs_columns
from tasks.graph_stage import embed_graph
from tasks.kinds import EvalSet, ExtraColumns, FeatureSet, Log, RankedList, RetrievedList, SimulatedLog, TunedBm25
from tasks.log_stages import ReadLogs, contents_of, extract, files_of, sample, simulate_log
from tasks.ranked_list_stages import content_of, match_file, refuse_uncovered, retrieve_listed
from tasks.ranker_stages import refuse_deep
from tasks.retrieval_stages import refuse_impossible

FeatureSets = dict[Features, FeatureSet]
ColumnSets = dict[Features, ExtraColumns]  # of features that name columns which no layout knows


class Source(NamedTuple):
    """The log that the stages read."""

    log: Log  # the extracted tables
    world: SimulatedLog | None  # the simulated world that wrote it
    files: ReadLogs  # the files of its raw tables
    own: UsedColumns = UsedColumns()  # the user's own columns that the experiment uses


class EvalSets(NamedTuple):
    """The sampled searches of each part of the split, with the documents alive in its time."""

    test: EvalSet
    validation: EvalSet | None  # its earlier half where there are rankers
    ranking: EvalSet | None  # the later half, from which rankers learn


def world_log(spec: Experiment) -> SimulatedLog | None:
    """The simulated world whose log the experiment reads, None if it reads the user's files."""
    return result(submit(simulate_log, (), spec.logs.world)) if isinstance(spec.logs, Simulated) else None


def extract_log(spec: Experiment) -> Source:
    """The log of the experiment, extracted before anything else starts: errors in the files end the run here."""
    world = world_log(spec)
    files = files_of(spec.logs, world)
    return Source(result(submit(extract, (), files, spec.split, contents_of(files))), world, files)


def with_own_data(spec: Experiment, source: Source) -> Source:
    """The source with the user's own columns that the experiment uses: an unknown one ends the run here."""
    return source._replace(own=read_used_columns(spec, source.log, source.files))


def sample_searches(spec: Experiment, source: Source) -> EvalSets:
    """The searches of the test, of the validation and, for rankers, of the validation's later half.

    The validation is halved here and nowhere else, so all commands that train an arm measure it on the same searches.
    """
    judged_from, halved, exclude = spec.logs.judged_from, bool(spec.rankers), spec.evaluation.exclude
    test_size, validation_size = spec.evaluation.searches, spec.evaluation.validation_searches

    def part(split: str, size: int, world: SimulatedLog | None = None, halved: bool = halved) -> EvalSet:
        return submit(sample, (split,), source.log, split, size, judged_from, world, halved, exclude)

    test = part("test", test_size, source.world, halved=False)
    needed = bool(spec.arms) or not spec.evaluation.bm25.is_fixed
    validation = part("validation", validation_size) if needed else None
    ranking = part("ranking", test_size) if halved else None
    return EvalSets(test, validation, ranking)


def tune_terms(spec: Experiment, source: Source, searches: EvalSets) -> TunedBm25:
    """The settings of BM25, chosen on the validation where the file leaves them open."""
    evaluation = spec.evaluation
    return submit(tune_bm25, (), source.log, searches.validation, evaluation.bm25, evaluation.main_k)


def refuse_small(spec: Experiment, searches: EvalSets) -> None:
    """Raise InputError, before any training, if the corpus is too small for the K, an index or a ranker's depth."""
    test = result(searches.test)
    refuse_impossible(test, spec.indexes.values(), spec.dimensions, max(spec.evaluation.ks))
    refuse_deep(test, spec.rankers)


def ranked_file(spec: Experiment, name: str) -> RankedFile:
    """A file of the section `lists`, with the user's names of its columns."""
    names = {standard: own for side in SIDES for own, standard in own_names(spec.logs, side).items()}
    return RankedFile(name=name, path=spec.lists[name], names=names)


def match_lists(spec: Experiment, source: Source, searches: EvalSets) -> dict[str, RankedList]:
    """The user's own ranked lists, matched with the log before any training: errors in their files end the run here."""
    files = {name: ranked_file(spec, name) for name in spec.lists}
    ranked = {
        name: result(submit(match_file, (name,), source.log, file, content_of(file))) for name, file in files.items()
    }
    for name, file in files.items():
        refuse_uncovered(file, result(retrieve_own(spec, source, name, ranked[name], searches.test)))
    return ranked


def retrieve_own(spec: Experiment, source: Source, name: str, ranked: RankedList, eval_set: EvalSet) -> RetrievedList:
    """The documents of the user's ranked list of that name for some searches."""
    ks = spec.evaluation.ks
    return submit(retrieve_listed, (name,), ranked, source.log, eval_set, max(ks), ks)


def extract_named_columns(spec: Experiment, source: Source) -> ColumnSets:
    """For the features of arms that name columns which no layout knows, these columns."""
    contents: dict[str, str] = {}
    sets: ColumnSets = {}
    for features in dict.fromkeys(arm.features for arm in spec.arms.values()):
        if needs_columns(features):
            contents = contents or contents_of(source.files)
            sets[features] = submit(extract_columns, (), source.files, source.log, contents, features)
    return sets


def featurize(spec: Experiment, source: Source, columns: ColumnSets | None = None) -> FeatureSets:
    """The features of all arms, made once for arms that read the same. A missing graph or column fails only the arms
    that read it. columns: extract_named_columns, if the caller needs it, too."""
    feature_configs = list(dict.fromkeys(arm.features for arm in spec.arms.values()))
    named_columns = extract_named_columns(spec, source) if columns is None else columns
    graphs = {
        graph: submit(embed_graph, (), source.log, graph)
        for graph in dict.fromkeys(graph for features in feature_configs for graph in features.graphs.values())
    }
    vectors = text_vectors(source.log, source.files, feature_configs)
    return {
        features: submit(
            featurise,
            (),
            source.log,
            features,
            {name: graphs[graph] for name, graph in features.graphs.items()},
            named_columns.get(features),
            vectors[features],
        )
        for features in feature_configs
    }
