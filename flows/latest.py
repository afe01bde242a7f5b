"""The second figure of arms that read clicks: with histories up to each search, beside those of the training window."""

from __future__ import annotations

from typing import NamedTuple

from data.experiment.experiment_spec import Experiment
from ebr_core.search.index_specs import EXACT, Exact
from ebr_core.search.modes import LATEST
from flows.arms import ArmRun, TrainedArms
from flows.hybrids import FusedLists
from flows.sources import EvalSets, FeatureSets
from flows.submit import submit
from tasks import histories
from tasks.kinds import EvalSet, RetrievedList
from tasks.retrieval_stages import build_index, embed_texts, retrieve


class LatestLists(NamedTuple):
    """The lists of each part, by row and seed and index."""

    validation: FusedLists
    test: FusedLists


def retrieve_latest(spec: Experiment, features: FeatureSets, arms: TrainedArms, searches: EvalSets) -> LatestLists:
    """The lists of every arm that reads clicks for both parts."""
    parts = {"validation": searches.validation, "test": searches.test}
    return LatestLists(*(latest_of_part(spec, features, arms, part, name) for name, part in parts.items()))


def latest_of_part(
    spec: Experiment, features: FeatureSets, arms: TrainedArms, eval_set: EvalSet | None, part: str
) -> FusedLists:
    """The lists of every arm that reads clicks for the searches of a part, with all clicks strictly before each search.

    They go by the name of the arm and LATEST. Empty without such an arm, or without a validation.
    """
    runs = [run for run in arms.towers if run[1] in spec.seeds and spec.arms[run[0]].features.reads_clicks]
    if eval_set is None:
        return {}
    return {
        ((name + LATEST, seed), EXACT): _retrieve(spec, features, arms, (name, seed), eval_set, part)
        for name, seed in runs
    }


def _retrieve(
    spec: Experiment, features: FeatureSets, arms: TrainedArms, run: ArmRun, eval_set: EvalSet, part: str
) -> RetrievedList:
    arm, label = spec.arms[run[0]], (run[0] + LATEST, run[1], part)
    threads = arm.training.threads
    vectors = submit(embed_texts, label, features[arm.features], arms.towers[run], eval_set, threads, histories.LATEST)
    index = submit(build_index, label, vectors, eval_set, Exact(), threads)
    return submit(retrieve, label, vectors, index, eval_set, max(spec.evaluation.ks), threads)
