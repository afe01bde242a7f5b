"""Ids, lines, counts and the key of the service, on a real port."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ebr_core.errors import InputError
from flows.app.service.api_key import read_key
from tests.bundles import publish_bundles
from tests.services import Reply, Service, call, make_home, running_service, wait_until

KEY = "k3y-that-nobody-guesses"
WITH_KEY = {"x-api-key": KEY}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two models."""
    return make_home(tmp_path_factory.mktemp("home"), "softmax", "walks")


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Service]:
    """A service that needs a key."""
    with running_service(home, key=KEY) as service:
        yield service


def _ask(service: Service, path: str, body: object = None, headers: dict[str, str] | None = None) -> Reply:
    return call(service.url + path, body, {**WITH_KEY, **(headers or {})})


@pytest.mark.parametrize(
    "path", ["/search?query=x", "/choices", "/ratings", "/metrics", "/docs", "/openapi.json", "/none"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": f"{KEY}x"},
        {"x-api-key": ""},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {KEY}x", "x-api-key": KEY},  # one of both is wrong: which one counts is fixed
        {"x-api-key": "schl\u00fcssel"},
    ],
)
def test_without_the_key_there_is_no_answer(service: Service, path: str, headers: dict[str, str]) -> None:
    refused = call(service.url + path, headers=headers)
    assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert set(refused.json) == {"detail", "request_id"}


def test_with_the_key_everything_answers(service: Service) -> None:
    for headers in ({"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"}, WITH_KEY):
        assert call(f"{service.url}/search", headers=headers, query="chess", k=1).status == 200
    assert "made_at" in _ask(service, "/health").json
    assert _ask(service, "/none").status == 404


def test_what_answers_without_the_key_says_nothing_about_the_models(service: Service) -> None:
    assert call(f"{service.url}/health").json == {"status": "ok"}
    assert call(f"{service.url}/ready").json == {"status": "ready"}
    page = call(f"{service.url}/")
    assert page.status == 200
    assert not re.search("softmax|walks|made_at", page.text)


@pytest.mark.parametrize("key", ["", "  ", "with a blank", "schl\u00fcssel", "two\nlines"])
def test_a_key_that_no_header_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("EBR_API_KEY", key)
    with pytest.raises(InputError, match="EBR_API_KEY: got") as refused:
        read_key()
    assert not key.strip() or key not in str(refused.value)


def test_a_service_without_a_key_in_its_environment_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EBR_API_KEY", raising=False)
    assert read_key() is None


@pytest.mark.parametrize("given", ["abc-123", "Root=1-67891233-abcdef012345678912345678", "x" * 100])
def test_a_request_keeps_its_id(service: Service, given: str) -> None:
    answer = _ask(service, "/health", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given
    assert service.lines()[-1]["id"] == given


@pytest.mark.parametrize("given", ["", "x" * 101, "with a blank", "\u00e9", '{"a":\t1}'])
def test_an_id_that_is_long_or_not_printable_is_replaced(service: Service, given: str) -> None:
    answer = _ask(service, "/search?query=", headers={"x-request-id": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.json["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/search", 422),
        ("/search?query=x&model=none", 404),
        ("/search?query=x&k=3&mode=reranked", 422),
        ("/none", 404),
        ("/search?query=" + "x" * 20_000, 431),
    ],
)
def test_errors_carry_the_id(service: Service, path: str, status: int) -> None:
    answer = _ask(service, path, headers={"x-request-id": "mine"})
    assert (answer.status, answer.json["request_id"], answer.headers["x-request-id"]) == (status, "mine", "mine")


def test_a_line_for_each_request_without_what_was_searched(service: Service) -> None:
    before = len(service.lines())
    secret = {"query": "zyxwv chess", "searcher_id": "s1", "k": 2, "where": "city = Lyon OR kind = secretkind"}
    assert _ask(service, "/search", secret).status == 200
    assert _ask(service, "/search?query=zyxwv&searcher_id=nobodyknows&model=walks&mode=ebr&k=1").status == 422
    assert _ask(service, "/zyxwv/nobodyknows").status == 404
    lines = service.lines()[before:]
    keys = ["time", "id", "method", "path", "status", "ms", "model", "mode"]
    assert [list(line) for line in lines] == [keys] * 3
    facts = [tuple(line[key] for key in ("method", "path", "status", "model", "mode")) for line in lines]
    assert facts == [
        ("POST", "/search", 200, "softmax", "hybrid"),
        ("GET", "/search", 422, "walks", "ebr"),
        ("GET", "other", 404, None, None),
    ]
    written = service.output.read_text() + _ask(service, "/metrics").text
    for word in ("zyxwv", "nobodyknows", "secretkind", "s1", KEY, KEY[:-1]):
        assert word not in written


def test_the_counts(home: Path, service: Service) -> None:
    for _ in range(3):
        assert _ask(service, "/search?query=chess&k=2&model=walks&mode=weighted").status == 200
    answer = _ask(service, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert samples['ebr_search_seconds_count{mode="weighted",model="walks"}'] == "3.0"
    assert samples['ebr_search_seconds_bucket{le="+Inf",mode="weighted",model="walks"}'] == "3.0"
    assert float(samples['ebr_requests_total{path="/search",status="200"}']) >= 3
    assert samples['ebr_request_seconds_count{path="/search"}'] == str(
        sum(float(n) for name, n in samples.items() if name.startswith('ebr_requests_total{path="/search"'))
    )
    assert samples["ebr_requests_in_flight"] == "1.0"  # this one
    assert {samples[f'ebr_documents{{model="{arm}"}}'] for arm in ("softmax", "walks")} == {"9.0"}
    assert samples["ebr_reloads_failed_total"] == "0.0"
    assert not any("age_seconds{" in name for name in samples)  # "after softmax" is no time
    folders = {arm: home / "artifacts" / f"bundle-{arm}" for arm in ("softmax", "walks", "gone")}
    publish_bundles(home, "mine", folders, "gone")
    wait_until(lambda: "ebr_reloads_failed_total 0.0" not in _ask(service, "/metrics").text)
    assert "gone" in _ask(service, "/health").json["reload_failed"]
    publish_bundles(home, "mine", {arm: folders[arm] for arm in ("softmax", "walks")}, "softmax")
    record = home / "models" / "mine.json"
    made_at = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    record.write_text(json.dumps(json.loads(record.read_text()) | {"made_at": made_at}))
    wait_until(lambda: "ebr_model_age_seconds{" in _ask(service, "/metrics").text)
    ages = re.findall(r"ebr_model_age_seconds{model=.(?:softmax|walks).} (\S+)", _ask(service, "/metrics").text)
    assert len(ages) == 2
    assert all(7200 <= float(age) < 7500 for age in ages)
