"""Clean up after killed runs: processes, half-written folders, and flow runs that Prefect still lists as running, with
the concurrency slots that they hold."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.home import home
from tasks.process_identity import identity, is_gone, own_identity

RUN = "EBR_RUN_PROCESS"  # environment variable of all that a run or `ebr ui` starts: the identity of that process
HOST, PROCESS = "ebr.host", "ebr.process"  # labels of a flow run
FLOW_RUN = "PREFECT__FLOW_RUN_ID"  # environment variable of a process that a worker started
GRACE_S = 8.0


def begin() -> None:
    """Write this process into the labels of the flow run, and clean up after killed runs: the first step of a flow.

    Raises InputError if the budget of the disk is no number.
    """
    from prefect import get_client
    from prefect.context import FlowRunContext

    from flows.process import signals
    from tasks.artifacts import clear_kept, clear_unfinished
    from tasks.disk_budget import budget, mark_running

    budget()
    mark_running()
    clear_unfinished()
    clear_kept()
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    signals.watch(context.flow_run.id)
    with get_client(sync_client=True) as client:
        labels: dict[str, Any] = {HOST: socket.gethostname(), PROCESS: own_identity()}
        client.update_flow_run_labels(context.flow_run.id, labels)
    close_runs()


def end() -> None:
    """Remove what the budget of the disk does not allow: the last step of a flow."""
    from prefect import get_run_logger

    from tasks.disk_budget import hold_budget

    if sentence := hold_budget():
        get_run_logger().warning(sentence)


def end_orphans() -> None:
    """End the processes that killed runs and pages of this home left behind: temporary Prefect servers, or the servers,
    the worker and the runs of `ebr ui`. From here on, every process that this one starts carries its identity."""
    _end(is_gone)
    os.environ[RUN] = own_identity()


def end_descendants() -> None:
    """End all processes that this one started, directly or indirectly, in any session."""
    _end(lambda run: run == own_identity())


def close_runs(starting: bool = False) -> list[str]:
    """Mark runs of dead processes as crashed, which frees their concurrency slots; returns the names of these runs.

    Runs on other machines are left alone. starting: no worker of this home runs yet, so a run without a process label
    has no process.
    """
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    kinds = [StateType.RUNNING, StateType.CANCELLING, *([StateType.PENDING] if starting else [])]
    names, offset = [], 0
    with get_client(sync_client=True) as client:
        unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds)))
        while runs := client.read_flow_runs(flow_run_filter=unfinished, limit=200, offset=offset):
            dead = [run for run in runs if _is_dead(run.labels, str(run.id), starting and bool(run.deployment_id))]
            for run in dead:
                crashed = Crashed(message="Its process was killed; the same command resumes the run.")  # type: ignore[var-annotated]
                client.set_flow_run_state(run.id, crashed, force=True)
                names.append(run.name)
            offset += len(runs) - len(dead)
    return names


def _is_dead(labels: dict[str, Any], run: str, starting: bool) -> bool:
    """True if no process works on a flow run: neither one of a worker nor the one that its labels name."""
    if any(environment.get(FLOW_RUN) == run for _, environment, _ in _processes()):
        return False
    if PROCESS not in labels:
        return starting
    return is_gone(str(labels[PROCESS]), str(labels[HOST]))


def _end(matches: Callable[[str], bool]) -> None:
    """Ask the processes of the runs that `matches` accepts, in this home, to stop; kill them after a while."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        pids = [
            pid
            for pid, environment, command in _processes()
            if environment.get("EBR_HOME") == str(home()) and _is_server(command)
            if environment.get(RUN) and matches(environment[RUN])
        ]
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signum)
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and any(identity(pid) for pid in pids):
            time.sleep(0.05)


def _is_server(command: list[str]) -> bool:
    """True for a process of Prefect or MLflow, and for one that such a process forked."""
    return any(word in part for part in command[1:] for word in ("prefect", "mlflow", "multiprocessing"))


def _processes() -> Iterator[tuple[int, dict[str, str], list[str]]]:
    """The number, environment and command of every other process that this user may inspect."""
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        with suppress(OSError, UnicodeDecodeError):  # another user's process, or one that just ended
            variables = (folder / "environ").read_text().split("\0")
            environment = dict(variable.split("=", 1) for variable in variables if "=" in variable)
            yield int(folder.name), environment, (folder / "cmdline").read_text().split("\0")
