"""How the service ends: it says that it is not ready, finishes what runs, and exits with 0."""

from __future__ import annotations

import http.client
import json
import signal
from pathlib import Path

import pytest

from tests.services import answers, call, make_home, running_service, wait_until

QUERY = b'{"query": "chess club", "k": 2}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two models."""
    return make_home(tmp_path_factory.mktemp("home"), "left", "right")


def _half_sent(url: str) -> http.client.HTTPConnection:
    """A connection whose request has begun: its body is not sent yet."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/search")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(QUERY)))
    connection.endheaders(QUERY[:5])
    return connection


def test_a_stop_finishes_the_running_request(home: Path) -> None:
    with running_service(home) as service:
        connection = _half_sent(service.url)
        wait_until(lambda: "ebr_requests_in_flight 2.0" in call(f"{service.url}/metrics").text)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not answers(service.url))
        connection.send(QUERY[5:])
        answer = connection.getresponse()
        assert (answer.status, len(json.loads(answer.read())["hits"])) == (200, 2)
        assert service.process.wait(timeout=60) == 0
        assert service.lines()[-1]["status"] == 200


@pytest.mark.more
def test_a_request_that_never_ends_does_not_hold_the_stop(home: Path) -> None:
    with running_service(home) as service:
        connection = _half_sent(service.url)
        wait_until(lambda: "ebr_requests_in_flight 2.0" in call(f"{service.url}/metrics").text)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=60) == 0
        connection.close()


def test_a_draining_service_answers_and_is_not_ready(home: Path) -> None:
    with running_service(home, "--drain", "3600") as service:
        assert call(f"{service.url}/ready").json == {"status": "ready"}
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: call(f"{service.url}/ready").status != 200)
        ready = call(f"{service.url}/ready")
        assert (ready.status, ready.json["detail"]) == (503, "stopping")
        assert call(f"{service.url}/health").status == 200
        assert len(call(f"{service.url}/search", query="chess", k=2).json["hits"]) == 2
        service.process.send_signal(signal.SIGTERM)  # the second one ends the time
        assert service.process.wait(timeout=60) == 0


@pytest.mark.more
def test_the_drain_ends_by_itself(home: Path) -> None:
    with running_service(home, "--drain", "0.5") as service:
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=60) == 0


def test_a_model_that_cannot_answer_is_not_ready(home: Path) -> None:
    import threading

    from flows.app.service.open_models import ServedModels
    from flows.app.service.readiness import unready_reason

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EBR_HOME", str(home))
        served = ServedModels("mine", ())
        assert unready_reason(served, threading.Event()) == ""
        listing, models = served.current
        served.current = listing, {arm: bundle._replace(mode="reranked") for arm, bundle in models.items()}
        assert "left has no reranked" in unready_reason(served, threading.Event())
