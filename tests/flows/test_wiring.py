"""The wiring of stages: mypy refuses wrong inputs, flows read as DAGs, failures name the stage that failed."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from prefect import flow

from flows import ebr, nightly
from flows.submit import result, settle, submit
from tasks.artifacts import stage
from tasks.kinds import Log

ROOT = Path(__file__).parent.parent.parent


@stage(Log)
def broken(folder: Path, number: int) -> None:
    """Fail."""
    raise ValueError(f"no {number}")


@stage(Log)
def follow(folder: Path, before: list[Log]) -> None:
    """Need another artifact."""


@flow
def failing() -> tuple[dict[str, str], str]:
    """Submit a stage that fails, and two that need it."""
    first = submit(broken, ("random", 0), 7)
    second = submit(follow, (), [first])
    last = submit(follow, ("last",), [second])
    artifacts, failures = settle({"broken": first, "then": second, "last": last, "alone": submit(follow, (), [])})
    assert list(artifacts) == ["alone"]
    with pytest.raises(ValueError, match="no 7"):
        result(last)
    return failures, "done"


def test_a_failure_names_the_stage_that_failed_and_why(prefect_server: None) -> None:
    failures, _ = failing()
    assert failures["broken"] == "ValueError: no 7"
    assert failures["then"] == failures["last"] == "broken random, seed 0 failed: ValueError: no 7"


def test_outside_a_flow_a_stage_runs_at_once(own_home: Path) -> None:
    artifact = submit(follow, (), [])
    assert artifact.folder.is_dir()
    with pytest.raises(ValueError, match="no 3"):
        submit(broken, (), 3)


@pytest.mark.parametrize("body", [inspect.getsource(ebr.ebr.fn), inspect.getsource(nightly.retrain.fn)])
def test_flows_read_as_dags(body: str) -> None:
    function = ast.parse(body).body[0]
    assert isinstance(function, ast.FunctionDef)
    lines = 1 + (function.end_lineno or 0) - function.lineno
    assert lines <= 45
    comprehensions = (ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.NamedExpr)
    assert not any(isinstance(node, comprehensions) for node in ast.walk(function))


WRONG = """
from pathlib import Path
from flows.submit import submit
from tasks.kinds import EvalSet, FeatureSet, TrainedTowers
from tasks.retrieval_stages import embed_texts

def inside(features: FeatureSet, towers: TrainedTowers, searches: EvalSet) -> None:
    submit(embed_texts, (), features, towers, searches, 1)
    submit(embed_texts, (), towers, features, searches, 1)  # swapped
    submit(embed_texts, (), features, towers, searches)  # the threads are missing
    embed_texts(features, towers, searches, 1)
    embed_texts(towers, features, searches, 1)  # swapped
    embed_texts(features, towers, searches)  # the threads are missing
    embed_texts.fn(features, searches, towers, 1)  # swapped
    wrong: FeatureSet = submit(embed_texts, (), features, towers, searches, 1)  # another kind
"""


def test_mypy_refuses_swapped_and_missing_artifacts(tmp_path: Path) -> None:
    """Each wrong line has an error, and no other line has one."""
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [
        sys.executable,
        "-m",
        "mypy",
        *["--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "wrong.py")],
    ]  # not in this process, whose recursion limit it raises
    report = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    refused = {int(line.split(":")[1]) for line in report.splitlines() if ": error:" in line and "wrong.py" in line}
    wrong = {number for number, line in enumerate(WRONG.splitlines(), 1) if "  # " in line}
    assert refused == wrong, report
