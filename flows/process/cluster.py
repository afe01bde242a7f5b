"""Run the stages of a flow in threads of its process, or on a Dask cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, cast

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from data.experiment.runner_config import Dask
from ebr_core.errors import InputError

T = TypeVar("T")

# With one thread an arm, arms run side by side and share the cores without waiting for each other (see LOG.md).
RUNNER: TaskRunner[PrefectFuture[Any]] = ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1)  # type: ignore[assignment]


def cluster_of(runner: Literal["threads"] | Dask) -> TaskRunner[Any] | None:
    """The Dask cluster that an experiment's `runner` names, None for threads or if this flow runs on a cluster already.

    Raises InputError if no scheduler answers at the address, or if it has no workers.
    """
    if not isinstance(runner, Dask):
        return None
    import dask
    from prefect_dask.task_runners import DaskTaskRunner

    context = FlowRunContext.get()
    if context and isinstance(context.task_runner, DaskTaskRunner):
        return None
    logging.getLogger("distributed").setLevel(logging.WARNING)
    dask.config.set(
        {"distributed.comm.timeouts.tcp": "300s"}
    )  # a worker that compiles kernels does not answer for long
    if runner.address is None:
        local = {"n_workers": runner.workers, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
        return DaskTaskRunner(cluster_kwargs=local)
    _refuse_silent(runner.address)
    return DaskTaskRunner(address=runner.address)


def _refuse_silent(address: str) -> None:
    import distributed

    try:
        with distributed.Client(address, timeout=10, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            if not client.scheduler_info()["workers"]:
                raise InputError(f"runner.address: the scheduler at {address} has no workers; start some")
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            f"runner.address: no Dask scheduler answers at {address} ({type(error).__name__}); start one with `dask "
            "scheduler`, or leave address out for a cluster on this machine"
        ) from error


def run_on(cluster: TaskRunner[Any], flow: Flow[[str], T | State[T]], experiment: str) -> T | State[T]:
    """The result of the flow for the experiment, run as a subflow of the caller, with its stages on the cluster."""
    with reachable():
        state: State[Any] = flow.with_options(task_runner=cluster)(experiment, return_state=True)
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    return Failed(data=outcome, message=state.message) if state.is_failed() else cast(T, outcome)


@contextmanager
def reachable() -> Iterator[None]:
    """Give the workers the address of this run's Prefect server; otherwise each would start its own."""
    with get_client(sync_client=True) as client:
        api = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: api}):
        yield
