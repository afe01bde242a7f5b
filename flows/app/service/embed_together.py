"""Queries that wait at the same time are embedded in one call of the query tower, and answered one by one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_answer import embed_prepared
from ebr_core.serving.search_query import SearchQuery


class Embedded(NamedTuple):
    """The vector of a query, and how long its call of the tower took."""

    vector: Float32  # (1, D), or (h, 1, D)
    took_s: float


class _Waiting(NamedTuple):
    bundle: Bundle
    queries: list[SearchQuery]
    vectors: list[asyncio.Future[Embedded]]


class EmbedTogether:
    """The queries that wait for the next turn of the event loop, by model. They are embedded on the loop itself."""

    def __init__(self, count: Callable[[int], object]) -> None:
        """count: is told the number of queries of each call."""
        self._count, self._waiting = count, dict[int, _Waiting]()

    async def embed(self, bundle: Bundle, query: SearchQuery) -> Embedded:
        """The vector of a prepared query, as embed_prepared gives it. Raises InputError for a query that it refuses,
        and for no other that waits beside it."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._embed_all)
        group = self._waiting.setdefault(id(bundle), _Waiting(bundle, [], []))
        group.queries.append(query)
        group.vectors.append(loop.create_future())
        return await group.vectors[-1]

    def _embed_all(self) -> None:
        groups, self._waiting = list(self._waiting.values()), {}
        for group in groups:
            try:
                self._embed(group)
            except InputError as error:
                if len(group.queries) == 1:
                    _fail(group, error)
                    continue
                for query, vector in zip(group.queries, group.vectors, strict=True):  # one of them is refused
                    one = _Waiting(group.bundle, [query], [vector])
                    try:
                        self._embed(one)
                    except Exception as own_error:
                        _fail(one, own_error)
            except Exception as error:
                _fail(group, error)

    def _embed(self, group: _Waiting) -> None:
        use_threads(1)
        self._count(len(group.queries))
        started = time.perf_counter()
        vectors = embed_prepared(group.bundle, group.queries)
        took_s = time.perf_counter() - started
        for row, future in enumerate(group.vectors):
            if not future.done():  # its request was given up
                future.set_result(Embedded(vectors[..., row : row + 1, :], took_s))


def _fail(group: _Waiting, error: Exception) -> None:
    for future in group.vectors:
        if not future.done():
            future.set_exception(error)
