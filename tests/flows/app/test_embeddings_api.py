"""`/v1/embeddings` and `/docs` of the service, on a real port."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.search_query import SearchQuery
from flows.app.service.api_page import operations_of
from tests.bundles import CITIES, TITLES
from tests.services import Reply, call, make_home, running_service

QUERIES = ["smiht ana", "chess club", "Lyon walks", "jazz"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two models."""
    return make_home(tmp_path_factory.mktemp("home"), "left", "right")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """The address of the service."""
    with running_service(home) as service:
        yield service.url


@pytest.fixture(scope="module")
def bundle(home: Path) -> Bundle:
    """The champion."""
    return open_bundle(home / "artifacts" / "bundle-left")


def _embed(url: str, texts: object, **settings: object) -> Reply:
    return call(f"{url}/v1/embeddings", {"input": texts, **settings})


def _vectors(reply: Reply) -> Any:
    assert reply.status == 200, reply.text
    return np.array([entry["embedding"] for entry in reply.json["data"]], np.float32)


def test_a_query_has_the_vector_with_which_it_is_searched(url: str, bundle: Bundle) -> None:
    vectors = _vectors(_embed(url, QUERIES, model="left"))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    rows = {document: row for row, document in enumerate(bundle.documents["document_id"].to_pylist())}
    for query, vector in zip(QUERIES, vectors, strict=True):
        hits = answer(bundle, SearchQuery(query=query, mode="ebr", k=9))
        cosines = bundle.vectors @ vector
        assert [hit.cosine for hit in hits] == pytest.approx([float(cosines[rows[hit.document_id]]) for hit in hits])
    alone = _vectors(_embed(url, f"  {QUERIES[1]} "))
    np.testing.assert_allclose(alone[0], vectors[1], atol=1e-7)
    other = _vectors(_embed(url, QUERIES, model="right"))
    assert np.abs(other - vectors).max() > 0.01


def test_a_document_has_its_vector_in_the_model(url: str, bundle: Bundle) -> None:
    vectors = _vectors(_embed(url, TITLES, input_type="document"))
    without = [row for row, city in enumerate(CITIES) if city is None]
    np.testing.assert_allclose(vectors[without], bundle.vectors[without], atol=1e-6)
    body = [None, *["about chess"] * 8]  # which this arm does not read
    np.testing.assert_array_equal(_vectors(_embed(url, TITLES, input_type="document", body=body)), vectors)


def test_the_form_of_an_answer(url: str) -> None:
    answered = _embed(url, QUERIES[:2], user="somebody", dimensions=24).json
    assert {key: answered[key] for key in ("object", "model", "usage")} == {
        "object": "list",
        "model": "left",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert [(entry["object"], entry["index"]) for entry in answered["data"]] == [("embedding", 0), ("embedding", 1)]
    packed = _embed(url, QUERIES[:2], encoding_format="base64").json["data"]
    unpacked = np.array([np.frombuffer(base64.b64decode(entry["embedding"]), "<f4") for entry in packed])
    np.testing.assert_array_equal(unpacked, np.array([entry["embedding"] for entry in answered["data"]], np.float32))


def test_many_long_texts_are_embedded(url: str) -> None:
    titles = [f"chess club {number} " + "é" * 980 for number in range(256)]
    vectors = _vectors(_embed(url, titles, input_type="document"))
    for row in (0, 17, 255):
        np.testing.assert_allclose(
            _vectors(_embed(url, titles[row], input_type="document"))[0], vectors[row], atol=1e-6
        )


@pytest.mark.parametrize(
    ("texts", "settings", "status", "message", "param"),
    [
        ([], {}, 422, "at least 1 item", "input"),
        ([""], {}, 422, "text 0 is empty", None),
        (["chess", "x" * 501], {}, 422, "text 1 has 501 characters", None),
        (["x"] * 257, {}, 422, "at most 256 items", "input"),
        ([3, 4], {}, 422, "got tokens; send texts", "input"),
        ([[3, 4]], {}, 422, "got tokens; send texts", "input"),
        (None, {}, 422, "input", "input"),
        ("x", {"encoding_format": "int8"}, 422, "'float' or 'base64'", "encoding_format"),
        ("x", {"dimensions": 12}, 422, "the vectors of left have 24", None),
        ("x", {"colour": "red"}, 422, "Extra inputs", "colour"),
        ("x", {"body": "y"}, 422, "only documents have one", None),
        (["x", "y"], {"input_type": "document", "body": "z"}, 422, "got 1 for 2 titles", None),
        ("x", {"model": "gone"}, 404, "there are left, right", None),
    ],
)
def test_errors_have_the_same_form(
    url: str, texts: object, settings: dict[str, object], status: int, message: str, param: str | None
) -> None:
    refused = _embed(url, texts, **settings)
    assert refused.status == status
    error = refused.json["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id"}
    assert message in error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert error["code"] == ("model_not_found" if status == 404 else None)
    assert error["request_id"] == refused.headers["x-request-id"]


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/v1/embeddings")
    connection.putheader("content-length", "5000000")
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert "expected at most 4194304" in json.loads(answer.read())["error"]["message"]


def test_only_this_path_takes_a_large_body(url: str) -> None:
    assert call(f"{url}/search", {"query": "x", "fields": {"a": "y" * 20_000}}).status == 413
    assert call(f"{url}/v1/embeddings", b"not json").json["error"]["type"] == "invalid_request_error"
    assert call(f"{url}/v1/nothing").json["error"]["code"] is None


def test_the_description_needs_no_network_and_names_everything(url: str) -> None:
    page = call(f"{url}/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search("<script|https?:|//|@import", page.text)
    schema = call(f"{url}/openapi.json").json
    operations = operations_of(schema)
    assert {"/search", "/v1/embeddings", "/health", "/ready", "/metrics", "/choices"} <= {op.path for op in operations}
    for operation in operations:
        assert f"<h2>{operation.method} {operation.path}</h2>" in page.text
        for value in (*operation.parameters, *operation.body, *operation.answer):
            assert f"<code>{value.name}</code>" in page.text
    [search] = [op for op in operations if (op.method, op.path) == ("GET", "/search")]
    types = {value.name: value.type for value in search.parameters}
    assert types["query"] == "string of up to 500 characters"
    assert types["mode"] == "ebr, hybrid, weighted, reranked, boolean, bm25, logged"
    assert {value.name for value in search.answer} >= {"hits", "took_ms"}
