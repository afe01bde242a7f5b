"""What an evaluation checks beside its figures: lists above the oracle, and what a refit gained."""

from __future__ import annotations

from typing import Any

import numpy as np

from data.experiment.experiment_spec import ORACLES, REFIT, Evaluation
from ebr_core.measure.intervals import bootstrap
from ebr_core.search.index_specs import NO_INDEX
from tasks.list_measures import EvaluatedRun, MetricsByRun, clusters_of


def find_above_oracle(searches: dict[str, Any], measured: MetricsByRun, evaluation: Evaluation) -> list[str]:
    """The runs that beat the Bayes-optimal list beyond the interval of the difference, which only a leak explains.

    Only the first search of each session counts: a search after a failed one holds more than the oracle can see.
    """
    first, best = searches["attempt"] == 1, EvaluatedRun("oracle-everything", None, NO_INDEX)
    runs = [run for run in measured if run.arm not in ORACLES]
    if not first.any() or best not in measured or not runs:
        return []
    names = f"recall@{max(evaluation.ks)}", f"recall@{evaluation.main_k}"
    columns = [(run, name, (measured[run][name] - measured[best][name])[first]) for run in runs for name in names]
    clusters = clusters_of(searches)[first]
    intervals = bootstrap(np.column_stack([column for *_, column in columns]), clusters, evaluation.resamples)
    return [
        f"{run.arm} through {run.index_name} is above the oracle on {name} by {interval.value:.3f} "
        f"[{interval.low:.3f}, {interval.high:.3f}]: something leaks"
        for (run, name, _), interval in zip(columns, intervals, strict=True)
        if interval.low > 0
    ]


def compare_refits(
    name: str, searches: dict[str, Any], measured: MetricsByRun, evaluation: Evaluation
) -> list[dict[str, Any]]:
    """The paired difference of each refit to what it repeats, with the same seed and index, on a target set."""
    metric, clusters = f"recall@{evaluation.main_k}", clusters_of(searches)
    refits = [run for run in measured if run.is_exact and run.arm.endswith(REFIT)]
    pairs = [(run, run._replace(arm=run.arm.removesuffix(REFIT))) for run in refits]
    pairs = [(run, source) for run, source in pairs if source in measured]
    if not pairs:
        return []
    differences = np.column_stack([measured[run][metric] - measured[source][metric] for run, source in pairs])
    intervals = bootstrap(differences, clusters, evaluation.resamples)
    return [
        {"targets": name, "arm": run.arm, "of": source.arm, "metric": metric, "difference": interval.value}
        | ({} if np.isnan(interval.low) else {"low": interval.low, "high": interval.high})
        for (run, source), interval in zip(pairs, intervals, strict=True)
    ]
