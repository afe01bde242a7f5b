"""Queries that wait together: one call of the query tower, and the answers that each would get alone."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest

from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.serving.query_answer import answer, answer_prepared, embed_prepared, prepare
from ebr_core.serving.search_query import SearchQuery
from ebr_core.towers.checkpoint import Checkpoint
from ebr_core.towers.feature_config import Numbers
from flows.app.service.embed_together import Embedded, EmbedTogether
from tests.bundles import make_bundle
from tests.services import call, make_home, running_service

TEXTS = ["smiht ana", "chess", "Lyon walks", "jazz night", "bonn", "club", "anna", "ωψχ"]
QUERIES = [
    SearchQuery(query=text, k=5, mode=mode, city=city)
    for number, text in enumerate(TEXTS)
    for mode, city in [(("ebr", "hybrid", "weighted", "boolean")[number % 4], ("Lyon", None)[number % 2])]
]


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    """Two models."""
    return [open_bundle(make_bundle(tmp_path / str(seed), str(seed), seed)) for seed in (0, 1)]


def test_queries_that_wait_together_are_embedded_in_one_call_for_each_model(bundles: list[Bundle]) -> None:
    calls: list[int] = []
    together = EmbedTogether(calls.append)
    asked = [(bundles[number % 2], query) for number, query in enumerate(QUERIES * 3)]

    async def one(bundle: Bundle, query: SearchQuery) -> Embedded:
        return await together.embed(bundle, prepare(bundle, query))

    async def all_at_once() -> list[Embedded]:
        return await asyncio.gather(*(one(*each) for each in asked))

    embedded = asyncio.run(all_at_once())
    assert calls == [12, 12]
    for (bundle, query), (vector, took_s) in zip(asked, embedded, strict=True):
        assert answer_prepared(bundle, prepare(bundle, query), vector) == answer(bundle, query)
        assert took_s > 0
    asyncio.run(one(*asked[0]))
    assert calls == [12, 12, 1]  # nothing is left over


def test_a_query_that_is_refused_leaves_the_others_alone(bundles: list[Bundle]) -> None:
    bundle = _reading_numbers(bundles[0])
    queries = [SearchQuery(query="chess", k=3, fields={"size": size}) for size in ("1", "large", "7", "1")]
    calls: list[int] = []
    together = EmbedTogether(calls.append)

    async def all_at_once() -> list[Embedded | BaseException]:
        return await asyncio.gather(*(together.embed(bundle, query) for query in queries), return_exceptions=True)

    results = asyncio.run(all_at_once())
    assert calls == [4, 1, 1, 1, 1]
    assert isinstance(results[1], InputError)
    for query, result in zip(queries, results, strict=True):
        if query.fields["size"] != "large":
            assert isinstance(result, Embedded)
            np.testing.assert_array_equal(result.vector, embed_prepared(bundle, [query]))


def _reading_numbers(bundle: Bundle) -> Bundle:
    """The bundle with a column `size` of the searches in place of the city."""
    assert isinstance(bundle.towers, Checkpoint)
    fitted = bundle.towers.fitted
    groups = {"place": Numbers(searches=("size",))}
    features = fitted.features.model_copy(update={"groups": groups})
    fitted = fitted._replace(features=features, group_values={"place": {"size": [3.0]}})
    return bundle._replace(towers=bundle.towers._replace(fitted=fitted), fields=("size",))


def test_the_service_embeds_together_and_answers_each_as_if_it_were_alone(tmp_path: Path) -> None:
    home = make_home(tmp_path, "left", "right")
    asked = [{"query": text, "k": 5, "model": model} for text in TEXTS for model in ("left", "right")]
    with running_service(home) as service:
        alone = [call(f"{service.url}/search", **parameters).json["hits"] for parameters in asked]
        connections = [http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=60) for _ in asked]
        for connection in connections:
            connection.connect()
        for _ in range(20):  # until some arrive while another one is answered
            for connection, parameters in zip(connections, asked, strict=True):
                connection.request("GET", f"/search?{urlencode(parameters)}")
            answers = [json.loads(connection.getresponse().read()) for connection in connections]
            assert [answer["hits"] for answer in answers] == alone
            text = call(f"{service.url}/metrics").text
            queries, calls = (
                float(re.findall(rf"ebr_queries_embedded_together_{part} (\S+)", text)[0]) for part in ("sum", "count")
            )
            if queries > calls:
                break
        assert queries > calls
