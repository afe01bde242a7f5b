"""What outlives a run that was killed is ended by the next one, and nothing else is; its slot is freed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import ConcurrencyOptions, State
from prefect.settings import get_current_settings
from prefect.states import Pending, Running

from flows.process.cleanup import HOST, PREFECTS, PROCESS, RUN, close_runs, end_orphans, end_own
from tasks.home import home
from tasks.process_identity import myself


@contextmanager
def _process(*words: str, **told: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with these words in its command and with this in its environment, that will not end by itself."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(120)"
    process = subprocess.Popen([sys.executable, "-c", deaf, *words], env=os.environ | told, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it runs, so its environment is its own
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_only_servers_of_dead_runs_of_this_home_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN, "")
    monkeypatch.setattr("flows.process.cleanup.GRACE_S", 0.5)
    me, mine = myself(), str(home())
    recycled = f"{os.getpid()}:1"  # the number is mine, but it was another process's then
    with (
        _process("prefect.server", EBR_HOME=mine, **{RUN: recycled}) as server,
        _process("mlflow.server", EBR_HOME=mine, **{RUN: recycled}) as page,
        _process("prefect.server", EBR_HOME=mine, **{RUN: me}) as of_the_living,
        _process("prefect.server", EBR_HOME="/another/home", **{RUN: recycled}) as of_another_home,
        _process("something.else", EBR_HOME=mine, **{RUN: recycled}) as something_else,
    ):
        end_orphans()
        assert server.wait(timeout=30) < 0
        assert page.wait(timeout=30) < 0
        time.sleep(0.2)
        assert [kept.poll() for kept in (of_the_living, of_another_home, something_else)] == [None] * 3
        assert os.environ[RUN] == me
        end_own()
        assert of_the_living.wait(timeout=30) < 0
        assert [kept.poll() for kept in (of_another_home, something_else)] == [None] * 2


@flow
def nothing() -> None:
    """Stands for a night."""


def test_a_slot_that_a_killed_run_holds_is_freed(prefect_server: None) -> None:
    with get_client(sync_client=True) as client, _process(PROCESS, **{PREFECTS: str(uuid.uuid4())}):
        deployment = client.create_deployment(
            client.create_flow(nothing),
            f"one-at-a-time-{uuid.uuid4()}",
            concurrency_limit=1,  # as in prefect.yaml
            concurrency_options=ConcurrencyOptions(collision_strategy="ENQUEUE"),
        )
        night, remote, next_night = (client.create_flow_run_from_deployment(deployment) for _ in range(3))
        assert _told(client, night.id, Pending()) == "Pending"
        assert _told(client, night.id, Running()) == "Running"
        with _process("prefect.engine", **{PREFECTS: str(night.id)}) as worker:
            assert close_runs(starting=True) == []
            assert _told(client, next_night.id, Pending()) == "AwaitingConcurrencySlot"
            worker.kill()
            worker.wait()
        assert _told(client, next_night.id, Pending()) == "AwaitingConcurrencySlot"  # this is the wedge
        client.update_flow_run_labels(night.id, {HOST: "elsewhere", PROCESS: "1:1"})
        assert close_runs(starting=True) == []  # nobody here can know
        client.update_flow_run_labels(night.id, {HOST: os.uname().nodename, PROCESS: f"{os.getpid()}:1"})
        assert close_runs() == [night.name]
        assert client.read_flow_run(night.id).state_name == "Crashed"
        assert _told(client, next_night.id, Pending()) == "Pending"
        assert close_runs() == []  # a worker may be about to begin it
        assert close_runs(starting=True) == [next_night.name]
        assert _told(client, remote.id, Pending()) == "Pending"


def _told(client: SyncPrefectClient, run: uuid.UUID, state: State[None]) -> str:
    """The state that a run has after it was proposed another."""
    client.set_flow_run_state(run, state)
    return str(client.read_flow_run(run).state_name)


def test_leases_outlive_the_server() -> None:
    assert get_current_settings().server.concurrency.lease_storage.endswith(".filesystem")
