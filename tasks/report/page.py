"""A page of headings, sentences, tables and pictures, as one self-contained HTML file or as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

T = TypeVar("T")


class Heading(NamedTuple):
    """A heading; level 2 is a section."""

    text: str
    level: int = 2


class Paragraph(NamedTuple):
    """A sentence or more; kind is "", "good", "bad" or "note". `code` and **bold** are understood."""

    text: str
    kind: str = ""


class Bullets(NamedTuple):
    """A list of sentences."""

    items: list[str]


class Grid(NamedTuple):
    """A table of text for the page, which aligns numbers to the right, and for a terminal.

    A cell may end in "; holds" or another verdict, which is then coloured.
    """

    headers: list[str]
    rows: list[list[str]]
    caption: str = ""
    folded: bool = False  # the page shows it on demand
    title: str = ""  # a terminal shows it above
    left: int = 1  # columns that a terminal aligns to the left
    unwrapped: tuple[str, ...] = ()  # headers of columns whose cells a terminal keeps on one line
    breaks: frozenset[int] = frozenset()  # rows above which a terminal draws a line
    styles: tuple[str, ...] = ()  # style of each row on a terminal; empty: all plain


class Picture(NamedTuple):
    """An SVG element, and a description of it in words."""

    name: str
    svg: str
    words: str


Block = Heading | Paragraph | Bullets | Grid | Picture
Columns = list[tuple[str, Callable[[T], str]]]  # heading, and the cell of a line

NUMBER = re.compile(r"^[−+-]?[\d.,]+( ?%| s| MB)?( \[.*\])?$")
VERDICTS = {"holds": "holds", "contradicted": "contradicted", "undecided": "undecided", "too few": "few"}


def tabulate(columns: Columns[T], lines: Iterable[T], caption: str = "", folded: bool = False) -> Grid:
    """The table of these lines: each column has a heading and a function from a line to its cell."""
    rows = [[cell(line) for _, cell in columns] for line in lines]
    return Grid([heading for heading, _ in columns], rows, caption, folded)


def as_html(title: str, blocks: list[Block]) -> str:
    """The page as one file that needs no other."""
    return TEMPLATES.get_template("page.html.j2").render(title=title, blocks=blocks)


def as_markdown(title: str, blocks: list[Block]) -> str:
    """The same as Markdown; pictures are files beside it, <name>.svg."""
    return TEMPLATES.get_template("page.md.j2").render(title=title, blocks=blocks)


def split_verdict(cell: str) -> tuple[str, str]:
    """The text of a cell, and the word after its last semicolon ("" without one)."""
    text, semicolon, word = cell.rpartition("; ")
    return (text, word) if semicolon else (cell, "")


def _inline(text: str) -> Markup:
    """Escaped text with `code` and **bold** as elements."""
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped))


def _coloured(cell: str) -> Markup:
    """The cell, its verdict in a class of its own."""
    text, word = split_verdict(cell)
    if word not in VERDICTS:
        return _inline(cell)
    return _inline(f"{text}; ") + Markup('<span class="{}">{}</span>').format(VERDICTS[word], word)


def _sides(grid: Grid) -> list[Markup]:
    """The class of each column's cells: columns of numbers are aligned to the right."""
    columns = [[row[at] for row in grid.rows if row[at] not in ("", "–")] for at in range(len(grid.headers))]
    return [Markup(' class="n"' if cells and all(map(NUMBER.match, cells)) else "") for cells in columns]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"inline": _inline, "verdict": _coloured, "sides": _sides, "line": _line}
TEMPLATES.tests |= {
    "heading": lambda block: isinstance(block, Heading),
    "paragraph": lambda block: isinstance(block, Paragraph),
    "bullets": lambda block: isinstance(block, Bullets),
    "picture": lambda block: isinstance(block, Picture),
}
