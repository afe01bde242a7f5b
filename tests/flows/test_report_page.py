"""The report of a run in a real browser: size, overflow, console, contrast, and what keys reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.ebr import ebr
from tasks.report.result import FEW, read
from tests.browser import CHROMIUM, Page, open_browser

pytestmark = [pytest.mark.more, pytest.mark.skipif(CHROMIUM is None, reason="no browser here")]
SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
LARGEST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def report(prefect_server: None) -> Path:
    """The folder of the report of the smoke experiment."""
    return Path(ebr(str(SMOKE)).report.folder)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with open_browser(tmp_path / "profile") as page:
        yield page


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_report_fits_and_is_legible(report: Path, page: Page, width: int, dark: bool) -> None:
    page.open((report / "report.html").as_uri(), width, dark)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.overflow() <= 0
    assert page.low_contrast() == {}
    assert page.faults == []
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is not dark
    labels = "[...document.querySelectorAll('svg text')].map((text) => getComputedStyle(text).fill)"
    assert ("rgb(0, 0, 0)" in page.run(labels)) is False  # no picture keeps black letters on a dark page


def test_the_report_is_one_small_file(report: Path, page: Page) -> None:
    assert (report / "report.html").stat().st_size < LARGEST_BYTES
    page.open((report / "report.html").as_uri(), 1280)
    assert page.run("performance.getEntriesByType('resource').length") == 0
    assert page.run("document.querySelectorAll('script, link, img, iframe').length") == 0


def test_keys_reach_sections_tables_and_folded_parts(report: Path, page: Page) -> None:
    page.open((report / "report.html").as_uri(), 1280)
    stops = page.run("document.querySelectorAll('a, summary, [tabindex]').length")
    reached = set()
    for _ in range(stops):
        page.press("Tab")
        element, outline, pixels = page.run(
            "(() => { const style = getComputedStyle(document.activeElement);"
            " return [document.activeElement.tagName, style.outlineStyle, parseFloat(style.outlineWidth)]; })()"
        )
        reached.add(element)
        assert element == "BODY" or (outline != "none" and pixels >= 2)
    assert {"A", "SUMMARY", "DIV"} <= reached
    page.run("document.querySelector('summary').focus()")
    page.press("Enter", "\r")
    assert page.run("document.querySelector('details').open")
    links = page.run("[...document.querySelectorAll('nav a')].map((link) => link.hash.slice(1))")
    assert links == page.run("[...document.querySelectorAll('h2')].map((heading) => heading.id)")
    assert len(set(links)) == len(links)


def test_every_picture_has_words_and_every_table_headings(report: Path, page: Page) -> None:
    page.open((report / "report.html").as_uri(), 1280)
    assert page.run("[...document.querySelectorAll('figure')].every((figure) => figure.getAttribute('aria-label'))")
    assert page.run("[...document.querySelectorAll('th')].every((cell) => cell.scope === 'col')")
    assert page.run("document.documentElement.lang") == "en"


def test_the_report_answers_the_person_who_opens_it(report: Path, page: Page) -> None:
    """What it promises to whoever decides: the answer first, one word for one finding, small sets folded away."""
    result = read(report)
    page.open((report / "report.html").as_uri(), 1280)
    first = page.run("document.querySelector('h1 + p').textContent")
    assert first.startswith("Use ")
    assert "more than BM25 [" in first
    assert "today's engine" in first
    text = page.run("document.body.textContent")
    assert "equals" not in text
    for name, colour in (("better", "rgb(26, 127, 75)"), ("worse", "rgb(179, 38, 30)")):
        assert page.run(f"getComputedStyle(document.querySelector('.{name}')).color") == colour
    order = page.run("[...document.querySelectorAll('#answers + ul li small')].map((code) => code.textContent)")
    assert list(dict.fromkeys(order)) == [code for code in result.compared if code in order]
    assert set(result.compared) - set(order) <= {
        code for code, rows in result.compared.items() if result.main not in {row.targets for row in rows}
    }
    panels = page.run("[...document.querySelectorAll('figure svg text')].map((text) => text.textContent)")
    for arm in result.spec["arms"]:
        assert arm in panels  # its name stands at its line
    for name, searches in result.every_set.items():
        assert (name in result.sets) == (searches >= FEW or name == result.main)
    unfolded = "[...document.querySelectorAll('th')].filter((cell) => !cell.closest('details'))"
    assert not set(result.few_sets) & set(page.run(f"{unfolded}.map((cell) => cell.textContent)"))
    folded_lists = page.run("document.querySelectorAll('details table.log').length")
    assert folded_lists >= 2  # searches won and lost, and those without an answer
