"""A logged model names every package that its code imports."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path

import ebr_core
from tasks.tracking.logged_model import MODEL_CODE, MODEL_NEEDS


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
    missing = {package for package in packages if not set(distributions[package]) & set(MODEL_NEEDS)}
    assert "numpy" in packages
    assert not missing
