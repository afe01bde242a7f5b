"""Every `ebr` command that a page of the documentation shows is one that the command line accepts."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main
from typer.core import TyperGroup

from flows.app.cli import app
from tasks.home import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md")
COMMAND = re.compile(r"^(?:    |\$ )?(?:\.venv/bin/)?ebr (?P<arguments>[a-z].*?)(?:  +#.*)?$")
LEAST = 40  # commands on all pages; fewer would mean that the pages have another form


def commands_in(text: str) -> list[str]:
    """The commands in the text's code blocks, fenced or indented, without comments.

    >>> commands_in("    ebr run a.yaml   # why" + chr(10) + "ebr is a tool"), commands_in("```" + chr(10) + "ebr runs")
    (['run a.yaml'], ['runs'])
    """
    commands, fenced = [], False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        found = COMMAND.match(line)
        if found and (fenced or line.startswith(("    ", "$ "))):
            commands.append(found["arguments"])
    return commands


def _documented() -> list[tuple[str, str]]:
    pages = [page for pattern in PAGES for page in sorted(ROOT.glob(pattern))]
    return [(page.name, command) for page in pages for command in commands_in(page.read_text())]


def _parse(arguments: list[str]) -> None:
    """Read the arguments as the command line does, and run nothing. Raises ValueError if it would refuse them."""
    command, context = typer.main.get_command(app), None
    try:
        while True:
            context = command.make_context(command.name, list(arguments), parent=context)
            if not isinstance(command, TyperGroup):
                return
            _, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
    except Exception as error:  # of typer's own copy of click, which is private
        raise ValueError(f"{type(error).__name__}: {error}") from error


@pytest.mark.parametrize(("page", "command"), _documented())
def test_the_command_line_accepts_a_documented_command(page: str, command: str) -> None:
    _parse(shlex.split(command, comments=True))


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("ratings import a/b c.csv --arm d", "no longer an option"),
        ("serch shoes", "No such command"),
        ("run a b", "unexpected extra argument"),
        ("compare shop/bm25", "MissingParameter"),
    ],
)
def test_a_stale_command_would_be_found(command: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        _parse(shlex.split(command))


def test_the_pages_show_commands() -> None:
    assert len(_documented()) >= LEAST
