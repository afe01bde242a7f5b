"""Logs that change while they are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from data.experiment.log_config import Split, Tables
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.errors import InputError
from tasks.artifacts import Artifact
from tasks.home import artifacts
from tasks.log_stages import contents_of, extract, files_of


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


def test_a_run_reads_the_snapshots_that_it_began_with(tmp_path: Path) -> None:
    """A commit to a table of a lake does not disturb it; the next run reads that, into an artifact of another name."""
    logs = _simulated_log(tmp_path / "log", seed=9)
    searches, table = pq.read_table(tmp_path / "log" / "searches"), tmp_path / "searches"
    write_deltalake(table, searches.slice(0, 500))
    lake = logs.model_copy(update={"searches": str(table), "max_dropped": 0.5})
    begun = files_of(lake, None)
    contents = contents_of(begun)
    write_deltalake(table, searches.slice(500), mode="append")
    first: Artifact = extract.fn(begun, Split(), contents)
    assert pq.read_metadata(first.folder / "searches.parquet").num_rows <= 500
    later = files_of(lake, None)
    second: Artifact = extract.fn(later, Split(), contents_of(later))
    assert second.folder != first.folder
    snapshots = [json.loads((log.folder / "report.json").read_text())["snapshots"] for log in (first, second)]
    assert snapshots == [{"searches": [{"kind": "delta", "snapshot": version}]} for version in (0, 1)]
    assert extract.fn(begun, Split(), contents_of(begun)).folder == first.folder
