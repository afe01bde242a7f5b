"""Commands whose earlier options are refused with the spelling of today."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from typer.core import TyperCommand

from ebr_core.errors import InputError

_ANSWERS = {
    "--experiment": "--model {value}, for its champion, or --model {value}/ARM",
    "--bundle": "--model {value}, the folder of the bundle",
}
_SERVED = "ebr serve EXPERIMENT/ARM … without an option, such as smoke/random; an experiment alone is allowed"
_ARM = "EXPERIMENT/{value} in place of EXPERIMENT"
OLD: Mapping[str, Mapping[str, str]] = {  # function of a command → option → what to write
    "search": _ANSWERS,
    "batch": _ANSWERS,
    "export": _ANSWERS,
    "serve": {"--experiment": _SERVED, "--models": _SERVED},
    "negatives": {"--arm": _ARM},
    "export_csv": {"--arm": _ARM},
    "import_csv": {"--arm": _ARM},
    **{command: {"--experiment": f"ebr {command} {{value}}"} for command in ("rollback", "status", "runs")},
}


class Command(TyperCommand):
    """A command that knows its earlier options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises InputError for an option of an earlier version."""
        refuse_old_options(getattr(self.callback, "__name__", ""), args)
        return super().parse_args(ctx, args)


def refuse_old_options(command: str, arguments: list[str]) -> None:
    """Raise InputError if an argument of the command is an option of an earlier version; it says what to write."""
    old = OLD.get(command, {})
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        if argument == "--":
            return
        option, _, value = argument.partition("=")
        if option in old:
            instead = old[option].format(value=value or following or "NAME")
            raise InputError(f"{option} is no longer an option: write {instead}")
