"""The wheel holds all that a run needs, and runs from an empty folder."""

from __future__ import annotations

import email
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tasks.home import ROOT
from tasks.provenance.files import resources

pytestmark = pytest.mark.more
ROOMS = ("ebr", "flows", "tasks", "data", "ebr_core")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the installed setuptools from a copy: `build/` of a clone may hold what is gone."""
    out, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in (*ROOMS, "experiments"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "prefect.yaml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", str(out), str(source)], check=True)
    return next(out.glob("ebr-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, which finds everything else in this one; the path of its `bin`."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q", "--no-deps"]
    command += ["--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run(command, env=_clean(), check=True)
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    return folder / "bin"


def _clean() -> dict[str, str]:
    """The environment without what points Python, ebr and their servers to this clone."""
    pointing = ("PYTHON", "EBR", "PREFECT", "MLFLOW")
    return {name: value for name, value in os.environ.items() if not name.startswith(pointing)}


def _run(installed: Path, folder: Path, *command: str) -> str:
    """What a module prints that runs in a folder."""
    command = (str(installed / "python"), "-m", *command)
    done = subprocess.run(command, cwd=folder, env=_clean(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_metadata_bound_every_dependency(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    required = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {str(it) for it in map(Requirement, written)} <= {str(it) for it in required}
    assert all({part.operator for part in it.specifier} & {"<", "=="} for it in required if it.name != "ebr")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == "<3.12,>=3.11"


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    code = {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert code | set(resources()) <= held
    assert {"ebr/prefect.yaml", "ebr/experiments/default.yaml", "ebr/experiments/smoke.yaml", "ebr/py.typed"} <= held
    assert not [name for name in held if name.startswith(("tests/", "tools/", "proofs/", "benchmarks/", "docs/"))]


def test_the_smoke_experiment_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    printed = _run(installed, tmp_path, "flows.app.cli", "run", "smoke")
    assert "Report:" in printed
    assert [path.name for path in tmp_path.iterdir()] == [".ebr"]
    assert list((tmp_path / ".ebr" / "models").glob("smoke.json"))
    found = _run(installed, tmp_path, "flows.app.cli", "search", "walking club", "--model", "smoke")
    assert "walking club" in found
    origin = _run(installed, tmp_path, "inspect", "flows.app.cli", "--details")
    assert str(installed.parent) in origin  # and not the clone
