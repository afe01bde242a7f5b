"""Problems of an experiment as a whole: names that do not exist, and settings that do not fit each other."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from data.experiment.encoder_arms import ENCODER
from data.experiment.experiment_spec import BASELINES, LISTS, ORACLES, Evaluation, Experiment, metric_of, trained_arm
from data.experiment.log_config import Simulated, weights_of
from data.renamed_columns import column_problems
from ebr_core.search.ensemble_vectors import Ensemble
from ebr_core.search.index_specs import EXACT, AnyIndex, Exact, Ivf, Scan, problem
from ebr_core.search.modes import LATEST, arm_of_row, is_hybrid
from ebr_core.training.arm_config import Arm, arm_settings
from ebr_core.training.rated_results import Filter

MANY_DOCUMENTS = 2**31  # documents: more than any index needs
INDEX_METRICS = ("index_recall", "one_recall")  # metrics that exact search does not have


def settings_problems(experiment: Experiment) -> list[str]:
    """The problems of a file whose sections are all valid by themselves."""
    problems = ensemble_problems(experiment.ensembles, experiment.arms)
    problems = problems or _index_problems(experiment)  # the dimensions of an ensemble need valid parts
    if not isinstance(experiment.logs, Simulated):
        problems += column_problems(experiment.logs)
    problems += _action_problems(experiment)
    problems += _latest_problems(experiment)
    return [*problems, *_reference_problems(experiment), *_effort_problems(experiment)]


def _action_problems(experiment: Experiment) -> list[str]:
    """Positives of actions that have no weight."""
    weights = weights_of(experiment.logs)
    return [
        f"arms.{name}.positives.actions: {action!r} has no weight; "
        + (f"logs.actions has {', '.join(weights)}" if weights else "give weights in logs.actions")
        for name, arm in experiment.arms.items()
        for action in arm.positives.actions
        if action not in weights
    ]


def _latest_problems(experiment: Experiment) -> list[str]:
    """Questions on a row with the latest clicks, of what has none."""
    reads = [name for name, arm in experiment.arms.items() if arm.features.reads_clicks]
    return [
        f"questions.{name}: {label} needs an arm with a group of kind history that reads clicks, by exact search; such "
        f"arms are {', '.join(reads) or 'none'}"
        for name, question in experiment.questions.items()
        for label in (question.baseline, *question.arms)
        if label.partition("@")[0].endswith(LATEST)
        and (trained_arm(label) not in reads or label.partition("@")[2] not in ("", EXACT))
    ]


def _index_problems(experiment: Experiment) -> list[str]:
    """Indexes that cannot be built over the vectors of some arm, whatever the corpus, or that name unknown arms."""
    problems = [
        f"indexes.{name}: {reason}"
        for name, index in experiment.indexes.items()
        for d in experiment.dimensions
        if (reason := problem(_without_nlist(index), MANY_DOCUMENTS, d))
    ]
    arms = [*experiment.arms, *experiment.ensembles]
    for name, index in experiment.indexes.items():
        source = getattr(index, "parameters_of", None)
        problems += unknown_name_problem(f"indexes.{name}.parameters_of", "arm", source, arms)
        if not isinstance(index, Exact | Scan) and index.at > max(experiment.evaluation.ks):
            problems.append(
                f"indexes.{name}.at: got {index.at}; expected at most {max(experiment.evaluation.ks)}, the largest K"
            )
    return problems


def _reference_problems(experiment: Experiment) -> list[str]:
    """Lists made of arms that name unknown arms or indexes, and a rater of logs without truth."""
    arms, indexes = [*experiment.arms, *experiment.ensembles], list(experiment.all_indexes)
    problems = []
    for section in LISTS:
        for name, spec in getattr(experiment, section).items():
            allowed = list(experiment.arms) if isinstance(spec, Filter) else arms
            problems += reference_problems(f"{section}.{name}", spec.sources, spec.index, allowed, indexes)
    for name, retrieval in experiment.retrievals.items():
        for i, fused in enumerate(retrieval.lists):
            problems += unknown_name_problem(f"retrievals.{name}.lists.{i}", "list", fused, experiment.baselines)
    feedback, simulated = experiment.feedback, isinstance(experiment.logs, Simulated)
    if "rater" in feedback.model_fields_set and feedback.rater and not simulated:
        problems.append("feedback.rater: only a simulated world has the truth; leave it out: people rate other logs")
    return problems


def _without_nlist(index: AnyIndex) -> AnyIndex:
    return index.model_copy(update={"nlist": None}) if isinstance(index, Ivf) else index


def _effort_problems(experiment: Experiment) -> list[str]:
    """Questions that would compare arms of unequal effort: different numbers of trials, caps of epochs or patience.

    Arms of a fixed length (epochs 0, patience null) may stand beside arms that train until they have converged.
    """
    problems = []
    for name, question in experiment.questions.items():
        arms = {
            arm: experiment.arms[arm]
            for label in (question.baseline, *question.arms)
            if (arm := trained_arm(label)) in experiment.arms
        }
        converging = {arm: config for arm, config in arms.items() if not config.training.is_fixed}
        efforts: dict[str, dict[str, object]] = {
            "numbers of trials": {arm: len(config.trial_arms) for arm, config in arms.items()},
            "caps, training.epochs": {arm: config.training.epochs for arm, config in converging.items()},
            "training.patience": {arm: config.training.patience for arm, config in converging.items()},
        }
        for words, by_arm in efforts.items():
            if len(set(by_arm.values())) > 1:
                counts = ", ".join(f"{arm} {number}" for arm, number in by_arm.items())
                problems.append(f"questions.{name}: got arms with different {words}, {counts}; give all arms the same")
    return problems


def _source_problems(arms: dict[str, Any]) -> list[str]:
    """Arms that mine, start or take ratings from an unknown arm, or, directly or indirectly, from themselves."""
    problems = []
    sources: dict[str, list[str]] = {}
    base = _section(arms, "base")
    for name in (name for name in arms if name != "base"):
        settings = arm_settings(base, _section(arms, name))
        rated = _section(settings, "ratings").get("of")
        references = [(key, settings.get(key)) for key in ("mine_from", "start_from")]
        references += [(f"ratings.of.{i}", arm) for i, arm in enumerate(rated if isinstance(rated, list) else [])]
        for key, source in references:
            if source is None:
                continue
            sources.setdefault(name, []).append(str(source))
            if source not in arms or source == "base":
                near = difflib.get_close_matches(str(source), [str(arm) for arm in arms if arm != "base"], 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                problems.append(f"arms.{name}.{key}: no arm {source!r}{hint}")
    for name in sources:
        visited, queue = set(), list(sources[name])
        while queue:
            source = queue.pop()
            if source not in visited:
                visited.add(source)
                queue += sources.get(source, [])
        if name in visited:
            problems.append(f"arms.{name}: mine_from, start_from and ratings lead back to this arm; break the cycle")
    return problems


def _taken_names(sections: dict[str, list[Any]], is_encoded: bool) -> list[str]:
    """Names that a baseline has already, or that two sections share. is_encoded: evaluation.encoder gives an arm."""
    problems, owners = [], dict.fromkeys((*BASELINES, *ORACLES), "a baseline")
    if is_encoded:
        owners[ENCODER] = "evaluation.encoder"
    for section, names in sections.items():
        problems += [
            f"{section}.{name}: this name is taken by {owners[name]}; choose another"
            for name in names
            if name in owners
        ]
        owners = {str(name): f"one of the {section}" for name in names} | owners
    return problems


def _section(content: dict[str, Any], key: str) -> dict[str, Any]:
    return content[key] if isinstance(content.get(key), dict) else {}


def name_problems(content: dict[str, Any]) -> list[str]:
    """Problems of names: taken ones, and unknown ones in arms, questions, audit and nightly.

    content: the file as written, so that these problems are reported together with all others.
    """
    arms_section, questions, evaluation = (_section(content, key) for key in ("arms", "questions", "evaluation"))
    arms = [str(name) for name in arms_section if name != "base"]
    combined = {key: list(_section(content, key)) for key in ("ensembles", *LISTS, "lists")}
    is_encoded = evaluation.get("encoder") is not None
    fused = [*arms, *combined["ensembles"], *([ENCODER] if is_encoded else [])]
    labels = [*fused, *(name for key, names in combined.items() if key != "ensembles" for name in names), *BASELINES]
    main_k = evaluation.get("main_k", Evaluation().main_k)
    given = evaluation.get("ks", Evaluation().ks)
    ks = sorted({k for k in (*(given if isinstance(given, list | tuple) else ()), main_k) if isinstance(k, int)})
    indexes = [EXACT, *_section(content, "indexes")]
    problems = _taken_names({"arms": arms} | combined, is_encoded)
    problems += _source_problems(arms_section)
    audited = _section(content, "audit").get("arms")
    problems += [
        f"audit.arms: no arm {arm!r}; allowed: {', '.join(arms)}"
        for arm in (audited if isinstance(audited, list) else [])
        if arm not in arms
    ]
    nightly = _section(content, "nightly").get("arm")
    if isinstance(nightly, str) and nightly not in arms:
        problems.append(f"nightly.arm: no arm {nightly!r}; allowed: {', '.join(arms) or 'none'}")
    for name, question in questions.items():
        if not isinstance(question, dict):
            continue
        compared = question["arms"] if isinstance(question.get("arms"), list) else []
        for key, arm in [("baseline", question.get("baseline")), *(("arms", label) for label in compared)]:
            if arm is not None:
                problems += _label_problems(f"questions.{name}.{key}", str(arm), labels, fused, indexes)
        if question.get("baseline") in compared:
            problems.append(
                f"questions.{name}.arms: {question['baseline']!r} is the baseline; it cannot be compared with itself"
            )
        metric = metric_of(str(question.get("metric", f"recall@{main_k}")))
        problems += [
            f"questions.{name}: {message}" for message in _unmeasured(metric, [question.get("baseline"), *compared])
        ]
        depth = metric.partition("@")[2]
        if depth.isdigit() and int(depth) not in ks:
            problems.append(f"questions.{name}.metric: got {metric!r}; expected a K of evaluation.ks, {ks}")
    return problems


def _label_problems(key_path: str, label: str, known: list[str], fused: list[str], indexes: list[str]) -> list[str]:
    """Problems of a label of a question, arm or arm@index: an unknown arm, or an unknown index.

    fused: the arms and ensembles that have hybrids.
    """
    row, separator, index = label.partition("@")
    arm = arm_of_row(row)[0]
    return [
        *unknown_name_problem(key_path, "arm", arm, fused if is_hybrid(row) else known),
        *unknown_name_problem(key_path, "index", index if separator else None, indexes),
    ]


def _unmeasured(metric: str, labels: list[Any]) -> list[str]:
    """The problem of a metric that measures an index, if some labels name none."""
    if metric.partition("@")[0] not in INDEX_METRICS:
        return []
    exact = [str(label) for label in labels if str(label).partition("@")[2] in ("", EXACT)]
    return [f"metric {metric} measures an index, and {', '.join(exact)} names none; write arm@index"] if exact else []


def ensemble_problems(ensembles: Mapping[str, Ensemble], arms: Mapping[str, Arm]) -> list[str]:
    """Parts of ensembles that are unknown arms, or whose queries have several vectors, which cannot be concatenated."""
    problems = []
    for name, ensemble in ensembles.items():
        for i, part in enumerate(ensemble.parts):
            problems += unknown_name_problem(f"ensembles.{name}.parts.{i}", "arm", part, list(arms))
            if part in arms and (views := arms[part].towers.query_vectors) > 1:
                problems.append(
                    f"ensembles.{name}.parts.{i}: {part} gives a query {views} vectors; expected one from a part of an "
                    "ensemble. Leave the arm out, or set its towers.query_vectors to 1"
                )
    return problems


def reference_problems(
    key_path: str, arms: Mapping[str, str | None], index: str, known_arms: Sequence[str], known_indexes: Sequence[str]
) -> list[str]:
    """Problems of unknown arms, given by the keys that name them, and of an unknown index."""
    problems = [
        line for key, arm in arms.items() for line in unknown_name_problem(f"{key_path}.{key}", "arm", arm, known_arms)
    ]
    return [*problems, *unknown_name_problem(f"{key_path}.index", "index", index, known_indexes)]


def unknown_name_problem(key_path: str, kind: str, name: str | None, known: Sequence[str]) -> list[str]:
    """The problem of a name that nothing of this kind has, with the allowed names; empty if it is known."""
    names = list(map(str, known))  # YAML keys may be other values than text
    if name is None or name in names:
        return []
    near = difflib.get_close_matches(name, names, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return [f"{key_path}: no {kind} {name!r}{hint}; allowed: {', '.join(names)}"]
