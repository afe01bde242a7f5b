"""`ebr check`: describe the logs, the split, and what of the experiment these logs do not allow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Experiment, trained_arm
from data.log_fingerprint import refuse_absent
from data.ranked_lists import RankedFile
from data.report_text import describe
from ebr_core.errors import InputError
from ebr_core.measure.intervals import FEW_CLUSTERS
from ebr_core.search.index_specs import problem
from flows.sources import world_log
from flows.submit import submit
from tasks.feature_stages import check_features, extract_columns, needs_columns
from tasks.imported_ratings import imported_files
from tasks.kinds import Log
from tasks.log_stages import ReadLogs, contents_of, extract, files_of, sample
from tasks.ranked_list_stages import content_of, describe_match, match_file, refuse_uncovered, retrieve_listed
from tasks.ranker_stages import refuse_deep
from tasks.retrieval_stages import refuse_impossible


def describe_experiment(path: Path) -> str:
    """The description of an experiment's logs and plan. Extracts the log as a run does; trains nothing."""
    spec = load_experiment(path)
    logs = files_of(spec.logs, world_log(spec))
    refuse_absent(logs, spec.lists)
    log: Log = submit(extract, (), logs, spec.split, contents_of(logs))
    report = json.loads((log.folder / "report.json").read_text())
    return f"{path}: the file is valid.\n\n{describe(report)}\n{_plan(spec, report, log, logs)}"


def _plan(spec: Experiment, report: dict[str, Any], log: Log, logs: ReadLogs) -> str:
    """The arms, questions and indexes of the experiment, each with the reason if these logs do not allow it."""
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
            or _missing_features(spec, arm, log, logs)
            or _missing_ratings(spec, arm)
        )
    }
    lines += [f"  {arm} cannot be trained: {reason}." for arm, reason in reasons.items()]
    for name, question in spec.questions.items():
        arms = [trained_arm(arm) for arm in (question.baseline, *question.arms)]
        parts = [part for arm in arms for part in (arm, *arms_behind(spec, arm))]
        missing = [arm for arm in dict.fromkeys(parts) if arm in reasons]
        verdict = f"cannot be answered without {', '.join(missing)}" if missing else "can be answered"
        lines.append(f"  {name} ({question.title or 'no title'}): {verdict}.")
    lines += [f"  index {name} cannot be built: {reason}." for name, reason in _impossible_indexes(spec, report)]
    lines += list(_own_lists(spec, log))
    lines += [f"  a run would be refused: {reason}." for reason in _refusals(spec, log)]
    searchers = report["splits"].get("test", {}).get("searchers", 0)
    if report["signed_in"] and searchers < FEW_CLUSTERS:
        lines.append(f"  the test has {searchers} searchers: too few for intervals, which need {FEW_CLUSTERS}.")
    return "\n".join(lines)


def arms_behind(spec: Experiment, name: str) -> list[str]:
    """The arms that the ensemble or list of this name combines; empty for an arm."""
    if name in spec.ensembles:
        return list(dict.fromkeys(spec.ensembles[name].parts))
    sources = spec.combined_lists[name].sources.values() if name in spec.combined_lists else ()
    return list(dict.fromkeys(part for arm in sources for part in (arms_behind(spec, arm) or [arm])))


def _impossible_indexes(spec: Experiment, report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(index, reason) for each index that the corpus is too small for."""
    documents = report["tables"]["documents"]["kept"]
    for name, index in spec.indexes.items():
        reasons = [reason for d in spec.dimensions if (reason := problem(index, documents, d))]
        if reasons:
            yield name, reasons[0]


def _own_lists(spec: Experiment, log: Log) -> Iterator[str]:
    """A line for each ranked list of the user: what of it matches the log, and the searches that it covers."""
    test = submit(sample, (), log, "test", spec.evaluation.searches, spec.logs.judged_from)
    ks = spec.evaluation.ks
    for name, path in spec.lists.items():
        file = RankedFile(name=name, path=path)
        try:
            ranked = submit(match_file, (name,), log, file, content_of(file))
            rows = submit(retrieve_listed, (name,), ranked, log, test, max(ks), ks)
            refuse_uncovered(file, rows)
        except InputError as error:
            yield f"  a run would be refused: {str(error).rstrip('.')}."
            continue
        yield f"  list {name}: {describe_match(rows)}."


def _refusals(spec: Experiment, log: Log) -> Iterator[str]:
    """The errors of a run that depend on the documents alive in the test."""
    try:
        test = submit(
            sample, (), log, "test", spec.evaluation.searches, spec.logs.judged_from, exclude=spec.evaluation.exclude
        )
        refuse_impossible(test, (), (), max(spec.evaluation.ks))
        refuse_deep(test, spec.rankers)
    except InputError as error:
        yield str(error).rstrip(".")


def _missing_features(spec: Experiment, name: str, log: Log, logs: ReadLogs) -> str | None:
    """The reason why this log cannot provide the features of an arm, None if it can."""
    reads = spec.arms[name].features
    try:
        columns = submit(extract_columns, (), logs, log, contents_of(logs), reads) if needs_columns(reads) else None
        check_features(log, reads, columns)
    except InputError as error:
        return str(error).rstrip(".")
    return None


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
    if not train.get("searches"):
        return "these logs have no training part"
    if arm.negatives.impressions and not not_clicked:
        return "negatives.impressions needs results that were shown and not clicked, and results.clicked is always true"
    if arm.positives.source != "clicks" and not not_clicked:
        return f"positives.source: {arm.positives.source} needs results that were shown and not clicked"
    return None
