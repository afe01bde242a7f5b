"""Models that may have learned from answers of the test."""

from __future__ import annotations

from collections.abc import Iterable

from data.experiment.experiment_spec import Experiment
from tasks.graph_stage import leak_remark
from tasks.kinds import Log
from tasks.leaks import is_leak


def leaking_models(spec: Experiment, log: Log, names: Iterable[str]) -> dict[str, str]:
    """Model → how it has learned from answers of the test; none of those that only may have."""
    remarks = {name: leak_of(spec, log, name) for name in names}
    return {name: f"it {remark}" for name, remark in remarks.items() if is_leak(remark)}


def leak_of(spec: Experiment, log: Log, name: str) -> str | None:
    """The reason why an arm, an ensemble or a list made of arms may have learned from answers of the test; None without
    one."""
    arms = spec.combined_lists[name].vector_sources if name in spec.combined_lists else (name,)
    parts = spec.with_sources([part for arm in arms for part in spec.parts_of(arm)])
    remarks = [remark for part in parts if (remark := leak_remark(log, spec.arms[part].features))]
    return next(filter(is_leak, remarks), remarks[0] if remarks else None)
