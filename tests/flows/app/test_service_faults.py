"""An error of the service itself: an answer with an id, and a line that names code and no values."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from flows.app.serve import make_app
from flows.app.service.open_models import ServedModels
from tests.services import make_home


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServedModels:
    """Models of which the champion has lost its terms."""
    monkeypatch.setenv("EBR_HOME", str(make_home(tmp_path, "left", "right")))
    served = ServedModels("mine", ())
    listing, models = served.current
    lost = {"left": models["left"]._replace(terms=None)}  # type: ignore[arg-type]
    served.current = listing, {**models, **lost}
    return served


def test_a_fault_is_answered_counted_and_logged_without_values(served: ServedModels) -> None:
    log = io.StringIO()
    with TestClient(make_app(served, log=log)) as client:
        failed = client.get("/search", params={"query": "zyxwv", "k": 1}, headers={"x-request-id": "mine"})
        assert client.get("/search", params={"query": "zyxwv", "k": 1, "model": "right"}).status_code == 200
        counts = client.get("/metrics").text
    assert (failed.status_code, failed.headers["x-request-id"]) == (500, "mine")
    assert failed.json() == {"detail": "an error of the service itself", "request_id": "mine"}
    assert 'ebr_requests_total{path="/search",status="500"} 1.0' in counts
    first, second, _ = map(json.loads, log.getvalue().splitlines())
    assert first["error"].startswith("AttributeError at ")
    assert "terms.py:" in first["error"]
    assert "error" not in second
    assert "zyxwv" not in log.getvalue() + counts


def test_a_log_that_nobody_takes_ends_no_request(served: ServedModels) -> None:
    log = io.StringIO()
    log.close()
    with TestClient(make_app(served, log=log)) as client:
        assert client.get("/health").json()["champion"] == "left"
