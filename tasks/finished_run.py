"""All artifacts of a run, as the report and MLflow read them."""

from __future__ import annotations

from pydantic import Field

from data.experiment.experiment_spec import Experiment
from ebr_core.frozen import Frozen
from ebr_core.search.index_specs import OWN_INDEXES
from ebr_core.search.modes import Mode, label_of, row_of
from tasks.artifacts import Artifact
from tasks.ensemble_stages import EnsembleRun
from tasks.evaluation_stage import EvaluatedList
from tasks.feedback_stages import FeedbackResult
from tasks.kinds import BuiltIndex, EvalSet, Log, ModelBundle, TrainedTowers, TunedBm25
from tasks.ranker_stages import RankerRun


class TrainedArm(Frozen):
    """One arm with one seed: its towers, or the error that stopped its training."""

    arm: str
    seed: int
    towers: TrainedTowers | None
    error: str | None = None


class RefitRun(Frozen):
    """The towers of an arm, or of the parts of an ensemble, that were trained on the validation, too."""

    arm: str  # the name of its row
    source: str  # the arm or ensemble that it repeats
    seed: int
    towers: tuple[TrainedTowers, ...]


class CostSource(Frozen):
    """An artifact of an arm whose folder holds a costs.json."""

    arm: str
    seed: int | None
    index: str | None
    artifact: Artifact


class ServedRow(Frozen):
    """The row of the results by which the champion answers: chosen on the validation."""

    arm: str  # or ensemble, cascade, ranker
    mode: Mode
    index: str
    recall: float  # on the validation, at the main K
    refused: dict[str, str] = Field(
        default_factory=dict
    )  # model → the reason why it is not chosen, or why no bundle holds it

    @property
    def row(self) -> str:
        """The name of the row: the arm, its hybrid with BM25, the cascade or the ranker."""
        return row_of(self.arm, self.mode)

    @property
    def label(self) -> str:
        """The row in a question, through the index that answers: everything@tuned."""
        return label_of(self.row, self.mode, self.index, OWN_INDEXES)


class FinishedRun(Frozen):
    """The artifacts and the failures of a run that has ended."""

    experiment: str  # the name
    spec: Experiment
    log: Log
    searches: EvalSet  # of the test
    bm25: TunedBm25
    trained: tuple[TrainedArm, ...]
    ensembles: tuple[EnsembleRun, ...]
    refit: RefitRun | None
    rankers: tuple[RankerRun, ...]
    feedback: tuple[FeedbackResult, ...]
    costs: tuple[CostSource, ...]
    indexes: dict[str, dict[str, BuiltIndex]]  # arm-seed → name → index
    bundles: dict[str, ModelBundle]  # arm, ensemble, cascade or ranker → bundle
    lists: tuple[EvaluatedList, ...]  # what was evaluated on the test
    champion: str | None  # the row that validation chose, and that is served
    failures: dict[str, str]  # label of a stage → error
    served: ServedRow | None  # None without bundles
    looks: int  # at the test of this log, with this one
