"""Logs that change while they are read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data.experiment.log_config import Split, Tables
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.errors import InputError
from tasks.artifacts import Artifact
from tasks.home import artifacts
from tasks.log_stages import contents_of, extract


def _simulated_log(folder: Path, seed: int) -> Tables:
    """A log with a folder for each day; each test has a log of its own, so that no two share an artifact."""
    for _ in simulate(World(searches=600, documents=200, days=6, seed=seed), folder):
        pass
    searches, results = (str(folder / table / "*" / "*.parquet") for table in ("searches", "results"))
    return Tables(layout="tables", searches=searches, results=results, documents=str(folder / "documents.parquet"))


def _days(logs: Tables) -> list[Path]:
    return sorted(Path(logs.results).parent.parent.glob("*/*.parquet"))


def _artifact_names() -> set[str]:
    return {path.name for path in artifacts().iterdir()}


def test_a_log_that_changes_after_it_was_named_leaves_no_artifact(tmp_path: Path) -> None:
    logs = _simulated_log(tmp_path / "log", seed=1)
    contents, earlier, days = contents_of(logs), _artifact_names(), _days(logs)
    content = days[2].read_bytes()
    shutil.copy(days[1], days[2])
    with pytest.raises(InputError, match=r"results/\*/\*.parquet: changed while it was read.*the same command"):
        extract.fn(logs, Split(), contents)
    assert _artifact_names() == earlier
    days[2].write_bytes(content)
    log: Artifact = extract.fn(logs, Split(), contents)
    assert log.folder.name in _artifact_names()


@pytest.mark.parametrize("day", [0, 3])
def test_a_truncated_or_missing_file_is_reported_as_changed_not_as_damaged(tmp_path: Path, day: int) -> None:
    logs = _simulated_log(tmp_path / "log", seed=2 + day)
    contents, earlier, file = contents_of(logs), _artifact_names(), _days(logs)[day]
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(InputError, match="changed while it was read"):
        extract.fn(logs, Split(), contents)
    file.unlink()
    with pytest.raises(InputError, match="changed while it was read"):
        extract.fn(logs, Split(), contents)
    assert _artifact_names() == earlier
