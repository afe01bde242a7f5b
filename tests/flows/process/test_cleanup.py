"""The next run ends the processes that a killed run left behind, and no others, and frees its slot."""

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

from flows.process.cleanup import FLOW_RUN, HOST, PROCESS, RUN, close_runs, end_descendants, end_orphans
from tasks.home import home
from tasks.process_identity import own_identity


@contextmanager
def _process(*words: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with these words in its command and these variables in its environment, which ignores SIGTERM."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(120)"
    process = subprocess.Popen([sys.executable, "-c", deaf, *words], env=os.environ | variables, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it runs, so its environment is its own
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_only_the_servers_of_dead_runs_of_this_home_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN, "")
    monkeypatch.setattr("flows.process.cleanup.GRACE_S", 0.5)
    identity, this_home = own_identity(), str(home())
    recycled = f"{os.getpid()}:1"  # the number of this process, which another process had before
    with (
        _process("prefect.server", EBR_HOME=this_home, **{RUN: recycled}) as server,
        _process("mlflow.server", EBR_HOME=this_home, **{RUN: recycled}) as page,
        _process("prefect.server", EBR_HOME=this_home, **{RUN: identity}) as server_of_this_run,
        _process("prefect.server", EBR_HOME="/another/home", **{RUN: recycled}) as server_of_another_home,
        _process("something.else", EBR_HOME=this_home, **{RUN: recycled}) as another_program,
    ):
        end_orphans()
        assert server.wait(timeout=30) < 0
        assert page.wait(timeout=30) < 0
        time.sleep(0.2)
        assert [process.poll() for process in (server_of_this_run, server_of_another_home, another_program)] == [
            None
        ] * 3
        assert os.environ[RUN] == identity
        end_descendants()
        assert server_of_this_run.wait(timeout=30) < 0
        assert [process.poll() for process in (server_of_another_home, another_program)] == [None] * 2


@flow
def nothing() -> None:
    """Stand in for a night."""


def test_a_slot_that_a_killed_run_holds_is_freed(prefect_server: None) -> None:
    with get_client(sync_client=True) as client, _process(PROCESS, **{FLOW_RUN: str(uuid.uuid4())}):
        deployment = client.create_deployment(
            client.create_flow(nothing),
            f"one-at-a-time-{uuid.uuid4()}",
            concurrency_limit=1,  # as in prefect.yaml
            concurrency_options=ConcurrencyOptions(collision_strategy="ENQUEUE"),
        )
        night, remote, next_night = (client.create_flow_run_from_deployment(deployment) for _ in range(3))
        assert _proposed_state(client, night.id, Pending()) == "Pending"
        assert _proposed_state(client, night.id, Running()) == "Running"
        with _process("prefect.engine", **{FLOW_RUN: str(night.id)}) as worker:
            assert close_runs(starting=True) == []
            assert _proposed_state(client, next_night.id, Pending()) == "AwaitingConcurrencySlot"
            worker.kill()
            worker.wait()
        assert (
            _proposed_state(client, next_night.id, Pending()) == "AwaitingConcurrencySlot"
        )  # the dead run holds the slot
        client.update_flow_run_labels(night.id, {HOST: "elsewhere", PROCESS: "1:1"})
        assert close_runs(starting=True) == []  # this machine cannot know
        client.update_flow_run_labels(night.id, {HOST: os.uname().nodename, PROCESS: f"{os.getpid()}:1"})
        assert close_runs() == [night.name]
        assert client.read_flow_run(night.id).state_name == "Crashed"
        assert _proposed_state(client, next_night.id, Pending()) == "Pending"
        assert close_runs() == []  # a worker may be about to begin it
        assert close_runs(starting=True) == [next_night.name]
        assert _proposed_state(client, remote.id, Pending()) == "Pending"


def _proposed_state(client: SyncPrefectClient, run: uuid.UUID, state: State[None]) -> str:
    """The state of a run after this state was proposed to it."""
    client.set_flow_run_state(run, state)
    return str(client.read_flow_run(run).state_name)


def test_leases_outlive_the_server() -> None:
    assert get_current_settings().server.concurrency.lease_storage.endswith(".filesystem")
