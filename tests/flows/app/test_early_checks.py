"""What is wrong in a command is said before it imports torch or starts Prefect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.bundles import publish_bundles

PROJECT = Path(__file__).parent.parent.parent.parent
SMOKE = "experiments/smoke.yaml"
TRY_ALL = """
import json, sys
from ebr_core.errors import InputError
from flows.app.cli import app
said, imported = [], []
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments, standalone_mode=False)
        said.append("nothing")
    except Exception as error:
        said.append(f"{type(error).__name__}: {error}")
    imported.append(sorted({"torch", "prefect", "mlflow", "lightgbm"} & set(sys.modules)))
print(json.dumps([said, imported]))
"""


def _say(home: Path, cases: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """(what each command says, the slow libraries that were imported by then)."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL, json.dumps(cases)],
        cwd=PROJECT,
        env=environment | {"EBR_HOME": str(home), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said, imported = json.loads(done.stdout.splitlines()[-1])
    return said, imported


def test_models_options_and_files_are_checked_first(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    (home / "artifacts" / "b").mkdir(parents=True)
    publish_bundles(home, "mine", {"left": home / "artifacts" / "b"}, "left")
    queries = str(tmp_path / "no.parquet")
    out.mkdir()
    (out / "full").touch()
    cases = {
        "no model 'right' of mine": ["search", "x", "--model", "mine/right"],
        "--mode: got 'best'; allowed: ebr": ["search", "x", "--mode", "best"],
        "--radius: got '3'": ["search", "x", "--radius", "3"],
        "--at: got 'noon'; expected a time": ["search", "x", "--at", "noon"],
        "--where: ": ["search", "x", "--where", "price <"],
        "--field: got 'device'": ["search", "x", "--field", "device"],
        "no.parquet: no such file": ["batch", queries, str(tmp_path / "a.parquet")],
        "there is no folder": ["batch", SMOKE, str(tmp_path / "no" / "a.parquet")],
        "would replace the queries": ["batch", SMOKE, SMOKE],
        "out is not empty": ["export", str(out)],
        "no.parquet: no such": ["export", str(tmp_path / "new"), "--queries", queries],
        "--to: got 'redis'": ["export", str(tmp_path / "new"), "--to", "redis"],
        "no model 'right' of mine; there are mine/left": ["serve", "mine/right"],
        "smoke.yaml: no arm 'nothing'; there are random, impressions": ["negatives", "smoke/nothing"],
        "did you mean impressions?": ["explain", "x", "smoke/impresions", "--document", "d1"],
        "exists already": ["ratings", "export", "smoke/random", SMOKE],
        "--searches: got 9,000; feedback.searches of": [
            *("ratings", "export", "smoke/random", str(tmp_path / "r.csv"), "--searches", "9000")
        ],
        "no such file; expected the CSV": ["ratings", "import", "smoke/random", str(tmp_path / "r.csv")],
        "no such run": ["report", "nothing"],
        "nothing: no such run": ["compare", "nothing/random", "smoke"],
        "no experiment 'smok'": ["run", "smok"],
        "no section audit": ["audit", "smoke"],
        "--day is for one night": ["nightly", "smoke", "--day", "2024-01-02", "--from", "2024-01-01"],
        "is after --to": ["nightly", "smoke", "--from", "2024-01-02", "--to", "2024-01-01"],
        "no night": ["rollback", "smoke"],
        "no night of 'smoke'": ["status", "smoke"],
        "is not empty": ["simulate", "--out", str(out)],
    }
    said, imported = _say(home, list(cases.values()))
    assert not [(words, got) for words, got in zip(cases, said, strict=True) if words not in got]
    assert all(got.startswith("InputError: ") for got in said)
    assert imported == [[]] * len(cases)
