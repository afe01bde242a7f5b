"""Every dependency in the metadata is bounded, and the bounds follow from constraints.txt."""

from __future__ import annotations

import tomllib
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.bounds import CONSTRAINTS, HELD, PYPROJECT, bounded, bounds_of, needs_of, read_versions

TEXT = PYPROJECT.read_text(encoding="utf-8")
HELD_BACK = read_versions(HELD)
VERSIONS = HELD_BACK | read_versions(CONSTRAINTS)


def _requirements() -> list[Requirement]:
    project = tomllib.loads(TEXT)["project"]
    texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != "ebr"]


def test_the_bounds_are_those_of_the_constraints() -> None:
    assert bounded(TEXT, VERSIONS, HELD_BACK) == TEXT, "run python -m tools.bounds"


def test_a_changed_constraint_is_noticed() -> None:
    assert bounded(TEXT, VERSIONS | {"sqlalchemy": "2.1.0"}, HELD_BACK) != TEXT


def test_every_requirement_has_an_upper_bound_and_allows_the_tested_version() -> None:
    requirements = _requirements()
    assert len(requirements) > 100
    for requirement in requirements:
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators & {"<", "=="}, requirement
        version = VERSIONS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), (requirement, version)


def test_what_dependencies_need_in_turn_is_bounded_as_well() -> None:
    bounded_names = {canonicalize_name(requirement.name) for requirement in _requirements()}
    assert "sqlalchemy" in bounded_names  # of Prefect and MLflow; 2.1 breaks the schedules
    assert "async-timeout" in bounded_names  # of redis, on Python before 3.11.3 alone
    for name in ("prefect", "mlflow", "torch"):
        for need in map(Requirement, requires(name) or []):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in bounded_names, f"{need.name}, of {name}"


def test_packages_that_are_not_installed_need_nothing_known() -> None:
    assert needs_of(["no-such-package-is-installed"]) == set()
    assert "markupsafe" in needs_of(["jinja2"])


@pytest.mark.parametrize(
    ("version", "allowed", "refused"),
    [
        ("2.0.58", "2.0.99", "2.1"),
        ("0.9.0", "0.9.4", "0.10"),
        ("2026.6", "2026.12", "2027.1"),
        ("0.20", "0.20.1", "0.21"),
    ],
)
def test_patches_are_allowed_and_the_next_version_is_not(version: str, allowed: str, refused: str) -> None:
    specifier = Requirement("a" + bounds_of("a", version, {})).specifier
    assert Version(version) in specifier
    assert Version(allowed) in specifier
    assert Version(refused) not in specifier
