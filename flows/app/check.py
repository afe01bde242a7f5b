"""What `ebr check` says: the logs as they are, the split, and what these logs cannot answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.check import describe
from data.experiment import Experiment, arm_of, load_experiment
from data.fingerprint import refuse_absent
from data.logs import Simulated
from ebr_core.config import InputError
from ebr_core.index import problem
from ebr_core.intervals import FEW_CLUSTERS
from tasks.artifacts import Artifact
from tasks.features import examine, extract_columns, needs_columns
from tasks.feedback import imported_of
from tasks.logs import ReadLogs, contents_of, extract, live, sample
from tasks.ranking import refuse_deep
from tasks.retrieval import refuse_impossible


def describe_experiment(path: Path) -> str:
    """Reads the logs as a run would (and keeps the extraction for it), trains nothing, and says what was found."""
    asked = load_experiment(path)
    logs = asked.logs.tables(live.fn(asked.logs.world).folder) if isinstance(asked.logs, Simulated) else asked.logs
    refuse_absent(logs)
    log: Artifact = extract.fn(logs, asked.split, contents_of(logs))
    report = json.loads((log.folder / "report.json").read_text())
    return f"{path}: the file is valid.\n\n{describe(report)}\n{_plan(asked, report, log, logs)}"


def _plan(asked: Experiment, report: dict[str, Any], log: Artifact, logs: ReadLogs) -> str:
    """What would be trained and asked, and which of it these logs do not allow."""
    lines = [f"{len(asked.arms)} arms × {len(asked.seeds)} seeds would be trained: {', '.join(asked.arms) or 'none'}."]
    if again := {
        run for its in asked.ensembles.values() for seed in asked.seeds for run in its.runs(seed, asked.seeds)
    }:
        others = sorted(f"{arm}, seed {seed}" for arm, seed in again if seed not in asked.seeds)
        lines += [f"  and again for ensembles: {'; '.join(others)}."] if others else []
    lacking = {
        arm: reason
        for arm in asked.arms
        if (reason := _lacks(asked, arm, report) or _unread(asked, arm, log, logs) or _unrated(asked, arm))
    }
    lines += [f"  {arm} cannot be trained: {reason}." for arm, reason in lacking.items()]
    for name, question in asked.questions.items():
        compared = [arm_of(arm) for arm in (question.baseline, *question.arms)]
        asked_of = [part for arm in compared for part in (arm, *_made_of(asked, arm))]
        missing = [arm for arm in dict.fromkeys(asked_of) if arm in lacking]
        verdict = f"cannot be answered, for want of {', '.join(missing)}" if missing else "can be answered"
        lines.append(f"  {name} ({question.title or 'no title'}): {verdict}.")
    lines += [f"  index {name} cannot be built: {reason}." for name, reason in _unbuilt(asked, report)]
    lines += [f"  a run is refused: {told}." for told in _refused(asked, log)]
    searchers = report["splits"].get("test", {}).get("searchers", 0)
    if report["signed_in"] and searchers < FEW_CLUSTERS:
        lines.append(f"  the test has {searchers} searchers: too few for intervals, which need {FEW_CLUSTERS}.")
    return "\n".join(lines)


def _made_of(asked: Experiment, name: str) -> list[str]:
    """The arms that an ensemble, a cascade, a ranker, a filter or a retrieval of this name is made of."""
    if name in asked.ensembles:
        return list(dict.fromkeys(asked.ensembles[name].parts))
    if name in asked.cascades:
        both = asked.cascades[name].first, asked.cascades[name].then
        return [part for one in both for part in (_made_of(asked, one) or [one])]
    if name in asked.filters:
        return list(dict.fromkeys((asked.filters[name].arm, *asked.filters[name].of)))
    its = asked.retrievals[name].arm if name in asked.retrievals else None
    its = asked.rankers[name].of if name in asked.rankers else its
    return [] if its is None else _made_of(asked, its) or [its]


def _unbuilt(asked: Experiment, report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The indexes that the corpus is too small for, with the reason."""
    documents = report["tables"]["documents"]["kept"]
    for name, index in asked.indexes.items():
        reasons = [reason for d in asked.dimensions if (reason := problem(index, documents, d))]
        if reasons:
            yield name, reasons[0]


def _refused(asked: Experiment, log: Artifact) -> Iterator[str]:
    """What a run says as soon as it knows the documents alive in the test."""
    try:
        test = sample.fn(log, "test", asked.evaluation.searches, asked.logs.judged_from)
        refuse_impossible(test, (), (), max(asked.evaluation.ks))
        refuse_deep(test, asked.rankers)
    except InputError as error:
        yield str(error).rstrip(".")


def _unread(asked: Experiment, name: str, log: Artifact, logs: ReadLogs) -> str | None:
    """Why the groups of an arm cannot be had of this log, None where they can."""
    reads = asked.arms[name].reads
    try:
        columns = extract_columns.fn(logs, log, contents_of(logs), reads) if needs_columns(reads) else None
        examine(log, reads, columns)
    except InputError as error:
        return str(error).rstrip(".")
    return None


def _unrated(asked: Experiment, name: str) -> str | None:
    """Why the ratings of an arm cannot be had, None where they can, or it needs none."""
    ratings, imported = asked.arms[name].ratings, asked.feedback.imported
    if ratings is None or not asked.people_rate or imported is None:
        return None
    missing = [arm for arm in ratings.of if not imported_of(imported, arm)]
    return f"nobody has rated what {', '.join(missing)} retrieves (ebr ratings export)" if missing else None


def _lacks(asked: Experiment, name: str, report: dict[str, Any]) -> str | None:
    """Why an arm cannot be trained on the log of this report, None where it can."""
    arm, train = asked.arms[name], report["splits"].get("train", {})
    not_clicked = train.get("impressions", 0) - train.get("clicks", 0)
    if not train.get("searches"):
        return "these logs have no training part"
    if arm.negatives.impressions and not not_clicked:
        return "negatives.impressions needs results that were shown and not clicked, and results.clicked is always true"
    if arm.positives.source != "clicks" and not not_clicked:
        return f"positives.source: {arm.positives.source} needs results that were shown and not clicked"
    return None
