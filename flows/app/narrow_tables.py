"""Tables for a terminal of any width: an interval stands on one line, and columns that find no room are left out."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tasks.report.page import Grid, split_outcome

STYLES = {"better": "green", "worse": "red"}  # of a finding; all others are dim
_ANY_WIDTH = 10_000  # columns: more than any table has
_INTERVAL = re.compile(r" (\[[^\]]*\])")


def print_grid(grid: Grid | None, console: Console) -> None:
    """Print the grid as a table, and an empty line; for None the line alone."""
    if grid is not None:
        console.print(as_table(grid, console))
    console.print()


def as_table(grid: Grid, console: Console) -> Table:
    """The grid as a table that fits the console. Where it is too wide, intervals stand below their values; then columns
    are left out from the right, except the first and those that the grid does not let wrap, and the caption names
    them."""
    unlimited = console.options.update(max_width=_ANY_WIDTH)
    table = _build(grid)
    if Measurement.get(console, unlimited, table).maximum <= console.width:
        return table
    left_out: list[str] = []
    narrow = _with_stacked_intervals(grid)
    while Measurement.get(console, unlimited, table := _build(narrow, left_out)).minimum > console.width:
        droppable = [at for at, header in enumerate(narrow.headers) if at > 0 and header not in grid.unwrapped]
        if not droppable:
            break
        left_out.append(narrow.headers[droppable[-1]])
        narrow = _without(narrow, droppable[-1])
    return table


def _with_stacked_intervals(grid: Grid) -> Grid:
    rows = [[_INTERVAL.sub(r"\n\1", cell) for cell in row] for row in grid.rows]
    held = {grid.headers[at] for row in grid.rows for at, cell in enumerate(row) if _INTERVAL.search(cell)}
    return grid._replace(rows=rows, unwrapped=(*grid.unwrapped, *held))


def _without(grid: Grid, at: int) -> Grid:
    rows = [[*row[:at], *row[at + 1 :]] for row in grid.rows]
    return grid._replace(
        headers=[*grid.headers[:at], *grid.headers[at + 1 :]], rows=rows, left=grid.left - (at < grid.left)
    )


def _build(grid: Grid, left_out: list[str] | None = None) -> Table:
    lines = [grid.caption] if grid.caption else []
    if left_out:
        lines.append(f"Left out for want of width: {', '.join(reversed(left_out))}; the report has all columns.")
    caption = escape("\n".join(lines)) or None
    table = Table(title=escape(grid.title), title_justify="left", caption=caption, caption_justify="left")
    for i, header in enumerate(grid.headers):
        lines_of_cells = [line for row in grid.rows for line in Text.from_markup(_cell(row[i])).plain.splitlines()]
        held = max(map(cell_len, lines_of_cells), default=0) if header in grid.unwrapped else None
        table.add_column(escape(header), justify="left" if i < grid.left else "right", min_width=held)
    for i, row in enumerate(grid.rows):
        if i in grid.breaks:
            table.add_section()
        table.add_row(*map(_cell, row), style=grid.styles[i] if grid.styles else None)
    return table


def _cell(text: str) -> str:
    """The cell as rich's markup, with its finding in colour."""
    before, finding, rest = split_outcome(text)
    if not finding:
        return escape(text)
    gap = "\n" if "\n" in text else " "
    return f"{escape(before)}{gap}[{STYLES.get(finding, 'dim')}]{finding}[/]{escape(rest)}"
