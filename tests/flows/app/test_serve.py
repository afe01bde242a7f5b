"""The service on a real port: answers, refusals, and a new champion under load."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bundles import publish_bundles
from tests.services import PROJECT, environment_of, make_home, running_service


def _ebr(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.app.cli", *arguments],
        cwd=PROJECT,
        env=environment_of(home),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three bundles, as a run leaves them; the champion is `left`."""
    return make_home(tmp_path_factory.mktemp("home"), "left", "right", "new")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    """The address of the service."""
    with running_service(home) as service:
        yield service.url


def _get(url: str, **parameters: object) -> Any:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=20) as answer:
        return json.loads(answer.read())


def test_both_requests_and_the_command_line_give_the_same_answer(home: Path, url: str) -> None:
    query = {"query": "smiht ana", "k": 3, "mode": "ebr", "where": "kind = person"}
    answer = _get(f"{url}/search", **query)
    assert answer["model"] == "left"
    assert {hit["title"] for hit in answer["hits"]} == {"Anna Schmidt", "Anna Smith", "Ana Smit"}
    body = urllib.request.Request(
        f"{url}/search", json.dumps(query).encode(), {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(body, timeout=20) as response:
        assert json.loads(response.read())["hits"] == answer["hits"]
    output = _ebr(home, "search", "smiht ana", "--k", "3", "--mode", "ebr", "--where", "kind = person")
    assert output.returncode == 0, output.stderr
    assert [hit["title"] for hit in answer["hits"]] == [
        title for line in output.stdout.splitlines() if line.startswith("│") and (title := line.split("│")[2].strip())
    ]
    assert _get(f"{url}/search", query="walks", k=2, model="right", searcher_id="s1")["model"] == "right"
    output = _ebr(home, "search", "smiht ana", "--city", "Atlantis", "--k", "3")
    assert "city: no document and no searcher of this log has 'Atlantis', so it counts as unknown" in output.stdout
    assert "counts as unknown" not in _ebr(home, "search", "smiht ana", "--city", "Lyon", "--k", "3").stdout


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({}, 422, "Field required"),
        ({"query": ""}, 422, "at least 1 character"),
        ({"query": "x" * 501}, 422, "at most 500"),
        ({"query": "x", "k": 0}, 422, "greater than or equal to 1"),
        ({"query": "x", "k": 99}, 422, "this model holds 9 documents"),
        ({"query": "x", "k": 3, "colour": "red"}, 422, "Extra inputs"),
        ({"query": "x", "k": 3, "where": "= red"}, 422, "expected an attribute"),
        ({"query": "x", "k": 3, "where": "shade = red"}, 422, "no column 'shade'; there are document_id, kind, city"),
        ({"query": "x", "k": 3, "mode": "magic"}, 422, "'bm25' or 'logged'"),
        ({"query": "x", "k": 3, "mode": "reranked"}, 422, "mode: left has no reranked; its modes are ebr, hybrid"),
        ({"query": "x", "k": 3, "searched_at": "yesterday"}, 422, "valid datetime"),
        ({"query": "x", "k": 3, "searcher_id": "nobody"}, 422, "no searcher 'nobody'"),
        ({"query": "x", "k": 3, "fields": '{"device": "tv"}'}, 422, "reads no device"),
        ({"query": "x", "k": 3, "model": "none"}, 404, "there are left, right"),
    ],
)
def test_an_invalid_query_is_refused_with_the_reason(
    url: str, query: dict[str, object], status: int, message: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        _get(f"{url}/search", **query)
    assert refused.value.code == status
    assert message in refused.value.read().decode()


UNREPEATABLE = [  # values that a JSON request can hold and a JSON answer cannot: half a character, no number
    (b'{"query": "a\\ud800"}', 422),
    (b'{"query": "a", "radius": NaN}', 422),
    (b'{"query": "a", "radius": 1e999}', 422),
]


def test_large_and_invalid_bodies_are_refused(url: str) -> None:
    for body, status in ((b"{" + b" " * 20_000 + b"}", 413), (b"not json", 422), *UNREPEATABLE):
        request = urllib.request.Request(f"{url}/search", body, {"content-type": "application/json"}, method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code == status
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.putrequest("POST", "/search")
    connection.putheader("content-type", "application/json")
    connection.putheader("transfer-encoding", "chunked")  # a body without a length
    connection.endheaders(b"1\r\n{\r\n")  # the refusal may come before the rest is sent
    assert connection.getresponse().status == 411


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/search?query=" + "x" * 20_000, {}), ("/health", {"x": "y" * 20_000}), ("/" + "z" * 20_000, {})],
)
def test_a_large_head_is_refused(url: str, path: str, headers: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=20)
    assert refused.value.code == 431
    assert "at most 16384" in refused.value.read().decode()


def test_the_description_of_the_service(url: str) -> None:
    description = _get(f"{url}/openapi.json")
    assert {"/search", "/health", "/choices", "/ratings"} <= set(description["paths"])
    names = {parameter["name"] for parameter in description["paths"]["/search"]["get"]["parameters"]}
    assert {
        "query",
        "searcher_id",
        "city",
        "region",
        "country",
        "language",
        "searched_at",
        "where",
        "k",
        "model",
    } <= names
    health = _get(f"{url}/health")
    assert (health["status"], health["champion"], health["reload_failed"]) == ("ok", "left", "")
    choices = _get(f"{url}/choices")
    assert choices["models"] == ["left", "right"]
    assert [field["name"] for field in choices["fields"]["left"]] == ["searcher_id", "city"]


def test_a_broken_champion_is_reported_and_the_old_one_answers(home: Path, url: str) -> None:
    broken = home / "artifacts" / "bundle-broken"
    shutil.copytree(home / "artifacts" / "bundle-right", broken)
    shutil.copy(home / "artifacts" / "bundle-left" / "index.faiss", broken / "index.faiss")
    folders = {arm: home / "artifacts" / f"bundle-{arm}" for arm in ("left", "right", "broken")}
    publish_bundles(home, "mine", folders, "broken")
    deadline = time.monotonic() + 30
    while not (health := _get(f"{url}/health"))["reload_failed"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "the index belongs to" in health["reload_failed"]
    assert health["champion"] == _get(f"{url}/search", query="chess", k=1)["model"] == "left"
    publish_bundles(home, "mine", {arm: folders[arm] for arm in ("left", "right")}, "left")


def test_a_new_champion_takes_over_without_losing_a_request(home: Path, url: str) -> None:
    folders = {arm: home / "artifacts" / f"bundle-{arm}" for arm in ("left", "right", "new")}
    deadline = time.monotonic() + 30

    def hammer(_worker: int) -> list[str]:
        models = [_get(f"{url}/search", query="chess club", k=2)["model"]]
        while models[-1] != "new" and time.monotonic() < deadline:
            models.append(_get(f"{url}/search", query="chess club", k=2)["model"])
        return models

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(hammer, worker) for worker in range(4)]
        time.sleep(0.5)
        publish_bundles(home, "mine", folders, "new")
        for worker in workers:
            models = worker.result()
            assert set(models) == {"left", "new"}
            assert models == sorted(models)  # never back to the old model
    publish_bundles(home, "mine", {arm: folders[arm] for arm in ("left", "right")}, "left")


def test_a_batch_gives_the_same_answers_as_single_queries(home: Path, tmp_path: Path) -> None:
    queries = pa.table({"query": ["chess", "smiht ana"], "city": ["Bonn", None], "other": [1, 2]})
    pq.write_table(queries, tmp_path / "queries.parquet")
    out = tmp_path / "out.parquet"
    done = _ebr(home, "batch", str(tmp_path / "queries.parquet"), str(out), "--k", "4", "--mode", "ebr")
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(out).to_pylist()
    assert [(row["query_row"], row["rank"]) for row in rows] == [(q, r) for q in (0, 1) for r in (1, 2, 3, 4)]
    single_answer = _ebr(home, "search", "chess", "--k", "4", "--mode", "ebr", "--city", "Bonn").stdout
    assert [row["title"] in single_answer for row in rows[:4]] == [True] * 4
    pq.write_table(pa.table({"query": ["chess", ""]}), tmp_path / "empty.parquet")
    partly = _ebr(home, "batch", str(tmp_path / "empty.parquet"), str(tmp_path / "partly.parquet"), "--k", "4")
    assert partly.returncode == 0
    assert "answers to 2 queries, 1 of them without an answer: see the column problem" in partly.stdout
    pq.write_table(queries, tmp_path / "wrong.parquet", compression="brotli")
    wrong = _ebr(home, "batch", str(tmp_path / "wrong.parquet"), str(out), "--k", "4")
    assert wrong.returncode == 2
    assert "is compressed by Brotli" in wrong.stderr.replace("\n", " ")
    assert pq.read_table(out).to_pylist() == rows  # the existing file is not overwritten
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.parquet" for name in ("empty", "out", "partly", "queries", "wrong")
    ]


def test_exported_vectors_rank_as_the_model_does(home: Path, tmp_path: Path) -> None:
    import numpy as np

    from ebr_core.serving.model_bundle import open_bundle
    from ebr_core.serving.query_answer import answer
    from ebr_core.serving.search_query import SearchQuery

    pq.write_table(pa.table({"query": ["walks"]}), tmp_path / "q.parquet")
    done = _ebr(home, "export", str(tmp_path / "out"), "--queries", str(tmp_path / "q.parquet"))
    assert done.returncode == 0, done.stderr
    documents = pq.read_table(tmp_path / "out" / "documents.parquet")
    vectors = np.stack(documents["vector"].to_pylist())
    query = np.array(pq.read_table(tmp_path / "out" / "queries.parquet")["vector"].to_pylist()[0])
    order = np.argsort(-(vectors @ query), kind="stable")[:3]
    hits = answer(open_bundle(home / "artifacts" / "bundle-left"), SearchQuery(query="walks", mode="ebr", k=3))
    assert [hit.document_id for hit in hits][:2] == documents["document_id"].take(order).to_pylist()[:2]
    missing = _ebr(home, "export", str(tmp_path / "new"), "--queries", str(tmp_path / "none.parquet"))
    assert missing.returncode == 2
    assert "none.parquet: no such file; expected a Parquet file with the column query" in missing.stderr
    assert not (tmp_path / "new").exists()
    again = _ebr(home, "export", str(tmp_path / "out"))
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    for command in (["search", "x"], ["serve"]):
        done = _ebr(tmp_path, *command)
        assert done.returncode == 2
        assert "no model under" in done.stderr
        assert "ebr run" in done.stderr
