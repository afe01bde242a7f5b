"""How experiments are named, and the file of each that has run, by its name."""

from __future__ import annotations

from pathlib import Path

from tasks.home import home

CHAMPION = "@champion"  # what stands for the model that answers, in names of models and of rows of runs
SUFFIXES = (".yaml", ".yml")  # of experiment files


def note_path(path: Path) -> None:
    """Remember where the experiment of this file's name lies, for commands that name it later."""
    note = _note_of(path.stem)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(str(path.resolve()), encoding="utf-8")


def noted_path(name: str) -> Path | None:
    """The file from which an experiment of this name ran last; None without one, or if it is gone."""
    note = _note_of(name)
    path = Path(note.read_text(encoding="utf-8")) if note.is_file() else None
    return path if path and path.is_file() else None


def noted_names() -> list[str]:
    """The names of all experiments that have run."""
    return sorted(note.stem for note in (home() / "experiments").glob("*.path"))


def _note_of(name: str) -> Path:
    return home() / "experiments" / f"{name}.path"
