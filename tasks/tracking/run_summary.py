"""What a run's own line in MLflow says: the champion's recall beside BM25's, the difference, and the verdict."""

from __future__ import annotations

from math import isnan

from data.experiment.experiment_spec import LOGGED
from tasks.report.answers import finding_word
from tasks.report.formats import count
from tasks.report.page import without_markup
from tasks.report.recommendation import champion_difference, recommendation, served_levels
from tasks.report.result import REFERENCE, Result
from tasks.tracking.run_metrics import answer_metric

LONGEST = 5_000  # characters of a tag or a description


def summary_metrics(result: Result) -> dict[str, float]:
    """The champion's main recall, under the name that arms have it, then that of baselines, of the log's own order and
    of the user's lists, and the difference to BM25 with its interval. Empty without a champion."""
    levels, champion, measure = served_levels(result), result.champion, f"recall_at_{result.k}"
    if champion not in levels:
        return {}
    names = (*result.baselines, LOGGED)
    metrics = {measure: levels[str(champion)]}
    metrics |= {f"{name}_{measure}": levels[name] for name in names if name in levels}
    row = champion_difference(result, REFERENCE)
    ends = (("", row.difference), ("_low", row.family_low), ("_high", row.family_high)) if row else ()
    metrics |= {f"difference_to_{REFERENCE}{end}": value for end, value in ends if not isnan(value)}
    return {answer_metric(name): value for name, value in metrics.items()}


def summary_tags(result: Result) -> dict[str, str]:
    """The verdict on the champion against BM25, in a word, and the first line of the report."""
    row = champion_difference(result, REFERENCE)
    undecided = row is not None and row.open_because
    verdict = "no model" if result.champion is None else "not compared"
    if row is not None:
        verdict = "not decided" if undecided else finding_word(row)
    return {"verdict": verdict, "answer": without_markup(recommendation(result))[:LONGEST]}


def describe_champion(result: Result) -> str:
    """The description of the champion in the registry: what it finds, how sure that is, and on what."""
    counts = next((counts for counts in result.counts if counts["targets"] == result.main), None)
    searches = f" Measured on {count(counts['sampled'])} searches of the test." if counts else ""
    made = f"Made {result.run['made_at'].replace('T', ' ').replace('+00:00', ' UTC')} by `{result.run['experiment']}`."
    return f"{recommendation(result)}{searches} {made}"[:LONGEST]
