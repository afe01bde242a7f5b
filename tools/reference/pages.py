"""All generated pages, and the parts of Markdown that they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.home import ROOT

FOLDER = ROOT / "docs" / "reference"
REMARK = "<!-- Written by `make reference`; edits are lost. -->"


def pages() -> dict[str, str]:
    """File name → the text of each generated page."""
    from tools.reference.commands_page import commands_page
    from tools.reference.results_page import results_page
    from tools.reference.settings_page import settings_page

    return {"settings.md": settings_page(), "commands.md": commands_page(), "results.md": results_page()}


def as_page(title: str, blocks: Iterable[str]) -> str:
    """A page of Markdown with these blocks."""
    return "\n\n".join([f"# {title}", REMARK, *blocks]) + "\n"


def as_table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of Markdown, without the columns that are empty in every line."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    shown = [at for at in range(len(headings)) if any(row[at] for row in rows)]
    written = [[headings[at] for at in shown], ["---"] * len(shown), *([row[at] for at in shown] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in written)


def code(text: str) -> str:
    """Text as code, also if it holds a backtick."""
    return f"``{text}``" if "`" in text else f"`{text}`"
