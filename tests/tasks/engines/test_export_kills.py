"""Ten exports to each real engine are killed at random moments: the old version answers, the next export finishes."""

from __future__ import annotations

import multiprocessing
import random
from multiprocessing.synchronize import Event
from pathlib import Path
from time import monotonic, sleep

import pytest

from tasks.engines.engine_export import export_model
from tasks.engines.opened_engine import EngineAddress, open_engine
from tests.engine_bundles import large_bundle
from tests.postgres import Postgres
from tests.tasks.engines.conftest import SHOW, new_database
from tests.tasks.engines.engine_contents import Content, content_of, content_of_bundle

pytestmark = pytest.mark.more
KILLS, DOCUMENTS, BATCH = 10, 2000, 50


def export(address: EngineAddress, folder: Path, ready: Event) -> None:
    """Export once the client is imported, which takes as long as the export itself."""
    open_engine(address).close()
    ready.set()
    export_model(address, folder, SHOW, None, BATCH)


def start(address: EngineAddress, folder: Path) -> multiprocessing.process.BaseProcess:
    """A process that exports, from now on; it is forked from one that has imported all but the clients."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tasks.engines.engine_export"])
    ready = context.Event()
    process = context.Process(target=export, args=(address, folder, ready))
    process.start()
    assert ready.wait(120)
    return process


def state_of(address: EngineAddress, new: Content) -> str:
    """How far the killed export had come, in words."""
    opened = open_engine(address)
    live = opened.live()
    assert live
    written = {version.name: version for version in opened.versions()} if live.previous is None else {}
    opened.close()
    others = [name for name in written if name != live.version.name]
    rows = len(content_of(address, others[0])) if others else 0
    return "promoted" if live.previous else f"{rows} of {len(new)} documents"


@pytest.mark.parametrize("kind", ["lancedb", "pgvector"])
def test_a_killed_export_leaves_the_old_version_answering(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("EBR_HOME", str(tmp_path / "home"))
    old, new = (large_bundle(tmp_path / str(seed), DOCUMENTS, seed) for seed in (1, 2))
    old_content, new_content = content_of_bundle(old), content_of_bundle(new)
    server: Postgres | None = request.getfixturevalue("postgres") if kind == "pgvector" else None

    def fresh(number: int) -> EngineAddress:
        """An engine in which the old model answers."""
        name = f"kill_{number}"
        url = str(tmp_path / name) if server is None else new_database(server, name)
        address = EngineAddress("lancedb" if server is None else "pgvector", url, "shop")
        export_model(address, old, SHOW)
        return address

    address = fresh(-1)
    undisturbed = start(address, new)
    began = monotonic()
    undisturbed.join()
    seconds = monotonic() - began
    assert undisturbed.exitcode == 0
    rng, killed, states = random.Random(7), 0, []
    address = fresh(0)
    for number in range(2 * KILLS):
        process = start(address, new)
        sleep(seconds * (number % KILLS + rng.random()) / KILLS)
        process.kill()
        process.join()
        killed += process.exitcode == -9
        state = state_of(address, new_content)
        states.append(state if process.exitcode == -9 else "ended before the kill")
        assert content_of(address, "shop") == (new_content if state == "promoted" else old_content), states
        if rng.random() < 0.5 or state == "promoted":  # else one more kill before it may finish
            export_model(address, new, SHOW, None, BATCH)
            assert content_of(address, "shop") == new_content, states
            if killed >= KILLS:
                break
            address = fresh(number + 1)
    print(kind, f"{seconds:.1f} s undisturbed;", "; ".join(states))  # shown with -s
    assert killed >= KILLS
