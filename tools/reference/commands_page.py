"""The page of all commands, made of the command line itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from tools.reference.pages import as_page, as_table, code

INTRODUCTION = (
    "`ebr COMMAND --help` shows the same text. Instead of an experiment file, you can give the name of an experiment "
    "that comes with ebr, such as `default`."
)


def commands_page() -> str:
    """The page: every command with its arguments and options."""
    from flows.app.cli import app

    root = typer.main.get_command(app)
    commands = list(walk(root, "ebr"))
    index = [[f"[{code(name)}](#{anchor_of(name)})", _first_sentence(command)] for name, command in commands]
    blocks = [INTRODUCTION, as_table(["command", "what it does"], index)]
    for name, command in commands:
        blocks += [f"## {name}", _help(command), f"    {_usage(name, command)}"]
        if parameters := list(_parameters(command)):
            blocks.append(as_table(["", "meaning", "default"], parameters))
    return as_page("All commands", blocks)


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(name, command) of every command that does something, in the order of the command line; those of groups too."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield name, command
        return
    for part, subcommand in subcommands.items():
        if not subcommand.hidden:
            yield from walk(subcommand, f"{name} {part}")


def anchor_of(heading: str) -> str:
    """The anchor of a heading, as the site makes it.

    >>> anchor_of("ebr ratings export")
    'ebr-ratings-export'
    """
    return heading.lower().replace(" ", "-")


def _help(command: Any) -> str:
    return " ".join(inspect.cleandoc(command.help or "").split())


def _first_sentence(command: Any) -> str:
    return _help(command).split(". ")[0].rstrip(".") + "."


def _usage(name: str, command: Any) -> str:
    arguments = [_shown(it) for it in command.params if it.param_type_name == "argument"]
    options = any(it.param_type_name == "option" and it.name != "help" for it in command.params)
    return " ".join([name, *arguments, *(["[OPTIONS]"] if options else [])])


def _shown(argument: Any) -> str:
    """An argument in a line of usage: in brackets where it may be left out, with dots where it may be repeated."""
    metavar = (argument.metavar or argument.name).upper().rstrip("…")
    text = metavar + ("…" if argument.nargs == -1 else "")
    return text if argument.required else f"[{text}]"


def _parameters(command: Any) -> Iterator[list[str]]:
    for parameter in command.params:
        if parameter.name == "help" or getattr(parameter, "hidden", False):
            continue
        is_option = parameter.param_type_name == "option"
        names = (
            ", ".join(map(code, (*parameter.opts, *parameter.secondary_opts))) if is_option else code(_shown(parameter))
        )
        yield [names, parameter.help or "", "" if parameter.required else _default(parameter)]


def _default(parameter: Any) -> str:
    """The default in words; empty where the help says it, or where there is none."""
    value = parameter.default
    if value is None or callable(value) or value in ("", [], ()) or "default" in (parameter.help or ""):
        return ""
    return "off" if value is False else "on" if value is True else code(str(value))
