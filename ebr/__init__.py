"""ebr from Python: load a log, train an arm, embed, search, and measure with intervals. docs/python.md shows all of it.

Each name is imported when it is first used, so that `import ebr` takes no time. That use also fixes EBR_HOME: set it
before, or leave it at `./.ebr`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ebr.arm_evaluation import evaluate as evaluate
    from ebr.experiment_log import ExperimentLog as ExperimentLog
    from ebr.experiment_log import load_log as load_log
    from ebr.experiment_log import with_arm as with_arm
    from ebr.model_queries import embed_documents as embed_documents
    from ebr.model_queries import embed_queries as embed_queries
    from ebr.model_queries import search as search
    from ebr.trained_models import open_model as open_model
    from ebr.trained_models import train as train
    from ebr_core.errors import InputError as InputError
    from ebr_core.serving.hits import Hit as Hit
    from ebr_core.serving.model_bundle import Bundle as Bundle

_MODULES = {
    "load_log": "ebr.experiment_log",
    "with_arm": "ebr.experiment_log",
    "train": "ebr.trained_models",
    "evaluate": "ebr.arm_evaluation",
    "search": "ebr.model_queries",
    "embed_queries": "ebr.model_queries",
    "embed_documents": "ebr.model_queries",
    "open_model": "ebr.trained_models",
    "ExperimentLog": "ebr.experiment_log",
    "Bundle": "ebr_core.serving.model_bundle",
    "Hit": "ebr_core.serving.query_answer",
    "InputError": "ebr_core.errors",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    """The function or class of that name, imported now. Raises AttributeError for a name that ebr does not offer."""
    if name not in _MODULES:
        raise AttributeError(f"ebr has no {name!r}; it offers {', '.join(_MODULES)}")
    from tasks.home import prepare_environment

    prepare_environment()  # before anything imports Prefect, which reads its settings once
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """The names that ebr offers."""
    return sorted(_MODULES)
