"""A page of headings, sentences, tables and pictures, as one self-contained HTML file or as Markdown."""

from __future__ import annotations

import html
import re
from typing import NamedTuple


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
    """A table: the first column's cells lead their line, numbers are set to the right."""

    headers: list[str]
    rows: list[list[str]]
    caption: str = ""
    folded: bool = False  # shown on demand


class Picture(NamedTuple):
    """An SVG element, and what it shows in words."""

    name: str
    svg: str
    words: str


Block = Heading | Paragraph | Bullets | Grid | Picture

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1d2430; background: #fff;
  max-width: 1080px; margin: 2rem auto 4rem; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #e2e5ea; padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .5rem 0; max-width: 62rem; } li { margin: .25rem 0; max-width: 60rem; }
.good, .bad, .note { border-left: 4px solid #8a8f98; background: #f5f6f8; padding: .5rem .8rem; }
.good { border-color: #1a7f4b; background: #eef7f1; } .bad { border-color: #c0392b; background: #fdf0ee; }
code { background: #f0f2f5; padding: 0 .25em; border-radius: 3px; font-size: .92em; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .86rem; margin: .6rem 0; }
caption { caption-side: bottom; text-align: left; color: #5b6472; padding-top: .35rem; max-width: 62rem; }
th { text-align: left; border-bottom: 2px solid #cfd4db; font-weight: 600; } td { border-bottom: 1px solid #eceef2; }
th, td { padding: .22rem .7rem .22rem 0; white-space: nowrap; vertical-align: top; } .n { text-align: right;
  font-variant-numeric: tabular-nums; } summary { cursor: pointer; color: #2b6cb0; margin: .5rem 0; }
.holds { color: #1a7f4b; font-weight: 600; } .contradicted { color: #c0392b; font-weight: 600; }
.undecided, .few { color: #6b7280; font-weight: 600; }
figure { margin: .8rem 0; } figure svg { max-width: 100%; height: auto; }
"""
NUMBER = re.compile(r"^[−+-]?[\d.,]+( ?%| s| MB)?( \[.*\])?$")
VERDICTS = {"holds": "holds", "contradicted": "contradicted", "undecided": "undecided", "too few": "few"}


def as_html(title: str, blocks: list[Block]) -> str:
    """One file that needs no other."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def as_markdown(title: str, blocks: list[Block]) -> str:
    """The same; pictures are files beside it, named as they are with .svg."""
    return "\n\n".join([f"# {title}", *(_markdown(block) for block in blocks)]) + "\n"


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Paragraph(text, kind):
            return f'<p class="{kind}">{_inline(text)}</p>' if kind else f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return "<ul>\n" + "\n".join(f"<li>{_inline(item)}</li>" for item in items) + "\n</ul>"
        case Picture(_, svg, words):
            return f'<figure role="img" aria-label="{html.escape(words)}">{svg}</figure>'
        case Grid():
            return _html_table(block)


def _html_table(grid: Grid) -> str:
    head = "".join(f"<th{_side(grid, at)}>{_inline(name)}</th>" for at, name in enumerate(grid.headers))
    lines = [
        "<tr>" + "".join(f"<td{_side(grid, at)}>{_cell(cell)}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in grid.rows
    ]
    caption = f"<caption>{_inline(grid.caption)}</caption>" if grid.caption and not grid.folded else ""
    table = (
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )
    return f"<details><summary>{_inline(grid.caption)}</summary>\n{table}\n</details>" if grid.folded else table


def _side(grid: Grid, column: int) -> str:
    """Numbers are set to the right."""
    cells = [row[column] for row in grid.rows if row[column] not in ("", "–")]
    return ' class="n"' if cells and all(NUMBER.match(cell) for cell in cells) else ""


def _cell(text: str) -> str:
    last = text.rsplit("; ", 1)[-1]
    if last in VERDICTS:
        before = text[: len(text) - len(last)]
        return f'{_inline(before)}<span class="{VERDICTS[last]}">{last}</span>'
    return _inline(text)


def _inline(text: str) -> str:
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text, kind):
            return f"> {text}" if kind else text
        case Bullets(items):
            return "\n".join(f"* {item}" for item in items)
        case Picture(name, _, words):
            return f"![{words}]({name}.svg)"
        case Grid(headers, rows, caption, _):
            lines = [_line(headers), "|" + "---|" * len(headers), *(_line(row) for row in rows)]
            return "\n".join(lines) + (f"\n\n*{caption}*" if caption else "")


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
