"""A logged model names every package that its code imports."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

import ebr_core
from tasks.tracking.logged_model import ENCODER_NEEDS, MODEL_CODE, MODEL_NEEDS, requirements_of
from tests.bundles import make_bundle


def imported_packages(file: Path) -> set[str]:
    """The top-level packages that a file imports, its own and Python's aside."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"ebr_core"}


def test_a_model_needs_what_its_code_imports() -> None:
    files = [MODEL_CODE, *Path(ebr_core.__file__).parent.rglob("*.py")]
    distributions = importlib.metadata.packages_distributions()
    packages = set().union(*(imported_packages(file) for file in files))
    needs = {*MODEL_NEEDS, *ENCODER_NEEDS}  # the second are not installed everywhere, and have their packages' names
    missing = {package for package in packages if not set(distributions.get(package, [package])) & needs}
    assert {"numpy", "transformers"} <= packages
    assert not missing


def test_a_model_without_an_encoder_needs_none(tmp_path: Path) -> None:
    needed = {need.partition("==")[0] for need in requirements_of(make_bundle(tmp_path / "bundle"))}
    assert needed == set(MODEL_NEEDS)


@pytest.mark.more
def test_a_model_with_an_encoder_needs_its_packages(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = make_bundle(tmp_path / "bundle")
    path = folder / "towers" / "manifest.json"
    manifest = json.loads(path.read_text())
    encoder = {"kind": "encoder", "model": "m", "read": "searches"}
    manifest["features"]["groups"] = {"meaning": encoder}
    path.write_text(json.dumps(manifest))
    assert {need.partition("==")[0] for need in requirements_of(folder)} == {*MODEL_NEEDS, *ENCODER_NEEDS}
