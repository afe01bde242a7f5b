"""Tables on terminals of several widths."""

from __future__ import annotations

import pytest
from rich.console import Console

from flows.app.narrow_tables import as_table
from tasks.report.page import Grid

GRID = Grid(
    ["arm", "index", "recall@1", "recall@10", "recall@100", "validation recall@10", "against bm25"],
    [
        *(["softmax", "exact", "0.310", "0.650 [0.600, 0.700]", "0.902", "0.661 [0.620, 0.701]",
           "+.100 [+.050, +.150]; better"],),
        *(["only-purchase", "exact", "0.310", "0.550 [0.500, 0.600]", "0.802", "0.561 [0.520, 0.601]",
           "−.050 [−.080, −.020]; worse"],),
    ],
    caption="500 searches.",
    title="targets: clicked documents",
    left=2,
    unwrapped=("arm", "recall@10", "against bm25"),
)  # fmt: skip


def _printed(grid: Grid, width: int) -> list[str]:
    console = Console(record=True, width=width, quiet=True, file=None)
    with console.capture() as captured:
        console.quiet = False
        console.print(as_table(grid, console))
    return captured.get().splitlines()


def test_a_wide_terminal_shows_all_on_one_line() -> None:
    lines = _printed(GRID, 170)
    (line,) = (line for line in lines if "softmax" in line)
    assert "0.650 [0.600, 0.700]" in line
    assert "+.100 [+.050, +.150]; better".replace(";", "") in line
    assert not any("Left out" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_no_interval_is_cut_or_wrapped(width: int) -> None:
    lines = _printed(GRID, width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    for kept in ("only-purchase", "0.650", "[0.600, 0.700]", "+.100", "[+.050, +.150]", "better", "worse"):
        assert kept in text
    for row in GRID.rows:
        for cell in row:
            for part in cell.split("]")[0].split("[")[1:]:
                assert f"[{part}]" in text or "Left out for want of width" in text
    for line in lines:
        assert line.count("[") == line.count("]"), line
    assert "…" not in text


def test_what_finds_no_room_is_named() -> None:
    caption = " ".join(_printed(GRID, 60)[-4:])
    assert "Left out for want of width:" in caption
    assert "validation recall@10" in " ".join(caption.split())
