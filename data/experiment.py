"""The experiment file: one YAML that says where the logs are, what is trained and what is asked of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from data.combined import ensemble_problems, named_problem, reference_problems
from data.invalid import explained
from data.logs import Beir, Esci, Logs, Simulated, Split, Tables, Ubi
from data.nightly import Nightly
from data.runner import Dask
from ebr_core.cascade import Cascade
from ebr_core.config import Arm, laid_over
from ebr_core.ensemble import Ensemble
from ebr_core.errors import InputError
from ebr_core.feedback import Feedback, Filter
from ebr_core.frozen import Frozen
from ebr_core.hybrid import Retrieval
from ebr_core.index import AnyIndex, Exact, Index, Ivf, Scan, problem
from ebr_core.ranking import Ranker
from ebr_core.verdicts import Claim

AnyLogs = Tables | Ubi | Esci | Beir | Simulated
BASELINES = ("popularity", "bm25", "memory")
LISTS = ("retrievals", "cascades", "rankers", "filters")  # the sections of lists that are made of arms
ListSpec = Retrieval | Cascade | Ranker | Filter
ORACLES = ("oracle-text", "oracle-place", "oracle-everything")  # of a simulated world alone
MANY = 2**31  # documents: more than any index asks for
METRIC = r"^((recall|precision|success|ndcg|popularity_lift|index_recall|one_recall)@[1-9][0-9]*|mrr|scanned)$"
OF_INDEX = ("index_recall", "one_recall")  # metrics that exact search has none of
Title = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$", max_length=60)]  # what MLflow takes as a tag
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=60)]


class Evaluation(Frozen):
    """How arms are measured: exact search over every document alive in the period. [EBR §2.1]"""

    ks: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        (1, 10, 100), min_length=1, description="K of recall@K"
    )
    searches: int = Field(
        10_000, ge=1, description="test searches sampled, at most, for each target set; rankers learn from as many"
    )
    validation_searches: int = Field(2_000, ge=1, description="validation searches sampled, at most")
    resamples: int = Field(2_000, ge=100, le=100_000, description="bootstrap resamples of the intervals")

    @field_validator("ks")
    @classmethod
    def _in_order(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(ks)))


class Question(Frozen):
    """Arms compared with a baseline, and what is claimed of them before the run."""

    title: str = ""
    baseline: str = Field(description="an arm, a retrieval or a baseline; softmax@pq32: the arm through that index")
    arms: tuple[str, ...] = Field(min_length=1, description="who is compared with it, named in the same way")
    metric: str = Field(
        "recall@10",
        pattern=METRIC,
        description="index_recall@K and one_recall@K, of an arm through an index: the share of the K exactly nearest "
        "among its first K, and whether the exactly nearest is; scanned: documents, of which a gain is more",
    )
    claim: Claim | None = Field(None, description="what is expected of the arms, fixed before the run")
    margin: float = Field(0.01, gt=0, lt=1, description="what counts as equal, fixed before the run")


def arm_of(label: str) -> str:
    """Whom a question names.

    >>> arm_of("softmax@pq32")
    'softmax'
    """
    return label.partition("@")[0]


class Audit(Frozen):
    """What `ebr audit` trains again: a few arms, under splits that others use, and with less of the log."""

    arms: tuple[str, ...] = Field(min_length=1, max_length=3, description="whose order and level are looked at")
    splits: tuple[Literal["random", "last_click"], ...] = Field(
        ("random", "last_click"), description="sessions at random; each searcher's last clicked session left out"
    )
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.1, 0.3, 1), description="shares of the training sessions: is more data the lever, or a better arm?"
    )


class Experiment(Frozen):
    """A whole experiment, as validated."""

    logs: Logs
    split: Split = Split()
    evaluation: Evaluation = Evaluation()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0,), min_length=1, description="each arm is trained once for each"
    )
    screening: bool = Field(
        False,
        description="train every arm with the first seed alone, and with all seeds only each question's baseline and "
        "its best arm, chosen on validation",
    )
    arms: dict[Name, Arm] = Field(default_factory=dict, description="what is trained; `base` holds what they share")
    ensembles: dict[Name, Ensemble] = Field(
        default_factory=dict, description="weighted sums of arms, searched as one; arms in all that follows"
    )
    indexes: dict[Name, Index] = Field(default_factory=dict, description="besides exact search, which is always there")
    retrievals: dict[Name, Retrieval] = Field(
        default_factory=dict, description="terms and embeddings together, under conditions; compared like arms"
    )
    cascades: dict[Name, Cascade] = Field(
        default_factory=dict, description="an arm's first documents in the order of another; compared like arms"
    )
    rankers: dict[Name, Ranker] = Field(
        default_factory=dict,
        description="an arm's documents in an order learnt from clicks of the later half of the validation period, of "
        "which all else then uses the earlier half; compared like arms",
    )
    feedback: Feedback = Field(Feedback(), description="which retrieved results are rated, and by whom")
    filters: dict[Name, Filter] = Field(
        default_factory=dict,
        description="an arm's lists without what a model of the ratings holds for bad; compared like arms",
    )
    questions: dict[Title, Question] = Field(default_factory=dict, description="who is compared with whom")
    audit: Audit | None = Field(None, description="what `ebr audit` trains again")
    nightly: Nightly = Field(Nightly(), description="how `ebr nightly` keeps a model fresh")
    runner: Literal["threads"] | Dask = Field(
        "threads", description="what runs the stages: threads of one process; dask, or the settings of a Dask cluster"
    )

    @field_validator("arms", mode="before")
    @classmethod
    def _on_base(cls, arms: Any) -> Any:
        """Each arm is the base with its own settings laid over it; the base itself is not trained."""
        if not isinstance(arms, dict) or not isinstance(arms.get("base") or {}, dict):
            return arms  # validation says what is wrong
        base = arms.get("base") or {}
        return {name: laid_over(base, arm or {}) for name, arm in arms.items() if name != "base"}

    @field_validator("runner", mode="before")
    @classmethod
    def _by_name(cls, runner: Any) -> Any:
        return {"kind": "dask"} if runner == "dask" else runner

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"got {list(seeds)}; a seed stands twice, which would train the same arm again")
        return seeds

    @field_validator("indexes")
    @classmethod
    def _not_reserved(cls, indexes: dict[str, Index]) -> dict[str, Index]:
        if taken := {"exact", "none"} & set(indexes):
            raise ValueError(
                f"{', '.join(sorted(taken))}: exact search is always there under this name; choose another"
            )
        return indexes

    def shown(self) -> str:
        """The file's sections as YAML for reports and MLflow: all that decides the results. Who hears of a night is
        left out, because the arguments of a command may hold a secret."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude={"nightly": {"notice"}}), sort_keys=False)

    @property
    def all_indexes(self) -> dict[str, AnyIndex]:
        """The indexes by name, exact search first."""
        return {"exact": Exact()} | self.indexes

    def made_of(self, name: str) -> tuple[str, ...]:
        """The arms of an ensemble, an arm itself."""
        return self.ensembles[name].parts if name in self.ensembles else (name,)

    def needed(self, names: Iterable[str]) -> list[str]:
        """These arms and all that they mine or start from, in the end, in the order of the file."""
        found, waiting = set[str](), list(names)
        while waiting:
            name = waiting.pop()
            found.add(name)
            waiting += self.arms[name].sources
        return [name for name in self.arms if name in found]

    @property
    def lists(self) -> dict[str, ListSpec]:
        """Everything that is made of arms and compared like them, by name: the one place that knows the kinds."""
        return {name: spec for section in LISTS for name, spec in getattr(self, section).items()}

    def index_within(self, name: str) -> str:
        """The index that a list looks through, none where it embeds nothing."""
        return self.lists[name].index if self.lists[name].searched else "none"

    @property
    def people_rate(self) -> bool:
        """Whether ratings are imported; else a simulated world's truth gives them."""
        return not isinstance(self.logs, Simulated) or self.feedback.rater is None

    @property
    def dimensions(self) -> list[int]:
        """The different dimensions of arms and ensembles, in order."""
        of = {name: arm.towers.dimensions for name, arm in self.arms.items()}
        joined = {sum(of[part] for part in its.parts) for its in self.ensembles.values()}
        return sorted({*of.values(), *joined})


class _NoRepeats(yaml.SafeLoader):
    """Refuses a key that stands twice: the last would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        seen: list[Any] = []
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # <<: what it brings, the mapping's own keys may say anew
            key = self.construct_object(key_node, deep)
            if key in seen:
                told = f"the key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, told, key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def load_experiment(path: Path) -> Experiment:
    """The experiment in a YAML file, with the paths of its logs made absolute. Errors: every problem of the file at
    once."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; give the path of an experiment file") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a text in UTF-8 ({error.reason} at byte {error.start}); save it as one"
        ) from error
    try:
        content = yaml.load(text, _NoRepeats)  # a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: lists or mappings are nested too deep; an experiment has few levels") from error
    except (ValueError, TypeError, AttributeError) as error:  # a number, date or tag that is none, as yaml tells it
        raise InputError(f"{path}: holds a value that cannot be read: {error}; write it as a text in quotes") from error
    if not isinstance(content, dict):
        got = "an empty file" if content is None else type(content).__name__
        raise InputError(f"{path}: expected sections such as logs, arms, questions; got {got}")
    problems: list[str] = _name_problems(content)
    experiment = None
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        problems = [*explained(error, content, Experiment.model_json_schema()), *problems]
    if experiment:
        unlike = ensemble_problems(experiment.ensembles, experiment.arms)
        problems += unlike or _index_problems(experiment)  # an ensemble's dimensions are those of its parts
        problems += [*_reference_problems(experiment), *_trial_problems(experiment)]
    if problems or experiment is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError(f"{path}: {count}\n" + "\n".join(f"  {line}" for line in problems))
    imported = experiment.feedback.imported or path.stem
    resolved = {
        "logs": _resolve(experiment.logs, path.parent.resolve()),
        "feedback": experiment.feedback.model_copy(update={"imported": imported}),
    }
    return experiment.model_copy(update=resolved)


def _index_problems(experiment: Experiment) -> list[str]:
    """Indexes that cannot be built over the vectors of some arm, whatever the corpus, and settings of nobody."""
    told = [
        f"indexes.{name}: {reason}"
        for name, index in experiment.indexes.items()
        for d in experiment.dimensions
        if (reason := problem(_without_nlist(index), MANY, d))
    ]
    there = [*experiment.arms, *experiment.ensembles]
    for name, index in experiment.indexes.items():
        arm = getattr(index, "parameters_of", None)
        told += named_problem(f"indexes.{name}.parameters_of", "arm", arm, there)
        if not isinstance(index, Exact | Scan) and index.at > max(experiment.evaluation.ks):
            told.append(f"indexes.{name}.at: got {index.at}; at most {max(experiment.evaluation.ks)}, the largest K")
    return told


def _reference_problems(experiment: Experiment) -> list[str]:
    """Retrievals, cascades and rankers of arms or indexes that are not there."""
    arms, indexes = [*experiment.arms, *experiment.ensembles], list(experiment.all_indexes)
    told = []
    for section in LISTS:
        for name, spec in getattr(experiment, section).items():
            known = list(experiment.arms) if isinstance(spec, Filter) else arms
            told += reference_problems(f"{section}.{name}", spec.sources, spec.index, known, indexes)
    people, simulated = experiment.feedback, isinstance(experiment.logs, Simulated)
    if "rater" in people.model_fields_set and people.rater and not simulated:
        told.append("feedback.rater: only a simulated world has the truth; leave it out, people rate other logs")
    return told


def _without_nlist(index: AnyIndex) -> AnyIndex:
    return index.model_copy(update={"nlist": None}) if isinstance(index, Ivf) else index


def _trial_problems(experiment: Experiment) -> list[str]:
    """Questions that would compare arms of which one had more tries to be good than another."""
    problems = []
    for name, question in experiment.questions.items():
        arms = [arm for label in (question.baseline, *question.arms) if (arm := arm_of(label)) in experiment.arms]
        tries = {arm: len(experiment.arms[arm].tried) for arm in arms}
        if len(set(tries.values())) > 1:
            told = ", ".join(f"{arm} {number}" for arm, number in tries.items())
            problems.append(f"questions.{name}: got arms with different numbers of trials, {told}; give each as many")
    return problems


def _source_problems(arms: dict[str, Any]) -> list[str]:
    """Arms that mine, start or take ratings from an arm that is not there, or in the end from themselves."""
    problems = []
    sources: dict[str, list[str]] = {}
    base = _section(arms, "base")
    for name in (name for name in arms if name != "base"):
        own = laid_over(base, _section(arms, name))
        rated = _section(own, "ratings").get("of")
        named = [(key, own.get(key)) for key in ("mine_from", "start_from")]
        named += [(f"ratings.of.{at}", one) for at, one in enumerate(rated if isinstance(rated, list) else [])]
        for key, source in named:
            if source is None:
                continue
            sources.setdefault(name, []).append(str(source))
            if source not in arms or source == "base":
                near = difflib.get_close_matches(str(source), [str(arm) for arm in arms if arm != "base"], 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                problems.append(f"arms.{name}.{key}: no arm {source!r}{hint}")
    for name in sources:
        before, waiting = set(), list(sources[name])
        while waiting:
            source = waiting.pop()
            if source not in before:
                before.add(source)
                waiting += sources.get(source, [])
        if name in before:
            problems.append(f"arms.{name}: mine_from, start_from and ratings lead back to it; break the circle")
    return problems


def _taken_names(sections: dict[str, list[Any]]) -> list[str]:
    """Names that a baseline bears, or two things that questions compare."""
    problems, taken = [], dict.fromkeys((*BASELINES, *ORACLES), "a baseline")
    for section, names in sections.items():
        problems += [
            f"{section}.{name}: this name is taken by {taken[name]}; choose another" for name in names if name in taken
        ]
        taken = {str(name): f"one of the {section}" for name in names} | taken
    return problems


def _section(content: dict[str, Any], key: str) -> dict[str, Any]:
    return content[key] if isinstance(content.get(key), dict) else {}


def _name_problems(content: dict[str, Any]) -> list[str]:
    """Names in the questions that nothing bears. Looks at the file as written, so that it is told along with all
    else."""
    arms_section, questions, evaluation = (_section(content, key) for key in ("arms", "questions", "evaluation"))
    arms = [str(name) for name in arms_section if name != "base"]
    combined = {key: list(_section(content, key)) for key in ("ensembles", *LISTS)}
    known = [*arms, *(name for names in combined.values() for name in names), *BASELINES]
    ks = evaluation.get("ks", Evaluation().ks)
    indexes = ["exact", *_section(content, "indexes")]
    problems = _taken_names({"arms": arms} | combined)
    problems += _source_problems(arms_section)
    audited = _section(content, "audit").get("arms")
    problems += [
        f"audit.arms: no arm {arm!r}; there are {', '.join(arms)}"
        for arm in (audited if isinstance(audited, list) else [])
        if arm not in arms
    ]
    nightly = _section(content, "nightly").get("arm")
    if isinstance(nightly, str) and nightly not in arms:
        problems.append(f"nightly.arm: no arm {nightly!r}; there are {', '.join(arms) or 'none'}")
    for name, question in questions.items():
        if not isinstance(question, dict):
            continue
        others = question["arms"] if isinstance(question.get("arms"), list) else []
        for key, arm in [("baseline", question.get("baseline")), *(("arms", other) for other in others)]:
            if arm is not None:
                problems += _label_problems(f"questions.{name}.{key}", str(arm), known, indexes)
        if question.get("baseline") in others:
            problems.append(
                f"questions.{name}.arms: {question['baseline']!r} is the baseline, it cannot be compared with itself"
            )
        metric = str(question.get("metric", "recall@10"))
        problems += [f"questions.{name}: {told}" for told in _unmeasured(metric, [question.get("baseline"), *others])]
        depth = metric.partition("@")[2]
        if depth.isdigit() and int(depth) not in ks:
            problems.append(f"questions.{name}.metric: got {metric!r}; evaluation.ks holds {list(ks)}")
    return problems


def _label_problems(place: str, label: str, known: list[str], indexes: list[str]) -> list[str]:
    """Whether a question's arm, or the index through which it is looked at, is not there."""
    arm, through, index = label.partition("@")
    return [
        *named_problem(place, "arm", arm, known),
        *named_problem(place, "index", index if through else None, indexes),
    ]


def _unmeasured(metric: str, labels: list[Any]) -> list[str]:
    """Metrics of an index that are asked of exact search."""
    if metric.partition("@")[0] not in OF_INDEX:
        return []
    lacking = [str(label) for label in labels if str(label).partition("@")[2] in ("", "exact")]
    return [f"metric {metric} is of an index, and {', '.join(lacking)} names none: write arm@index"] if lacking else []


def _resolve(logs: AnyLogs, start: Path) -> AnyLogs:
    """The logs with relative paths made absolute, from the folder of the experiment file; ~ is the user's home."""
    named = [key for key, field in type(logs).model_fields.items() if field.annotation in (str, str | None)]
    paths = {key: getattr(logs, key) for key in named if key != "memory_limit" and getattr(logs, key)}
    full = {
        key: path if "://" in path else str((start / Path(path).expanduser()).absolute()) for key, path in paths.items()
    }
    return logs.model_copy(update=full)


def json_schema() -> dict[str, Any]:
    """The JSON schema of an experiment file, for editors. An arm may leave out what its base says."""
    schema = TypeAdapter(Experiment).json_schema()
    schema["title"] = "An experiment of embedding-based retrieval"
    return schema
