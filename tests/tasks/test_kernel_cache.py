"""Where compiled kernels are kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tasks.kernel_cache import ROOT, SourceLocator

# Prints the folders of the kernels that misspell and shorten texts.
SCRIPT = """
import ebr_core.text.shortening, ebr_core.text.typos
modules = ebr_core.text.shortening, ebr_core.text.typos
kernels = {id(value): value for module in modules for value in vars(module).values() if hasattr(value, "stats")}
print(*sorted({kernel.stats.cache_path for kernel in kernels.values()}))
"""


def _folders(root: Path, cache: Path) -> list[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folders = done.stdout.split()
    assert folders
    assert all(Path(folder).parent == cache for folder in folders)
    return folders


def _copy(folder: Path) -> Path:
    for room in ("ebr_core", "data", "tasks"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_copies_of_the_project_share_the_kernels_that_a_change_does_not_reach(tmp_path: Path) -> None:
    one, two = _copy(tmp_path / "one"), _copy(tmp_path / "two")
    (two / "ebr_core" / "measure" / "metrics.py").write_text("# no kernel of texts imports this\n")
    assert _folders(one, tmp_path / "cache") == _folders(two, tmp_path / "cache")


def test_a_kernel_is_compiled_again_if_a_file_has_changed_that_its_file_imports_indirectly(tmp_path: Path) -> None:
    one, two = _copy(tmp_path / "one"), _copy(tmp_path / "two")
    errors = two / "ebr_core" / "errors.py"  # imported by parallel.py, which every file of kernels imports
    errors.write_text(errors.read_text() + "\n# changed\n")
    assert not set(_folders(one, tmp_path / "cache")) & set(_folders(two, tmp_path / "cache"))


def test_kernels_of_other_projects_have_no_folder_here(tmp_path: Path) -> None:
    assert SourceLocator.from_function(_copy, str(tmp_path / "kernels.py")) is None
