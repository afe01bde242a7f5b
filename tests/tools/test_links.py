"""Every link of the documentation leads somewhere; the site's strict build says the same, and takes longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.home import ROOT
from tools.links import broken_links

FILES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    assert len(FILES) > 25
    assert broken_links(FILES) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](absent.md)", "there is no such file"),
        ("[a](other.md#absent)", "no such heading"),
        ("[a](#absent)", "no such heading"),
        ("![a](absent.png)", "there is no such file"),
        ('<img src="absent.png">', "there is no such file"),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "other.md").write_text("# Here\n")
    (tmp_path / "page.md").write_text(f"# Page\n{text}\n[right](other.md#here) [self](#page)\n")
    found = broken_links([tmp_path / "page.md"])
    assert len(found) == 1
    assert fault in found[0]


def _pages_of(entry: Any) -> list[str]:
    """The pages below an entry of the navigation."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in _pages_of(part)]


def test_every_page_is_in_the_navigation() -> None:
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)
    beside = {"index.md", "CONTRIBUTING.md", "CHANGELOG.md", "LOG.md", "sample/report.html"}
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")} | beside
    assert set(_pages_of(site["nav"])) == pages


def test_the_site_asks_nothing_of_the_network() -> None:
    site = yaml.load((ROOT / "mkdocs.yml").read_text(), yaml.BaseLoader)
    assert site["theme"]["font"] == "false"
    assert "site_url" not in site
    assert not [value for name in ("extra_javascript", "extra_css") for value in site.get(name, []) if "//" in value]


@pytest.mark.more
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 25
    names = (tmp_path / "site" / "reference" / "python.html").read_text()
    assert "The log that an experiment reads, extracted and checked" in names  # a docstring, rendered
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for part in ('<script src="http', '<link rel="stylesheet" href="http', '<img src="http'):
            assert part not in text, f"{page}: {part}"
