"""`ebr serve`: serve the models of a run over HTTP, with a page that compares two of them (docs/serving.md)."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import sys
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, TextIO

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.parallel import use_threads
from ebr_core.search.condition_masks import describe_columns
from ebr_core.serving.hits import Hit
from ebr_core.serving.known_context import unknown_context
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_answer import answer_prepared, logged_remark, prepare, unknown_in_condition
from ebr_core.serving.search_query import SearchQuery
from flows.app.service.api_key import RequireKey
from flows.app.service.api_page import render_api_page
from flows.app.service.embed_together import EmbedTogether
from flows.app.service.embeddings import LARGEST_BODY_BYTES, PATH, add_embeddings
from flows.app.service.error_answers import describe_errors, error_answer
from flows.app.service.graceful_server import FINISH_S, GracefulServer
from flows.app.service.open_models import ServedModels, watch_champion
from flows.app.service.page_ratings import rated_file
from flows.app.service.readiness import unready_reason
from flows.app.service.request_limits import RequestLimits
from flows.app.service.request_log import LOG_CONFIG, RequestLog, note_model
from flows.app.service.search_page import add_page
from flows.app.service.service_metrics import ServiceMetrics, new_metrics

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ModelQuery(SearchQuery):
    """A query to a model."""

    model: str | None = Field(None, max_length=100, description="the arm that answers; by default the champion")


class Answer(Frozen):
    """The documents that a model ranks first."""

    model: str
    mode: str = Field(description="the way in which terms and embedding were combined")
    made_at: str = Field(description="the time at which the run made the model")
    took_ms: float = Field(description="the time of the search itself")
    hits: list[Hit]
    remarks: list[str] = Field(description="what of the query's context and condition no document of the log has")


def make_app(
    served: ServedModels,
    stopping: threading.Event | None = None,
    key: str | None = None,
    log: TextIO | None = None,
    rates: bool = True,
) -> FastAPI:
    """The HTTP service over these models.

    stopping: set when the service ends; key: what requests need, None for nothing; log: to which a line for each
    request is written; rates: the page may write ratings to a file in EBR_HOME.
    """
    stopping, metrics = stopping or threading.Event(), new_metrics(served)
    together = EmbedTogether(metrics.together.observe)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        use_threads(1)  # of the thread that answers
        stop = threading.Event()
        watcher = threading.Thread(target=watch_champion, args=(served, stop), daemon=True)
        watcher.start()
        yield
        stop.set()
        await asyncio.to_thread(watcher.join)

    app = FastAPI(
        title="ebr",
        description="Embedding-based retrieval: the models of a run.",
        version=importlib.metadata.version("ebr"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    describe_errors(app)

    @app.get("/search", response_model=Answer)
    async def search(query: Annotated[ModelQuery, Query()], request: Request) -> Response:
        """The documents that a model ranks first for a query."""
        return await _answer(served, metrics, together, query, request)

    @app.post("/search", response_model=Answer)
    async def search_by_body(query: ModelQuery, request: Request) -> Response:
        """The documents that a model ranks first for a query, which is sent as JSON."""
        return await _answer(served, metrics, together, query, request)

    @app.get("/health")
    async def health(request: Request) -> dict[str, Any]:
        """The models that answer, and the reason if a newer one could not be opened. Without the key, where the service
        has one, only that it answers."""
        return _health(served) if request.state.knows_key else {"status": "ok"}

    @app.get("/ready", responses={503: {"description": "requests should go elsewhere: the service ends"}})
    async def ready(request: Request) -> Response:
        """Whether requests should come: every model answers a canary query, and the service does not end."""
        if reason := unready_reason(served, stopping):
            return error_answer(request.scope, 503, reason)
        return Response('{"status": "ready"}', media_type="application/json")

    @app.get("/metrics", response_class=Response)
    async def metrics_text() -> Response:
        """What the service counts, in the text format of Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> str:
        return render_api_page(app.openapi())

    add_page(app, served, rates)
    add_embeddings(app, served)
    paths = frozenset(str(getattr(route, "path", "")) for route in app.routes)
    app.add_middleware(RequireKey, key=key)
    app.add_middleware(RequestLimits, bodies={PATH: LARGEST_BODY_BYTES})
    app.add_middleware(RequestLog, metrics=metrics, paths=paths, stream=log)  # the last one comes first
    return app


def _health(served: ServedModels) -> dict[str, Any]:
    listing, models = served.current
    return {
        "status": "ok",
        "experiment": listing["experiment"],
        "champion": listing["champion"],
        "made_at": listing["made_at"],
        "documents": {arm: bundle.documents.num_rows for arm, bundle in models.items()},
        "modes": {arm: bundle.mode for arm, bundle in models.items()},
        "embed_query_ms": {arm: bundle.embed_query_ms for arm, bundle in models.items()},
        "fields": {arm: list(bundle.fields) for arm, bundle in models.items()},
        "columns": {arm: _columns(bundle) for arm, bundle in models.items()},
        "reload_failed": served.reload_error,
    }


def _columns(bundle: Bundle) -> dict[str, str]:
    """The columns of the documents that conditions compare and answers show, with their types."""
    return describe_columns(bundle.documents, bundle.own.settings.document_names)


async def _answer(
    served: ServedModels, metrics: ServiceMetrics, together: EmbedTogether, query: ModelQuery, request: Request
) -> Response:
    try:
        arm, bundle, made_at = served.model(query.model)
    except InputError as error:
        raise HTTPException(404, str(error)) from error
    mode = query.mode or bundle.mode
    note_model(request, arm, mode)
    try:
        prepared = prepare(bundle, query)
        embedded = await together.embed(bundle, prepared)
        started = time.perf_counter()
        hits = answer_prepared(bundle, prepared, embedded.vector)
        took_s = embedded.took_s + time.perf_counter() - started
        remarks = [*unknown_context(bundle, query), *unknown_in_condition(bundle, query), *logged_remark(bundle, query)]
    except InputError as error:
        raise HTTPException(422, str(error)) from error
    metrics.search_seconds.labels(arm, mode).observe(took_s)
    content = Answer(model=arm, mode=mode, made_at=made_at, took_ms=1000 * took_s, hits=hits, remarks=remarks)
    return Response(content.model_dump_json(), media_type="application/json")  # what FastAPI would validate again


def serve_models(
    served: ServedModels,
    key: str | None,
    host: str,
    port: int,
    at_once: int,
    drain_s: float = 0,
    log: bool = True,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Requests beyond at_once concurrent ones are refused (503).

    key: what requests need, None for nothing; drain_s: seconds for which requests are answered after SIGTERM, while
    /ready refuses; log: write a line for each request to standard error.
    """
    import uvicorn

    stopping = threading.Event()
    listing, bundles = served.current
    title = f"{', '.join(bundles)} of {listing['experiment']}, champion {listing['champion']}"
    print(f"{title}: http://{host}:{port}/  (API: /docs){', with a key' if key else ''}", flush=True)
    rates = key is not None or host in LOOPBACK
    if rates:
        print(f"Ratings given on the page: {rated_file(listing['experiment'])}", flush=True)
    config = uvicorn.Config(
        make_app(served, stopping, key, sys.stderr if log else None, rates),
        host=host,
        port=port,
        limit_concurrency=at_once,
        log_config=LOG_CONFIG,
        access_log=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=FINISH_S,
    )
    with contextlib.suppress(KeyboardInterrupt):  # that the server raises again when it has ended
        GracefulServer(config, stopping, drain_s).run()
