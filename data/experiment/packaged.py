"""The experiments that come with ebr, wherever it is installed: `ebr run default` works from an empty folder."""

from __future__ import annotations

from pathlib import Path

from ebr_core.errors import InputError

# A link to experiments/ in a clone; in a wheel, the files that need no log beside them.
PACKAGED = Path(__file__).parents[2] / "ebr" / "experiments"
FOLDER = "experiments"


def find_experiment(path: Path) -> Path:
    """The file at the path or, where nothing is, the experiment of that name that comes with ebr.

    Such an experiment may be named default, default.yaml or experiments/default.yaml. Raises InputError for a name
    without folder and suffix that is neither.
    """
    if path.exists() or path.is_symlink():
        return path
    is_bare = path.parent == Path() and not path.suffix
    packaged = PACKAGED / (f"{path.name}.yaml" if is_bare else path.name)
    if path.parent in (Path(), Path(FOLDER)) and packaged.suffix == ".yaml" and packaged.is_file():
        return packaged
    if is_bare and path.name:
        names = ", ".join(sorted(file.stem for file in PACKAGED.glob("*.yaml")))
        raise InputError(
            f"{path}: there is no such file, and no experiment of that name comes with ebr; those are {names}"
        )
    return path
