"""The wiring of stages: mypy refuses wrong inputs, the main flow reads as a DAG, promises say which stage failed."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from prefect import flow

from flows import ebr, nightly
from flows.submit import result, settle, submit
from tasks.artifacts import Artifact, stage


@stage
def broken(folder: Path, number: int) -> None:
    """Fail."""
    raise ValueError(f"no {number}")


@stage
def follow(folder: Path, before: list[Artifact]) -> None:
    """Need another artifact."""


@flow
def failing() -> tuple[dict[str, str], str]:
    """Submit a stage that fails, and two that need it."""
    first = submit(broken, ("random", 0), 7)
    then = submit(follow, (), [first])
    last = submit(follow, ("last",), [then])
    artifacts, failures = settle({"broken": first, "then": then, "last": last, "alone": submit(follow, (), [])})
    assert list(artifacts) == ["alone"]
    with pytest.raises(ValueError, match="no 7"):
        result(last)
    return failures, "done"


def test_a_failure_names_the_stage_that_failed_and_why(prefect_server: None) -> None:
    failures, _ = failing()
    assert failures["broken"] == "ValueError: no 7"
    assert failures["then"] == failures["last"] == "broken random 0 failed: ValueError: no 7"


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
