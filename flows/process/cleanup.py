"""What killed runs leave behind, and how the next one clears it up: processes, half-written folders, runs that Prefect
still takes for living and the concurrency slots that these hold."""

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
from tasks.process import identity, is_gone, myself

RUN = "EBR_RUN_PROCESS"  # in the environment of all that a run or `ebr ui` starts: who it was
HOST, PROCESS = "ebr.host", "ebr.process"  # labels of a flow run
PREFECTS = "PREFECT__FLOW_RUN_ID"  # in the environment of a process that a worker started
GRACE_S = 8.0


def begin() -> None:
    """The first step of a flow: says in the run's labels which process it is, and clears up what killed runs left."""
    from prefect import get_client
    from prefect.context import FlowRunContext

    from flows.process import signals
    from tasks.artifacts import clear_unfinished

    clear_unfinished()
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    signals.watch(context.flow_run.id)
    with get_client(sync_client=True) as client:
        labels: dict[str, Any] = {HOST: socket.gethostname(), PROCESS: myself()}
        client.update_flow_run_labels(context.flow_run.id, labels)
    close_runs()


def end_orphans() -> None:
    """Ends what is left of runs and pages of this home that were killed and could not end it: temporary Prefect
    servers, or `ebr ui`'s servers, worker and runs. Then leaves this process's own name to all that it starts."""
    _end(is_gone)
    os.environ[RUN] = myself()


def end_own() -> None:
    """Ends what this process started and what those started, in whatever session."""
    _end(lambda run: run == myself())


def close_runs(starting: bool = False) -> list[str]:
    """Marks as crashed what Prefect takes for living though its process is gone, which frees its concurrency slot; the
    names of these runs. A run of another machine is left alone.

    starting: no worker of this home is there yet, so a run that no process was found for has none.
    """
    from prefect import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    kinds = [StateType.RUNNING, StateType.CANCELLING, *([StateType.PENDING] if starting else [])]
    closed, offset = [], 0
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds)))
        while there := client.read_flow_runs(flow_run_filter=wanted, limit=200, offset=offset):
            dead = [run for run in there if _is_dead(run.labels, str(run.id), starting and bool(run.deployment_id))]
            for run in dead:
                gone = Crashed(message="Its process was killed; the same command goes on where it was.")  # type: ignore[var-annotated]
                client.set_flow_run_state(run.id, gone, force=True)
                closed.append(run.name)
            offset += len(there) - len(dead)
    return closed


def _is_dead(labels: dict[str, Any], run: str, starting: bool) -> bool:
    if any(told.get(PREFECTS) == run for _, told, _ in _processes()):
        return False
    if PROCESS not in labels:
        return starting
    return is_gone(str(labels[PROCESS]), str(labels[HOST]))


def _end(meant: Callable[[str], bool]) -> None:
    """Asks processes of this home to stop whose run is meant, and makes them after a while."""
    for wish in (signal.SIGTERM, signal.SIGKILL):
        chosen = [
            pid
            for pid, told, command in _processes()
            if told.get("EBR_HOME") == str(home()) and told.get(RUN) and meant(told[RUN]) and _is_server(command)
        ]
        for pid in chosen:
            with suppress(OSError):
                os.kill(pid, wish)
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until and any(identity(pid) for pid in chosen):
            time.sleep(0.05)


def _is_server(command: list[str]) -> bool:
    """Whether it is one of Prefect's or MLflow's processes, or one that such a process forked."""
    return any(word in part for part in command[1:] for word in ("prefect", "mlflow", "multiprocessing"))


def _processes() -> Iterator[tuple[int, dict[str, str], list[str]]]:
    """All processes but this one that this user may look into: number, environment, command."""
    for place in Path("/proc").glob("[0-9]*"):
        if place.name == str(os.getpid()):
            continue
        with suppress(OSError, UnicodeDecodeError):  # somebody else's, or it just ended
            told = dict(part.split("=", 1) for part in (place / "environ").read_text().split("\0") if "=" in part)
            yield int(place.name), told, (place / "cmdline").read_text().split("\0")
