"""The search page in a real browser: what it shows, rates and looks like."""

from __future__ import annotations

import base64
import csv
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ebr_core.serving.logged_lists import LoggedLists, write_logged_lists
from ebr_core.serving.own_data import OwnSettings
from ebr_core.serving.rank_reasons import ordinal
from tests.browser import CHROMIUM, Page, open_browser
from tests.bundles import SERVED, make_bundle, publish_bundles, with_own_columns
from tests.services import Service, call, running_service

pytestmark = [pytest.mark.more, pytest.mark.skipif(CHROMIUM is None, reason="no browser here")]
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WIDTHS = (1280, 390)
QUERY = {"query": "smiht ana", "left": "own:ebr", "right": "other:ebr", "where": "kind = person"}


class _Pictures(BaseHTTPRequestHandler):
    """A server that has the same picture everywhere."""

    def do_GET(self) -> None:
        """Answer with the picture."""
        self.send_response(200)
        self.send_header("content-type", "image/png")
        self.end_headers()
        self.wfile.write(DOT)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with two models over documents with columns, links, pictures, and the lists of a log."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pictures)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home, folders = tmp_path_factory.mktemp("home"), {}
    links = [f"http://127.0.0.1:{server.server_port}/{number}" for number in range(9)]
    more = {"page": pa.array(links), "photo": pa.array([f"{link}.png" for link in links])}
    shown = LoggedLists(pa.array(["chess"]), pa.array([0], pa.timestamp("us")), np.array([[7, 5]], np.int32))
    for seed, arm in enumerate(("own", "other")):
        folders[arm] = make_bundle(home / "artifacts" / f"bundle-{arm}", arm, seed)
        write_logged_lists(shown, folders[arm])
        settings = OwnSettings(show=("Price",))
        with_own_columns(folders[arm], {"arm": arm, "seed": seed, **SERVED}, settings, more)
    publish_bundles(home, "mine", folders, "own")
    yield home
    server.shutdown()


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Service]:
    with running_service(home) as service:
        yield service


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with open_browser(tmp_path / "profile") as page:
        yield page


def _open(page: Page, service: Service, width: int = 1280, dark: bool = False, **parameters: str) -> None:
    page.open(f"{service.url}/?{urllib.parse.urlencode(parameters)}", width, dark)
    page.wait("document.querySelectorAll('section select option').length > 0")
    if "query" in parameters:
        page.wait("[...document.querySelectorAll('.took')].every((summary) => summary.textContent)")


FOCUS = """(() => {
  const element = document.activeElement, style = getComputedStyle(element);
  const name = element.className || element.id || element.textContent;
  return [element.tagName, name, style.outlineStyle, parseFloat(style.outlineWidth)];
})()"""


def _titles(page: Page, side: int) -> list[str]:
    return list(
        page.run(
            f"[...document.querySelectorAll('section')[{side}].querySelectorAll('.title')].map((t) => t.textContent)"
        )
    )


def test_both_sides_show_what_the_service_answers(page: Page, service: Service) -> None:
    _open(page, service, **QUERY)
    ranks = []
    for side, model in enumerate(("own", "other")):
        hits = call(f"{service.url}/search", query="smiht ana", mode="ebr", where="kind = person", model=model).json[
            "hits"
        ]
        assert _titles(page, side) == [hit["title"] for hit in hits]
        ranks.append({hit["document_id"]: hit["rank"] for hit in hits})
    first = next(iter(ranks[0]))
    line = page.run("document.querySelector('li').innerText")
    assert f"{ordinal(ranks[1][first])} on the other side" in line
    assert first in line  # its identity
    assert "Price: " in page.run("document.querySelector('ol').innerText")  # what the experiment shows
    assert "by embedding" in line  # why
    assert page.run("document.querySelector('li a').href").endswith(f"/{first[1:]}")
    page.wait("document.querySelector('li img').naturalWidth === 1")
    assert page.faults == []


def test_bm25_and_the_engine_of_today_are_sides(page: Page, service: Service) -> None:
    _open(page, service, query="chess", left=":bm25", right=":logged")
    assert _titles(page, 0) == ["Chess Club Bonn", "Lyon Chess Open"]
    assert _titles(page, 1) == ["Lyon Chess Open", "Chess Club Bonn"]
    text = page.run("document.querySelectorAll('section')[1].innerText")
    assert "as the engine of the log showed it on 1970-01-01" in text
    assert "shown 1st by today's engine" in text
    _open(page, service, query="knitting", right=":logged")
    assert "nobody asked for this query in the log" in page.run("document.querySelectorAll('section')[1].innerText")


def test_the_ordinals_of_the_page_are_those_of_the_answers(page: Page, service: Service) -> None:
    _open(page, service)
    numbers = list(range(1, 131))
    assert page.run(f"{numbers}.map(ordinal)") == [ordinal(number) for number in numbers]


def test_columns_and_conditions_are_chosen_without_writing_them(page: Page, service: Service) -> None:
    _open(page, service, query="smiht ana", left="own:ebr")
    page.run("byId('more').open = true; document.querySelector('.filter[data-column=brand]').value = 'Acme'")
    page.run("[...byId('shown').querySelectorAll('input')].forEach((box) => { box.checked = box.value === 'brand'; })")
    page.run("searchBoth()")
    shown = page.run(
        "[...document.querySelector('section').querySelectorAll('.shown')].map((line) => line.textContent)"
    )
    assert len(shown) == 4
    assert all("brand: Acme" in line and "Price" not in line for line in shown)


def test_a_click_rates_and_another_takes_it_back(page: Page, service: Service, home: Path) -> None:
    _open(page, service, **QUERY)
    document = page.run("document.querySelector('.rate').dataset.document")
    button = f"document.querySelectorAll('.rate[data-document={document}] button')"
    page.run("document.querySelector('.rate button:nth-of-type(3)').focus()")
    page.press("Enter", "\r")
    page.wait("document.querySelector('.rate .saved').textContent !== ''")
    pressed = f"[...{button}].filter((b) => b.getAttribute('aria-pressed') === 'true').map((b) => b.textContent)"
    assert page.run(pressed) == ["good", "good"]  # on both sides
    page.run("document.querySelector('.rate button:nth-of-type(3)').click()")
    page.wait("document.querySelector('.rate .saved').textContent === 'taken back'")
    with (home / "rated" / "mine.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["query"], row["document_id"], row["grade"], row["shown_by"]) for row in rows] == [
        ("smiht ana", document, "2", "own:ebr"), ("smiht ana", document, "", "own:ebr")
    ]  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_and_is_legible(page: Page, service: Service, width: int, dark: bool) -> None:
    _open(page, service, width, dark, **QUERY)
    assert page.run("byId('more').open")  # because the address has a condition
    assert page.overflow() <= 0
    assert page.low_contrast() == {}
    assert page.faults == []
    lefts = page.run("[...document.querySelectorAll('section')].map((section) => section.getBoundingClientRect().left)")
    assert (lefts[0] == lefts[1]) == (width == 390)  # one below the other where the screen is narrow


def test_everything_is_reached_by_the_keyboard_with_a_visible_focus(page: Page, service: Service) -> None:
    _open(page, service, query="smiht ana", left="own:ebr", right="own:ebr")
    page.run("byId('query').focus()")
    reached = set()
    for _ in range(60):
        page.press("Tab")
        element, name, outline, pixels = page.run(FOCUS)
        reached.add(name)
        assert element == "BODY" or (outline != "none" and pixels >= 2), (
            name
        )  # behind the last one the page begins again
    assert {"Search", "chip", "field-city", "side", "Conditions and columns", "bad", "exactly right"} <= reached


def test_the_page_asks_for_the_key_once(home: Path, page: Page) -> None:
    with running_service(home, key="k3y") as service:
        page.open(f"{service.url}/?query=chess", 1280)
        page.wait("!byId('unlock').hidden")
        page.run("byId('key').value = 'k3y'; byId('unlock').requestSubmit()")
        page.wait("document.querySelectorAll('li').length > 0")
        page.run("document.querySelector('.rate button').click()")
        page.wait("document.querySelector('.rate .saved').textContent !== ''")
        assert page.run("byId('unlock').hidden")
