"""The experiments that have nights."""

from __future__ import annotations

from ebr_core.errors import InputError
from tasks.home import home


def night_experiment(experiment: str | None) -> str:
    """This experiment, by default the one with the latest night. Raises InputError if it has no night."""
    paths = sorted((home() / "nights").glob("*/*.json"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.name for path in paths]
    if not names or (experiment and experiment not in names):
        listed = ", ".join(sorted(set(names))) or "none yet"
        missing = f"no night of {experiment!r}" if experiment else "no night"
        raise InputError(
            f"{missing} under {home()} (there are: {listed}); run one first: ebr nightly EXPERIMENT. `ebr runs` "
            "shows what runs without nights recommend"
        )
    return experiment or names[-1]
