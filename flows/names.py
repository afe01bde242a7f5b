"""Names of task runs."""

from __future__ import annotations

from prefect import Task

from tasks.artifacts import Artifact


def named(stage: Task[..., Artifact], *parts: str | int) -> Task[..., Artifact]:
    """The stage under a name that says for whom it runs, on the pages and beside the bars."""
    return stage.with_options(task_run_name=" ".join([stage.name, *map(str, parts)]))
