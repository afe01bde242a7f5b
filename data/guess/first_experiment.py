"""The first experiment on some files: a guess at their layout, written as a file with comments."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import duckdb

from data.guess.column_groups import find_groups
from data.guess.column_profiles import read_tables
from data.guess.experiment_text import experiment_text, table_stem
from data.guess.layout_guess import guess_layout
from ebr_core.errors import InputError


def write_experiment(paths: Sequence[str], out: Path | None, overwrite: bool) -> Path:
    """Write an experiment file for the logs in these files. Returns its path.

    paths: files, globs, URLs or folders of a lake's tables. out: the file to write; None: experiments/NAME.yaml after
    the log, or NAME.yaml where there is no such folder. Raises InputError if a file cannot be read, no layout fits, or
    the file exists.
    """
    target, text = first_experiment(paths, out)
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists. Give another file with --out, or replace it with --overwrite")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    return target


def first_experiment(paths: Sequence[str], out: Path | None) -> tuple[Path, str]:
    """(the experiment file for the logs in these files, its text), see write_experiment; nothing is written."""
    with closing(duckdb.connect()) as con:
        tables = read_tables(con, paths)
        guess = guess_layout(con, tables)
        used = [guessed.given for guessed in guess.tables.values()]
        unused = [f"{table.path} is not used: no table of the layout fits it" for table in tables if table not in used]
        guess = guess._replace(doubts=[*guess.doubts, *unused])
        folder = Path("experiments") if Path("experiments").is_dir() else Path()
        target = out or folder / f"{table_stem(guess)}.yaml"
        return target, experiment_text(guess, find_groups(con, guess), target.parent)
