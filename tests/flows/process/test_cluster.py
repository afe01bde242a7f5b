"""The same experiment in threads of one process and on a Dask cluster of two workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.more

PROJECT = Path(__file__).parent.parent.parent.parent
SMALL: dict[str, Any] = {
    "logs": {"layout": "simulated", "world": {"documents": 5000, "searches": 1500, "days": 6}},
    "evaluation": {"ks": [1, 10], "resamples": 200, "searches": 200},
    "arms": {
        "base": {"towers": {"dimensions": 16}, "training": {"batch_size": 256, "epochs": 1}},
        "random": {"negatives": {"random": 20}},
        "hard": {"negatives": {"random": 20, "offline_hard": 1}, "mine_from": "random", "mining": {"window": [2, 20]}},
    },
    "ensembles": {"both": {"parts": ["random", "hard"]}},
    "indexes": {"tuned": {"kind": "ivf", "code": "flat", "target": 0.8}},
    "questions": {"hard": {"baseline": "random", "arms": ["hard", "both"]}},
}


def _run(folder: Path, runner: Any, **sections: Any) -> subprocess.CompletedProcess[str]:
    """The process that ran the experiment in a home of its own."""
    folder.mkdir()
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **sections, "runner": runner}))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    return subprocess.run(
        [sys.executable, "-m", "flows.app.cli", "run", str(path), "--verbose"],
        cwd=PROJECT,
        env=environment | {"EBR_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_dask_cluster_of_two_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra encoders is not installed")
    from tests.tiny_encoder import make_tiny_encoder

    model = str(make_tiny_encoder(tmp_path / "tiny"))
    group = {"kind": "encoder", "model": model}  # as the teacher reads texts, so both have the same shares
    arms = SMALL["arms"] | {
        "beside": {"groups": {"meaning": group}},
        "taught": {"loss": {"kind": "softmax", "distillation": {"encoder": model}}},
    }
    results, towers = [], []
    for name, runner in (("threads", "threads"), ("dask", {"kind": "dask", "workers": 2})):
        done = _run(tmp_path / name, runner, arms=arms)
        assert done.returncode == 0, done.stderr[-3000:]
        artifacts = tmp_path / name / "home" / "artifacts"
        (folder,) = artifacts.glob("evaluate-*")
        results.append([(folder / file).read_bytes() for file in ("results.parquet", "per_search.parquet")])
        towers.append(sorted(path.read_bytes() for path in artifacts.glob("train_arm-*/towers.safetensors")))
        assert len(towers[-1]) == len(arms) - 1  # all but the base
        assert ("Dask" in done.stderr) == (name == "dask")
        shares = [json.loads(path.read_text()) for path in artifacts.glob("encode_share-*/counts.json")]
        assert len(shares) > 1
        assert all(share["encoded"] == share["texts"] > 0 for share in shares)
    assert results[0] == results[1]
    assert towers[0] == towers[1]


@pytest.mark.parametrize(
    ("runner", "message"),
    [
        ({"kind": "dask", "address": "tcp://127.0.0.1:9"}, "no Dask scheduler answers at tcp://127.0.0.1:9"),
        ({"kind": "dask", "address": "127.0.0.1"}, "runner"),
        ("spark", "runner"),
    ],
)
def test_a_missing_cluster_is_reported_before_anything_is_made(tmp_path: Path, runner: Any, message: str) -> None:
    done = _run(tmp_path / "one", runner)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "one" / "home" / "artifacts").glob("*-*"))
