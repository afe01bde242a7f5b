"""Everything that a run made, as the report and MLflow read it."""

from __future__ import annotations

from data.experiment.experiment_spec import Experiment
from ebr_core.frozen import Frozen
from tasks.artifacts import Artifact
from tasks.ensemble_stages import EnsembleRun
from tasks.feedback_stages import FeedbackResult
from tasks.kinds import BuiltIndex, EvalSet, Log, ModelBundle, TrainedTowers
from tasks.ranker_stages import RankerTrained


class TrainedArm(Frozen):
    """One arm trained with one seed, or the error that kept it from that."""

    arm: str
    seed: int
    towers: TrainedTowers | None
    error: str | None = None


class CostSource(Frozen):
    """An artifact of an arm, whose folder says what it cost."""

    arm: str
    seed: int | None
    index: str | None
    artifact: Artifact


class FinishedRun(Frozen):
    """What a run made and what failed, once all of it has ended."""

    experiment: str  # its name
    spec: Experiment
    log: Log
    searches: EvalSet  # of the test
    trained: tuple[TrainedArm, ...]
    joined: tuple[EnsembleRun, ...]
    rankers: tuple[RankerTrained, ...]
    feedback: tuple[FeedbackResult, ...]
    costs: tuple[CostSource, ...]
    indexes: dict[str, dict[str, BuiltIndex]]  # arm-seed → name → index
    bundles: dict[str, ModelBundle]  # arm or ensemble →
    failures: dict[str, str]  # who → why
