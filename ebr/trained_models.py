"""Models: an arm that is trained now, or one that a run or a night has made."""

from __future__ import annotations

from pathlib import Path

from ebr.experiment_log import ExperimentLog
from ebr_core.serving.model_bundle import Bundle, open_bundle
from flows.arm_models import bundle_model, train_model
from tasks.served_models import bundle_of, models_of


def train(log: ExperimentLog, arm: str) -> Bundle:
    """The model of an arm, trained with the experiment's first seed, which `search` and `embed_queries` ask.

    Its artifacts are those of `ebr run`, the same bytes by the same names: what a run has trained is opened at once,
    and a later run reuses what was trained here. Raises InputError if the experiment has no such arm.
    """
    return open_bundle(bundle_model(log.prepared, train_model(log.prepared, arm)).folder)


def open_model(experiment: str | None = None, model: str | None = None, folder: Path | None = None) -> Bundle:
    """A model that a run or a night has made, opened and verified.

    experiment: its name; None for the one that ran last. model: an arm, ensemble, cascade or ranker of it; None for the
    champion. folder: that of a bundle, in place of both. Raises InputError if there is none, or if its files changed.
    """
    return open_bundle(folder or bundle_of(models_of(experiment), model))
