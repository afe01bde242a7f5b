"""What is wrong with an experiment as a whole: names that nothing has, settings that do not fit each other."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from data.experiment.experiment_spec import BASELINES, LISTS, ORACLES, Evaluation, Experiment, arm_of
from data.experiment.log_config import Simulated
from ebr_core.search.ensemble_vectors import Ensemble
from ebr_core.search.index_specs import AnyIndex, Exact, Ivf, Scan, problem
from ebr_core.training.arm_config import Arm, laid_over
from ebr_core.training.rated_results import Filter

MANY = 2**31  # documents: more than any index asks for
OF_INDEX = ("index_recall", "one_recall")  # metrics that exact search has none of


def settings_problems(experiment: Experiment) -> list[str]:
    """The problems of a file whose every section is valid by itself."""
    problems = ensemble_problems(experiment.ensembles, experiment.arms)
    problems = problems or _index_problems(experiment)  # an ensemble's dimensions are those of its parts
    return [*problems, *_reference_problems(experiment), *_trial_problems(experiment)]


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


def name_problems(content: dict[str, Any]) -> list[str]:
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


def ensemble_problems(ensembles: Mapping[str, Ensemble], arms: Mapping[str, Arm]) -> list[str]:
    """Parts that are no arms, or whose queries have several vectors, which no sum of cosines is a maximum over."""
    told = []
    for name, ensemble in ensembles.items():
        for at, part in enumerate(ensemble.parts):
            told += named_problem(f"ensembles.{name}.parts.{at}", "arm", part, list(arms))
            if part in arms and (views := arms[part].towers.query_vectors) > 1:
                told.append(
                    f"ensembles.{name}.parts.{at}: {part} gives a query {views} vectors, a part of an ensemble gives "
                    "one; leave it out, or set its towers.query_vectors to 1"
                )
    return told


def reference_problems(
    place: str, arms: Mapping[str, str | None], index: str, known_arms: Sequence[str], known_indexes: Sequence[str]
) -> list[str]:
    """Arms and an index, by the keys that name them, that are not there."""
    told = [line for key, arm in arms.items() for line in named_problem(f"{place}.{key}", "arm", arm, known_arms)]
    return [*told, *named_problem(f"{place}.index", "index", index, known_indexes)]


def named_problem(place: str, kind: str, name: str | None, known: Sequence[str]) -> list[str]:
    """That nothing of this kind bears the name, with what does."""
    there = list(map(str, known))  # as written, and YAML has other keys than texts
    if name is None or name in there:
        return []
    near = difflib.get_close_matches(name, there, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return [f"{place}: no {kind} {name!r}{hint}; there are {', '.join(there)}"]
