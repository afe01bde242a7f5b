"""What a command loads before it does anything: libraries that take a second each only where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.home import ROOT

SLOW = ("bm25s", "lightgbm", "matplotlib", "mlflow", "pandas", "scipy.optimize", "scipy.sparse", "scipy.special")
SLOW += ("scipy.stats", "sklearn", "sqlalchemy", "torch", "transformers")
KERNELS = ("numba", "faiss")


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("flows.app.cli", (*SLOW, *KERNELS, "prefect", "duckdb", "fastapi")),
        ("flows.app.status", (*SLOW, *KERNELS, "prefect", "duckdb")),
        ("flows.app.check", (*SLOW, "prefect")),
        ("flows.app.model_search", (*SLOW, "prefect")),
        ("flows.app.batch_file", (*SLOW, "prefect")),
        ("flows.app.serve", (*SLOW, "prefect")),
        ("flows.ebr", SLOW),
        ("flows.nightly", SLOW),
    ],
)
def test_a_command_loads_no_library_that_it_does_not_use(module: str, slow: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*sorted(set({slow!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_torch_is_imported_by_one_module_alone() -> None:
    paths = [path for room in ("ebr_core", "data", "tasks", "flows", "ebr") for path in (ROOT / room).rglob("*.py")]
    importing = [path for path in paths if _imports_torch(path)]
    assert importing == [ROOT / "ebr_core" / "lazy_torch.py"]


def _imports_torch(path: Path) -> bool:
    """True if the module, once it is used, imports torch otherwise than for types."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                waiting += node.orelse
                continue
            case ast.Import(names=names) if any(name.name.split(".")[0] == "torch" for name in names):
                return True
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "torch":
                return True
        waiting += ast.iter_child_nodes(node)
    return False
