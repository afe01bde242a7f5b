"""The experiment file: one YAML with the location of the logs, the arms to train and the questions to answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator

from data.experiment.audit_config import Audit
from data.experiment.log_config import AnyFiles, Logs, Simulated, Split
from data.experiment.night_config import Nightly
from data.experiment.runner_config import Dask
from data.experiment.serving_config import BundleContents, ColumnNames, Serving
from data.experiment.source_config import refuse_secret
from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.frozen import Frozen
from ebr_core.measure.verdicts import Claim
from ebr_core.rerank.cascade import Cascade
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.search.ensemble_vectors import Ensemble
from ebr_core.search.hybrid_search import Retrieval
from ebr_core.search.index_specs import EXACT, NO_INDEX, OWN_INDEXES, AnyIndex, Exact, Index
from ebr_core.search.modes import arm_of_row
from ebr_core.text.bm25_config import Bm25
from ebr_core.towers.tower_config import dimensions_of
from ebr_core.training.arm_config import Arm, arm_settings
from ebr_core.training.rated_results import Feedback, Filter

AnyLogs = AnyFiles | Simulated
BM25 = "bm25"
LOGGED = "logged"  # the order that the log shows
MEMORY = "memory"  # what was clicked for the query before
BASELINES = ("popularity", BM25, MEMORY, LOGGED)
LISTS = ("retrievals", "cascades", "rankers", "filters")  # the sections of lists made of arms
ListSpec = Retrieval | Cascade | Ranker | Filter
ORACLES = ("oracle-text", "oracle-place", "oracle-everything")  # for simulated worlds alone
METRIC = r"^((recall|precision|success|ndcg|popularity_lift|index_recall|one_recall)@[1-9][0-9]*|mrr|scanned)$"
Title = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$", max_length=60)]  # accepted by MLflow as a tag
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]


REFIT = "+refit"  # behind the name of what was trained on the validation, too; no name in a file holds a plus


class Evaluation(Frozen):
    """The measurement of arms: exact search over all documents alive in the period. [EBR §2.1]"""

    main_k: int = Field(
        10,
        ge=1,
        le=1000,
        description="the main K: used for early stopping, the choice of the champion, nights, the first column of a "
        "table, and questions without a metric; always one of ks",
    )
    ks: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (1, 10, 100), min_length=1, validate_default=True, description="values of K for recall@K, in addition to main_k"
    )
    searches: int = Field(
        10_000,
        ge=1,
        description="largest number of test searches to sample for each target set, and of searches that train rankers",
    )
    validation_searches: int = Field(2_000, ge=1, description="largest number of validation searches to sample")
    exclude: Literal["clicked"] | None = Field(
        None,
        description="clicked: leave out, in every list, the documents that the searcher clicked before the evaluated "
        "period began",
    )
    resamples: int = Field(2_000, ge=100, le=100_000, description="number of bootstrap resamples for the intervals")
    slices: ColumnNames = Field(
        (),
        description="further slices in the report, by columns of the searches, such as device, or of the targets, such "
        "as category; distance: by the distance between search and target",
    )
    bm25: Bm25 = Field(Bm25(), description="the language and the parameters of BM25, wherever it is used")
    encoder: Annotated[str, Field(min_length=1)] | EncoderConfig | None = Field(
        None,
        description="a pretrained encoder, as its folder or its settings, that every run compares without training: as "
        "the arm `encoder`, and in hybrids with BM25",
    )

    @field_validator("ks")
    @classmethod
    def _in_order(cls, ks: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        return tuple(sorted({*ks, info.data.get("main_k", 10)}))


class Comparison(Frozen):
    """A comparison of arms with a baseline, and a claim made before the run."""

    title: str = Field("", description="the question in words, for the report")
    baseline: str = Field(
        description="an arm, a retrieval or a baseline; softmax@pq32 is the arm searched through that index; "
        "softmax+bm25 and softmax+bm25-weighted are its hybrids with BM25"
    )
    arms: tuple[str, ...] = Field(min_length=1, description="the arms to compare with it, named in the same way")
    metric: str = Field(
        "recall@10",
        pattern=METRIC,
        description="default: recall@K, where K is evaluation.main_k. index_recall@K and one_recall@K measure an arm "
        "through an index: the share of the K nearest documents by exact search among its first K, and the share of "
        "searches whose nearest document by exact search is among them. scanned counts the scanned documents; a "
        "larger number counts as a gain",
    )
    claim: Claim | None = Field(None, description="the expected finding, fixed before the run")
    margin: float = Field(
        0.01, gt=0, lt=1, description="the largest difference that still counts as equal, fixed before the run"
    )

    @field_validator("metric", mode="before")
    @classmethod
    def _as_in_mlflow(cls, metric: Any) -> Any:
        return metric_of(metric) if isinstance(metric, str) else metric


def metric_of(name: str) -> str:
    """A metric as questions name it; MLflow, which refuses the sign @, has _at_ in its place.

    >>> metric_of("recall_at_10")
    'recall@10'
    """
    return re.sub(r"_at_(\d+)$", r"@\1", name.removeprefix("clicked/"))


def arm_of(label: str) -> str:
    """The arm of a label, arm or arm@index, of a question.

    >>> arm_of("softmax@pq32")
    'softmax'
    """
    return label.partition("@")[0]


def trained_arm(label: str) -> str:
    """The arm or list of a label of a question, without index and hybrid mode.

    >>> trained_arm("softmax+bm25@pq32")
    'softmax'
    """
    return arm_of_row(arm_of(label))[0]


class Experiment(Frozen):
    """A complete, validated experiment."""

    logs: Logs = Field(description="the location and the layout of the log")
    split: Split = Split()
    evaluation: Evaluation = Evaluation()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0,), min_length=1, description="the seeds; each arm is trained once with each"
    )
    screening: bool = Field(
        False,
        description="train all arms with the first seed, but with the other seeds only each question's baseline and "
        "its best arm on validation",
    )
    refit: bool = Field(
        False,
        description="train the champion once more, on training and validation together, with the trial and the number "
        "of epochs that validation chose; its row is ARM+refit",
    )
    arms: dict[Name, Arm] = Field(
        default_factory=dict, description="the arms to train; `base` holds the settings that they share"
    )
    ensembles: dict[Name, Ensemble] = Field(
        default_factory=dict,
        description="weighted sums of arms, searched as one model; all sections below accept them as arms",
    )
    indexes: dict[Name, Index] = Field(
        default_factory=dict, description="indexes in addition to exact search, which is always available"
    )
    lists: dict[Name, str] = Field(
        default_factory=dict,
        description="your own ranked lists, such as production: run.parquet, with document_id, rank and search_id or "
        "query; or TREC runs; compared like arms",
    )
    retrievals: dict[Name, Retrieval] = Field(
        default_factory=dict,
        description="retrieval by terms and embeddings together, with conditions; compared like arms",
    )
    cascades: dict[Name, Cascade] = Field(
        default_factory=dict, description="the first documents of one arm, reordered by another; compared like arms"
    )
    rankers: dict[Name, Ranker] = Field(
        default_factory=dict,
        description="an arm's documents, in an order learned from clicks in the later half of the validation period; "
        "everything else then uses the earlier half; compared like arms",
    )
    feedback: Feedback = Field(Feedback(), description="the retrieved results to rate, and their raters")
    filters: dict[Name, Filter] = Field(
        default_factory=dict,
        description="an arm's lists without the documents that a model of the ratings rejects; compared like arms",
    )
    questions: dict[Title, Comparison] = Field(
        default_factory=dict,
        description="comparisons of arms with a baseline; the question bm25, which compares every arm with BM25 "
        "without a claim, is added unless the file defines it or sets it to null",
    )
    audit: Audit | None = Field(None, description="the arms that `ebr audit` trains again")
    serving: Serving = Field(Serving(), description="the document columns that models hold and results show")
    bundle: BundleContents = Field(BundleContents(), description="the other contents of models")
    nightly: Nightly = Field(Nightly(), description="the settings of `ebr nightly`, which keeps a model fresh")
    runner: Literal["threads"] | Dask = Field(
        "threads",
        description="where stages run: threads, in one process; dask or the settings of a Dask cluster, in its workers",
    )

    @field_validator("arms", mode="before")
    @classmethod
    def _on_base(cls, arms: Any) -> Any:
        """Each arm as the base with the arm's own settings laid over it; the base itself is not trained."""
        if not isinstance(arms, dict) or not isinstance(arms.get("base") or {}, dict):
            return arms  # validation reports the problem
        base = arms.get("base") or {}
        return {name: arm_settings(base, arm or {}) for name, arm in arms.items() if name != "base"}

    @field_validator("questions", mode="before")
    @classmethod
    def _with_metric(cls, questions: Any, info: ValidationInfo) -> Any:
        """Each question with its metric, by default recall at the main K."""
        evaluation = info.data.get("evaluation")
        if not isinstance(questions, dict) or evaluation is None:
            return questions  # validation reports the problem
        default = {"metric": f"recall@{evaluation.main_k}"}
        return {name: default | body if isinstance(body, dict) else body for name, body in questions.items()}

    @field_validator("runner", mode="before")
    @classmethod
    def _by_name(cls, runner: Any) -> Any:
        return {"kind": "dask"} if runner == "dask" else runner

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"got {list(seeds)}; a seed appears twice, which would train the same arm again")
        return seeds

    @field_validator("lists")
    @classmethod
    def _no_secret(cls, lists: dict[str, str]) -> dict[str, str]:
        for path in lists.values():
            refuse_secret(path, "store the secret in DuckDB (CREATE PERSISTENT SECRET), see docs/security.md")
        return lists

    @field_validator("indexes")
    @classmethod
    def _not_reserved(cls, indexes: dict[str, Index]) -> dict[str, Index]:
        if taken := set(OWN_INDEXES) & set(indexes):
            raise ValueError(f"{', '.join(sorted(taken))}: this name is reserved for exact search; choose another")
        return indexes

    def to_yaml(self) -> str:
        """The file's sections as YAML for reports and MLflow: all settings that decide the results. Notices of nights
        are left out, because the arguments of their commands may hold a secret."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude={"nightly": {"notice"}}), sort_keys=False)

    @property
    def baselines(self) -> tuple[str, ...]:
        """The lists without a seed that every run compares: the baselines, and the user's own lists."""
        return (*BASELINES, *self.lists)

    @property
    def all_indexes(self) -> dict[str, AnyIndex]:
        """The indexes by name, exact search first."""
        return {EXACT: Exact()} | self.indexes

    def parts_of(self, name: str) -> tuple[str, ...]:
        """The parts of an ensemble; for an arm, the arm itself."""
        return self.ensembles[name].parts if name in self.ensembles else (name,)

    def with_sources(self, names: Iterable[str]) -> list[str]:
        """These arms and all arms that they mine, start or take ratings from, also indirectly, in the file's order."""
        visited, queue = set[str](), list(names)
        while queue:
            name = queue.pop()
            visited.add(name)
            queue += self.arms[name].sources
        return [name for name in self.arms if name in visited]

    @property
    def combined_lists(self) -> dict[str, ListSpec]:
        """All lists that are made of arms and compared like them, by name. No other code enumerates their kinds."""
        return {name: spec for section in LISTS for name, spec in getattr(self, section).items()}

    def kind_of_list(self, name: str) -> str:
        """The kind of a list: retrieval, cascade, ranker or filter."""
        return next(section.removesuffix("s") for section in LISTS if name in getattr(self, section))

    def index_of_list(self, name: str) -> str:
        """The index that a list searches; "none" if it embeds nothing."""
        return self.combined_lists[name].index if self.combined_lists[name].vector_sources else NO_INDEX

    @property
    def people_rate(self) -> bool:
        """True if people give the ratings, which are imported; False if a simulated world's truth gives them."""
        return not isinstance(self.logs, Simulated) or self.feedback.rater is None

    @property
    def dimensions(self) -> list[int]:
        """The distinct dimensions of arms and ensembles, in ascending order."""
        by_arm = {name: dimensions_of(arm.towers) for name, arm in self.arms.items()}
        concatenated = {sum(by_arm[part] for part in ensemble.parts) for ensemble in self.ensembles.values()}
        return sorted({*by_arm.values(), *concatenated})
