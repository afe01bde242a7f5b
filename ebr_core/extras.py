"""How to install what is optional. The name ebr belongs to another package on PyPI, so it is installed from a clone."""

from __future__ import annotations


def install_command(extra: str) -> str:
    """The command, in the folder of the project, that installs an optional extra at the versions that were tested.

    >>> install_command("lancedb")
    ".venv/bin/pip install -c constraints.txt -e '.[lancedb]'"
    """
    return f".venv/bin/pip install -c constraints.txt -e '.[{extra}]'"
