"""A page of headings, sentences, tables and pictures, as one self-contained HTML file or as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.report.dark_colours import dark_variables, with_variables

T = TypeVar("T")


class Heading(NamedTuple):
    """A heading; level 2 is a section."""

    text: str
    level: int = 2


class Paragraph(NamedTuple):
    """A sentence or more; kind: "", "answer", "good", "bad" or "note". `code`, **bold** and *small* are understood."""

    text: str
    kind: str = ""


class Bullets(NamedTuple):
    """A list of sentences."""

    items: list[str]


class Grid(NamedTuple):
    """A table of text for the page, which aligns numbers to the right, and for a terminal.

    A cell may end in "; better, as claimed" or another finding, which is then coloured.
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

    @property
    def is_wide(self) -> bool:
        """True if its letters are too small to read on a telephone, unless it is scrolled."""
        width = re.search(r'width="([\d.]+)pt"', self.svg)
        return width is not None and float(width[1]) > WIDE_POINTS


class LogText(NamedTuple):
    """A text from a log, which the page shows as it is: no markup is read in it."""

    text: str
    before: str = ""  # ours, small: the rank of a document
    is_hit: bool = False


class LogTable(NamedTuple):
    """A table of texts from a log, several in a cell, on demand. Only the page has it, because these are searchers' own
    words: Markdown, which MLflow and Prefect show in part, does not."""

    summary: str
    headers: list[str]
    rows: list[list[list[LogText]]]


Block = Heading | Paragraph | Bullets | Grid | Picture | LogTable
Columns = list[tuple[str, Callable[[T], str]]]  # heading, and the cell of a line

WIDE_POINTS = 420
NUMBER = re.compile(r"^[−+-]?[\d.,]+( ?%| s| MB)?( \[.*\])?$")
OUTCOMES = ("better", "worse", "tie", "unclear", "too few", "more", "less", "as many")  # better and worse have colours
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # turns of direction, too


def tabulate(columns: Columns[T], lines: Iterable[T], caption: str = "", folded: bool = False) -> Grid:
    """The table of these lines: each column has a heading and a function from a line to its cell."""
    rows = [[cell(line) for _, cell in columns] for line in lines]
    return Grid([heading for heading, _ in columns], rows, caption, folded)


def as_html(title: str, blocks: list[Block]) -> str:
    """The page as one file that needs no other."""
    dark = dark_variables([block.svg for block in blocks if isinstance(block, Picture)])
    return TEMPLATES.get_template("page.html.j2").render(title=title, blocks=blocks, dark=Markup(dark))


def as_markdown(title: str, blocks: list[Block]) -> str:
    """The same as Markdown; pictures are files beside it, <name>.svg."""
    return TEMPLATES.get_template("page.md.j2").render(title=title, blocks=blocks)


def split_outcome(cell: str) -> tuple[str, str, str]:
    """A cell "+.012 [+.004, +.020]; better, as claimed" as the text before, the finding, and what follows it; a cell
    without a finding as itself and two empty texts."""
    text, semicolon, outcome = cell.rpartition(";")
    finding, comma, rest = outcome.strip().partition(", ")
    return (text, finding, comma + rest) if semicolon and finding in OUTCOMES else (cell, "", "")


def plain_text(text: str) -> str:
    """A text from a log on one line, without control characters."""
    return " ".join(CONTROL.sub(" ", text).split())


def without_markup(text: str) -> str:
    """A sentence of the page for a terminal: without the marks of `code`, **bold** and *small*."""
    return re.sub(r"`|\*+", "", text)


def _inline(text: str) -> Markup:
    """Escaped text with `code`, **bold** and *small* as elements."""
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    escaped = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)
    return Markup(re.sub(r"\*([^*]+)\*", r"<small>\1</small>", escaped))


def _coloured(cell: str) -> Markup:
    """The cell, its finding in a class of its own."""
    text, finding, rest = split_outcome(cell)
    if not finding:
        return _inline(cell)
    colour = finding.replace(" ", "-")
    return _inline(text) + Markup('<div><span class="{}">{}</span>{}</div>').format(colour, finding, rest)


def _sides(grid: Grid) -> list[Markup]:
    """The class of each column's cells: columns of numbers are aligned to the right."""
    columns = [[row[at] for row in grid.rows if row[at] not in ("", "–")] for at in range(len(grid.headers))]
    return [Markup(' class="n"' if cells and all(map(NUMBER.match, cells)) else "") for cells in columns]


def _anchor(text: str) -> str:
    """The name by which links find a heading."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    undefined=StrictUndefined,
    trim_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {
    "inline": _inline,
    "outcome": _coloured,
    "sides": _sides,
    "line": _line,
    "anchor": _anchor,
    "variables": with_variables,
}
TEMPLATES.tests |= {
    "heading": lambda block: isinstance(block, Heading),
    "paragraph": lambda block: isinstance(block, Paragraph),
    "bullets": lambda block: isinstance(block, Bullets),
    "picture": lambda block: isinstance(block, Picture),
    "log_table": lambda block: isinstance(block, LogTable),
}
