"""`ebr check`: describe the logs, the split, and what of the experiment these logs do not allow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from data.column_names import ambiguous_names, own_names
from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Experiment, trained_arm
from data.layouts import SIDES
from data.log_fingerprint import refuse_absent
from data.report_text import describe
from ebr_core.errors import InputError
from ebr_core.measure.intervals import DIFFERING, FEW_CLUSTERS, smallest_difference
from ebr_core.own_names import own_name
from ebr_core.towers.column_config import SIDES as FEATURE_SIDES
from ebr_core.towers.column_config import Side
from flows.app.check_findings import Checked
from flows.group_vectors import check_teacher, check_vectors
from flows.sources import ranked_file, world_log
from flows.submit import submit
from flows.used_columns import LogColumns, named_columns, read_used_columns, unmatched_values
from tasks.feature_stages import check_features, describe_group_places, extract_columns, needs_columns
from tasks.imported_ratings import imported_files
from tasks.kinds import Log
from tasks.log_stages import ReadLogs, contents_of, extract, files_of, sample
from tasks.own_column_stages import describe_held, describe_own, describe_places
from tasks.ranked_list_stages import content_of, describe_match, match_file, refuse_uncovered, retrieve_listed
from tasks.ranker_stages import refuse_deep
from tasks.report.target_sets import MAIN, in_order
from tasks.retrieval_stages import refuse_impossible
from tasks.tracking.experiment_names import refuse_untrackable
from tasks.training_inputs import refuse_few_hard

PLACES = ("city", "region", "country", "language", "kind")  # columns of layouts that groups may read


class _Plan(NamedTuple):
    lines: list[str]
    refusals: list[str]
    failures: dict[str, str]
    questions: dict[str, list[str]]


def describe_experiment(path: Path) -> str:
    """The description of an experiment's logs and plan, as `check_experiment` gives it."""
    return check_experiment(path).text


def check_experiment(path: Path) -> Checked:
    """The description of an experiment's logs and plan, and what a run would refuse. Extracts the log as a run does;
    trains nothing."""
    spec = load_experiment(path)
    refuse_untrackable(path.stem)
    logs = files_of(spec.logs, world_log(spec))
    refuse_absent(logs, spec.lists)
    log: Log = submit(extract, (), logs, spec.split, contents_of(logs))
    report = json.loads((log.folder / "report.json").read_text())
    plan = _plan(spec, report, log, logs)
    text = "\n".join([*plan.lines, *(f"  a run would be refused: {reason}." for reason in plan.refusals)])
    remarks = [line.strip() for line in plan.lines if line.strip()]
    whole = f"{path}: the file is valid.\n\n{describe(report)}\n{text}"
    return Checked(whole, plan.refusals, plan.failures, plan.questions, report, remarks)


def _plan(spec: Experiment, report: dict[str, Any], log: Log, logs: ReadLogs) -> _Plan:
    """(lines on the arms, questions and lists of the experiment, refusals, failures)."""
    lines = [f"A run trains {len(spec.arms)} arms × {len(spec.seeds)} seeds: {', '.join(spec.arms) or 'none'}."]
    ensembles, seeds = spec.ensembles.values(), spec.seeds
    runs = {run for ensemble in ensembles for seed in seeds for run in ensemble.runs(seed, seeds)}
    if more_runs := sorted(f"{arm}, seed {seed}" for arm, seed in runs if seed not in seeds):
        lines.append(f"  and again for ensembles: {'; '.join(more_runs)}.")
    reasons = {
        arm: reason
        for arm in spec.arms
        if (
            reason := _missing_data(spec, arm, report)
            or _few_hard(spec, arm, log)
            or _missing_features(spec, arm, log, logs)
            or _missing_ratings(spec, arm)
        )
    }
    lines += [f"  {arm} cannot be trained: {reason}." for arm, reason in reasons.items()]
    unanswered: dict[str, list[str]] = {}
    for name, question in spec.questions.items():
        arms = [trained_arm(arm) for arm in (question.baseline, *question.arms)]
        parts = [part for arm in arms for part in (arm, *arms_behind(spec, arm))]
        unanswered[name] = missing = [arm for arm in dict.fromkeys(parts) if arm in reasons]
        verdict = f"cannot be answered without {', '.join(missing)}" if missing else "can be answered"
        lines.append(f"  {name} ({question.title or 'no title'}): {verdict}.")
    used, place_lines, used_refusals = _used_columns(spec, log, logs, report)
    lines += [f"  {sentence}." for sentence in _group_vectors(spec, [*spec.arms.keys() - reasons], log, logs)]
    lines += [f"  {sentence}." for sentence in _unknown_places(spec, [*spec.arms.keys() - reasons], log, logs)]
    lines += place_lines
    lines += [f"  {sentence}." for sentence in ambiguous_names(spec.logs)]
    if unused := _unused_columns(spec, report, used):
        lines.append(f"  columns that nothing reads, and groups, slices and conditions can: {'; '.join(unused)}.")
    served = () if spec.refit else ("cascade", "ranker")
    if unserved := [name for name in spec.combined_lists if spec.kind_of_list(name) not in served]:
        with_lists = ", cascades and rankers" if served else ""
        lines.append(
            f"  {', '.join(unserved)}: measured, not served. Models answer with arms and ensembles, their hybrids with "
            f"BM25{with_lists}."
        )
    own_lines, refusals = _own_lists(spec, log)
    test, test_refusals = _test_searches(spec, log, report)
    return _Plan([*lines, *own_lines, *test], [*used_refusals, *refusals, *test_refusals], reasons, unanswered)


def arms_behind(spec: Experiment, name: str) -> list[str]:
    """The arms that the ensemble or list of this name combines; empty for an arm."""
    if name in spec.ensembles:
        return list(dict.fromkeys(spec.ensembles[name].parts))
    sources = spec.combined_lists[name].sources.values() if name in spec.combined_lists else ()
    return list(dict.fromkeys(part for arm in sources for part in (arms_behind(spec, arm) or [arm])))


def _used_columns(
    spec: Experiment, log: Log, logs: ReadLogs, report: dict[str, Any]
) -> tuple[dict[Side, set[str]], list[str], list[str]]:
    """(the columns of each side that slices, conditions and results read, a line on the places that the log has and on
    values that no document has, the error of a run for a column that is not there)."""
    try:
        used = read_used_columns(spec, log, logs)
        named, by_default = named_columns(spec, LogColumns(report, logs)), spec.serving.columns is None
        own = [
            line
            for side in FEATURE_SIDES
            for line in describe_own(used.by_side.get(side), side, named[side], side == "documents" and by_default)
        ]
        if spec.arms:
            travelling = LogColumns(report, logs).travelling(spec)
            own += describe_held(used.documents, travelling, spec.serving, used.own_names["documents"])
        lines = [
            f"  {line}."
            for line in (*describe_places(used.places, used.own_names), *own, *unmatched_values(spec, log, used))
        ]
        return named, lines, []
    except InputError as error:
        return {"searches": set(), "documents": set()}, [], [str(error).rstrip(".")]


def _unused_columns(spec: Experiment, report: dict[str, Any], used: dict[Side, set[str]]) -> list[str]:
    """For each side with such columns: its table, and the columns with values that nothing reads. used: the columns
    that slices, conditions and results read."""
    unused = []
    for side in FEATURE_SIDES:
        table = SIDES[report["layout"]][side][0]
        known = [name for name in PLACES if report["columns"][side].get(name)]
        names = own_names(spec.logs, side)
        features = [arm.features for arm in spec.arms.values()]
        read = {column.lower() for reads in features for column in (*reads.columns(side), *reads.vector_columns(side))}
        read |= used[side]
        given = [*known, *report["unread_columns"].get(table, ())]
        unread = [column for column in given if column.lower() not in {*read, str(spec.split.by).lower()}]
        if columns := [own_name(column, names) for column in unread]:
            unused.append(f"{table}: {', '.join(columns)}")
    return unused


def _own_lists(spec: Experiment, log: Log) -> tuple[list[str], list[str]]:
    """(a line for each ranked list of the user: what of it matches the log, the searches that it covers; refusals)."""
    lines, refusals = [], []
    ks = spec.evaluation.ks
    for name in spec.lists:
        file = ranked_file(spec, name)
        try:
            test = submit(sample, (), log, "test", spec.evaluation.searches, spec.logs.judged_from)
            ranked = submit(match_file, (name,), log, file, content_of(file))
            rows = submit(retrieve_listed, (name,), ranked, log, test, max(ks), ks)
            refuse_uncovered(file, rows)
        except InputError as error:
            refusals.append(str(error).rstrip("."))
            continue
        lines.append(f"  list {name}: {describe_match(rows)}.")
    return lines, refusals


def _test_searches(spec: Experiment, log: Log, report: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(lines on what the test can show, the errors of a run that depend on the sampled searches)."""
    evaluation, judged_from, halved = spec.evaluation, spec.logs.judged_from, bool(spec.rankers)
    lines, refusals = [], []
    searchers = report["splits"].get("test", {}).get("searchers", 0)
    if report["signed_in"] and searchers < FEW_CLUSTERS:
        lines.append(f"  the test has {searchers} searchers: too few for intervals, which need {FEW_CLUSTERS}.")
    try:
        test = submit(sample, (), log, "test", evaluation.searches, judged_from, exclude=evaluation.exclude)
        lines += _smallest_difference(spec, json.loads((test.folder / "counts.json").read_text()))
        refuse_impossible(test, spec.indexes.values(), spec.dimensions, max(evaluation.ks))
        refuse_deep(test, spec.rankers)
        if spec.arms:
            submit(
                sample,
                (),
                log,
                "validation",
                evaluation.validation_searches,
                judged_from,
                halved=halved,
                exclude=evaluation.exclude,
            )
    except InputError as error:
        refusals.append(str(error).rstrip("."))
    return lines, refusals


def _smallest_difference(spec: Experiment, counts: list[dict[str, Any]]) -> list[str]:
    """A line on the smallest difference of recall that the main target set of the test can show."""
    measured = {row["targets"]: row["sampled"] for row in counts if row["sampled"]}
    targets = next((name for name in MAIN if name in measured), None)
    if targets is None:
        return []
    n, metric = measured[targets], f"recall@{spec.evaluation.main_k}"
    of_actions = ", ".join(f"{measured[name]:,} {name}" for name in in_order(measured) if name not in MAIN)
    beside = f", and apart {of_actions}" if of_actions else ""
    return [
        f"  the test measures {n:,} {targets} searches{beside}. Where two arms differ on one search in "
        f"{round(1 / DIFFERING)}, it shows a difference in {metric} of {smallest_difference(n):.3f} four times out of "
        f"five; half of that takes {4 * n:,} such searches."
    ]


def _few_hard(spec: Experiment, name: str, log: Log) -> str | None:
    """The reason why an arm has fewer hard positives than it asks for, None if it has enough."""
    try:
        refuse_few_hard(log, spec.arms[name].positives)
    except InputError as error:
        return str(error).rstrip(".")
    return None


def _missing_features(spec: Experiment, name: str, log: Log, logs: ReadLogs) -> str | None:
    """The reason why this log cannot provide the features of an arm, None if it can."""
    reads = spec.arms[name].features
    try:
        columns = submit(extract_columns, (), logs, log, contents_of(logs), reads) if needs_columns(reads) else None
        check_features(log, reads, columns)
        check_vectors(log, logs, reads)
        check_teacher(log, spec.arms[name])
    except InputError as error:
        return str(error).rstrip(".")
    return None


def _unknown_places(spec: Experiment, arms: list[str], log: Log, logs: ReadLogs) -> list[str]:
    """What of the columns of places is no known place, each sentence once. arms: those whose features can be read."""
    sentences = []
    for reads in dict.fromkeys(spec.arms[name].features for name in sorted(arms)):
        columns = submit(extract_columns, (), logs, log, contents_of(logs), reads) if needs_columns(reads) else None
        sentences += describe_group_places(log, reads, columns)
    return list(dict.fromkeys(sentences))


def _group_vectors(spec: Experiment, arms: list[str], log: Log, logs: ReadLogs) -> list[str]:
    """How many queries and documents have a vector in each group of kind vectors, and what each encoder is."""
    feature_sets = dict.fromkeys(spec.arms[name].features for name in sorted(arms))
    lines = [line for reads in feature_sets for line in check_vectors(log, logs, reads)]
    lines += [line for name in sorted(arms) for line in check_teacher(log, spec.arms[name])]
    return list(dict.fromkeys(lines))


def _missing_ratings(spec: Experiment, name: str) -> str | None:
    """The reason why an arm has no ratings, None if it has them or needs none."""
    ratings, imported = spec.arms[name].ratings, spec.feedback.imported
    if ratings is None or not spec.people_rate or imported is None:
        return None
    missing = [arm for arm in ratings.of if not imported_files(imported, arm)]
    return f"nobody has rated what {', '.join(missing)} retrieves (ebr ratings export)" if missing else None


def _missing_data(spec: Experiment, name: str, report: dict[str, Any]) -> str | None:
    """The reason why an arm cannot be trained on the log of this report, None if it can."""
    arm, train = spec.arms[name], report["splits"].get("train", {})
    not_clicked = train.get("impressions", 0) - train.get("clicks", 0)
    if not arm.training.epochs:
        return None
    if not train.get("searches"):
        return "these logs have no training part (an arm with training.epochs: 0 needs none)"
    if arm.negatives.impressions and not not_clicked:
        return "negatives.impressions needs results that were shown and not clicked, and results.clicked is always true"
    if chosen := arm.positives.actions:
        rows = {action["action"]: action["results"] for action in report["actions"]}
        if not any(rows[action] for action in chosen):
            listed = ", ".join(f"{action} {results:,}" for action, results in rows.items() if results)
            return f"positives.actions: no result has the action {' or '.join(chosen)}; the actions are {listed}"
    if arm.positives.source != "clicks" and not not_clicked:
        return f"positives.source: {arm.positives.source} needs results that were shown and not clicked"
    return None
