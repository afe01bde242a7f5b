"""Writes the bounds of all dependencies in pyproject.toml from constraints.txt: python -m tools.bounds.

A wheel is installed without constraints.txt, and newer versions break others (SQLAlchemy 2.1 the schedules of Prefect),
so its metadata bounds what this project imports, and all that those packages need in turn. `--names` prints the names
without bounds, from which `make lock` looks for newer versions.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PYPROJECT, CONSTRAINTS, HELD = ROOT / "pyproject.toml", ROOT / "constraints.txt", ROOT / "constraints-known.txt"
OWN = "ebr"
MAIN = "dependencies"
WITHOUT_NEEDS = ("dev", "bench")  # extras of contributors, who install with constraints.txt
NEEDS = "# What these need in turn, written by python -m tools.bounds"
CALENDAR = 2000  # a first number from here on is a year
WIDTH = 120
PYTHONS: tuple[dict[str, str], ...] = ({}, {"python_full_version": "3.11.0"})  # this one, and the first that will do
_ARRAY = re.compile(r"^([a-z0-9-]+) = \[(.*?)\](?=\n)", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Rewrite pyproject.toml, or print the names of all that it asks for."""
    text = PYPROJECT.read_text(encoding="utf-8")
    if "--names" in sys.argv[1:]:
        names = {name_of(asked) for _, array in arrays(text) for asked in array.asked}
        print(*sorted(name for name in names if not name.startswith(f"{OWN}[")))
        return
    PYPROJECT.write_text(
        bounded(text, read_versions(HELD) | read_versions(CONSTRAINTS), read_versions(HELD)), encoding="utf-8"
    )


def read_versions(file: Path) -> dict[str, str]:
    """Package → its exact version in a file of constraints; lines without one are left out."""
    lines = (line.partition("#")[0].strip().partition("==") for line in file.read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(name): version for name, equals, version in lines if equals}


def bounds_of(name: str, version: str, held: dict[str, str]) -> str:
    """The versions that are allowed: this one and its later patches; of a package that is held, this one alone. Of a
    calendar version, all of the year.

    >>> bounds_of("sqlalchemy", "2.0.58", {}), bounds_of("certifi", "2026.10.18", {})
    ('>=2.0.58,<2.1', '>=2026.10.18,<2027')
    >>> bounds_of("torch", "2.13.0", {"torch": "2.13.0"})
    '==2.13.0'
    """
    if name in held:
        return f"=={held[name]}"
    major, minor, *_ = (*Version(version).release, 0)
    return f">={version},<{major + 1}" if major >= CALENDAR else f">={version},<{major}.{minor + 1}"


def bounded(text: str, versions: dict[str, str], held: dict[str, str]) -> str:
    """The text of pyproject.toml with bounds at every dependency, and with those that they need in turn."""
    asked_for = dict(arrays(text))
    main = needs_of(asked_for[MAIN].asked)
    for name, array in asked_for.items():
        match = next(found for found in _ARRAY.finditer(text) if found[1] == name)
        written = {canonicalize_name(Requirement(need).name) for need in array.needs}
        needs = set() if name in WITHOUT_NEEDS else needs_of(array.asked) or written
        needs -= {canonicalize_name(Requirement(asked).name) for asked in array.asked}
        needs -= set() if name == MAIN else main
        lines = [_with_bounds(asked, versions, held) for asked in array.asked]
        in_turn = [_with_bounds(need, versions, held) for need in sorted(needs)]
        text = text[: match.start()] + _as_toml(name, lines, in_turn) + text[match.end() :]
    return text


class Array(NamedTuple):
    """The requirements of the project, or of an extra."""

    asked: list[str]
    needs: list[str]  # what these need in turn


def arrays(text: str) -> Iterator[tuple[str, Array]]:
    """(name, array) of the dependencies and of each extra in the text of pyproject.toml."""
    project = text[text.index("\n[project]") : text.index("\n[project.scripts]")]
    extras = project.index("\n[project.optional-dependencies]")
    for match in _ARRAY.finditer(project):
        if match[1] == MAIN or match.start() > extras:
            asked, _, needs = match[2].partition(NEEDS)
            yield match[1], Array(re.findall(r'"([^"]+)"', asked), re.findall(r'"([^"]+)"', needs))


def needs_of(asked: Iterable[str]) -> set[str]:
    """The packages that requirements need, themselves included, as the installed ones say, on every Python 3.11; empty
    if one that is asked for is not installed."""
    found: set[tuple[str, str]] = set()
    requirements = [it for it in map(Requirement, asked) if canonicalize_name(it.name) != OWN]
    if any(_required_by(canonicalize_name(it.name)) is None for it in requirements):
        return set()
    waiting = [(canonicalize_name(it.name), extra) for it in requirements for extra in ("", *it.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for need in map(Requirement, _required_by(name) or []):
            if need.marker is None or any(need.marker.evaluate({"extra": extra} | python) for python in PYTHONS):
                waiting += [(canonicalize_name(need.name), of_need) for of_need in ("", *need.extras)]
    return {str(name) for name, _ in found}


def _required_by(name: str) -> list[str] | None:
    """The requirements of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return None


def name_of(requirement: str) -> str:
    """A requirement without its bounds.

    >>> name_of("pyiceberg[sql-sqlite]>=0.12.0,<0.13")
    'pyiceberg[sql-sqlite]'
    """
    asked = Requirement(requirement)
    return asked.name + (f"[{','.join(sorted(asked.extras))}]" if asked.extras else "")


def _with_bounds(requirement: str, versions: dict[str, str], held: dict[str, str]) -> str:
    name = name_of(requirement)
    key = canonicalize_name(Requirement(requirement).name)
    if key == OWN:
        return requirement
    if key not in versions:
        raise SystemExit(f"{CONSTRAINTS.name} has no {key}: run make lock, or add its version")
    return name + bounds_of(key, versions[key], held)


def _as_toml(name: str, asked: list[str], needs: list[str]) -> str:
    """The array as TOML: on one line where it fits, else the dependencies one a line, all else several."""
    line = f"{name} = [{', '.join(map(_quoted, asked))}]"
    if name != MAIN and not needs and len(line) <= WIDTH:
        return line
    lines = [f"    {_quoted(requirement)}," for requirement in asked] if name == MAIN else _filled(asked)
    if needs:
        lines += [f"    {NEEDS}", *_filled(needs)]
    return "\n".join([f"{name} = [", *lines, "]"])


def _filled(requirements: list[str]) -> list[str]:
    """Lines of several requirements each."""
    lines = ["   "]
    for requirement in map(_quoted, requirements):
        if len(lines[-1]) + len(requirement) + 2 > WIDTH:
            lines.append("   ")
        lines[-1] += f" {requirement},"
    return lines


def _quoted(requirement: str) -> str:
    return f'"{requirement}"'


if __name__ == "__main__":
    main()
