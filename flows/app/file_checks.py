"""Checks of files that options name, before anything slow starts."""

from __future__ import annotations

from pathlib import Path

from ebr_core.errors import InputError


def refuse_no_file(path: Path, expected: str) -> None:
    """Raise InputError if there is no such file. expected: what it should be."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {expected}")


def refuse_no_folder(out: Path) -> None:
    """Raise InputError if the folder in which a file is to be written does not exist."""
    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.parent}; make it first")


def refuse_grades(out: Path) -> None:
    """Raise InputError if a file for raters exists, or its folder does not."""
    if out.exists():
        raise InputError(f"{out} exists already, perhaps with grades in it; name another file, or remove it")
    refuse_no_folder(out)


def refuse_full_folder(out: Path) -> None:
    """Raise InputError if the folder holds files, or is none."""
    if out.is_file():
        raise InputError(f"{out} is a file; name a new folder")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; name a new folder")
