"""The SQL of data/sql, and how values are put into it."""

from __future__ import annotations

from importlib import resources
from string import Template

from data.experiment.log_config import itself


def statement(name: str, /, **values: str) -> str:
    """The text of `data/sql/<name>.sql` with each $name replaced; values are quoted by whoever gives them."""
    text = resources.files("data").joinpath(f"sql/{name}.sql").read_text(encoding="utf-8")
    return Template(text).substitute(values) if values else text


def literal(text: str) -> str:
    """`text` as an SQL string: no quote in a path can end it."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(files: list[str]) -> str:
    """The files as a list of SQL, each as it is and no glob; a URL may be one."""
    return "[" + ", ".join(literal(file if "://" in file else itself(file)) for file in files) + "]"
