"""`ebr serve`: serve the models of a run over HTTP, with a page that compares two of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import faiss
import numba
import pyarrow.compute as pc
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field

from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.search.condition_masks import describe_columns
from ebr_core.serving.known_context import unknown_context
from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.serving.query_answer import Hit, answer, unknown_in_condition
from ebr_core.serving.search_query import SearchQuery
from ebr_core.towers.city_names import locate_cities
from tasks.served_models import bundle_of, models_of

LARGEST_BODY_BYTES = 16 * 1024
LARGEST_HEAD_BYTES = 16 * 1024  # the address with its query, and the headers
RELOAD_S = 1.0  # between checks for a new champion
CHOICES = 200  # places and searchers that the page offers


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


class ServedModels:
    """The open models. One assignment changes them: a request sees the old models or the new ones, never a mixture."""

    def __init__(self, experiment: str | None, arms: tuple[str, ...]) -> None:
        """Open the champion and these arms; by default the next best arm."""
        self.experiment, self.arms, self.reload_error = experiment, arms, ""
        self.current = self._open(models_of(experiment), {})

    def _open(
        self, listing: dict[str, Any], open_bundles: dict[Path, Bundle]
    ) -> tuple[dict[str, Any], dict[str, Bundle]]:
        other_arms = self.arms or tuple(arm for arm in listing["models"] if arm != listing["champion"])[:1]
        folders = {arm: bundle_of(listing, arm) for arm in dict.fromkeys((listing["champion"], *other_arms))}
        bundles = {arm: open_bundles.get(folder) or open_bundle(folder) for arm, folder in folders.items()}
        if any(bundle.own.places is not None for bundle in bundles.values()):
            locate_cities(["Lyon"], [None])  # reads the table of cities now, not for the first request
        return listing, bundles

    def reload(self) -> bool:
        """True if the last run made other models, which are open now. If they do not open, the old ones answer."""
        listing, models = self.current
        try:
            newest = models_of(self.experiment)
            if newest == listing:
                return False
            self.current = self._open(newest, {bundle_of(listing, arm): bundle for arm, bundle in models.items()})
            self.reload_error = ""
        except (InputError, OSError, ValueError) as error:
            self.reload_error = str(error)
            return False
        return True


def make_app(served: ServedModels) -> FastAPI:
    """The HTTP service over these models."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        faiss.omp_set_num_threads(1)
        numba.set_num_threads(1)  # of the thread that answers
        stop = threading.Event()
        watcher = threading.Thread(target=_watch, args=(served, stop), daemon=True)
        watcher.start()
        yield
        stop.set()
        await asyncio.to_thread(watcher.join)

    app = FastAPI(title="ebr", description="Embedding-based retrieval: the models of a run.", lifespan=lifespan)
    app.middleware("http")(_refuse_large)
    app.exception_handler(RequestValidationError)(_describe_invalid)
    page = files("flows.app").joinpath("page", "index.html").read_text()

    @app.get("/search")
    async def search(query: Annotated[ModelQuery, Query()]) -> Answer:
        """The documents that a model ranks first for a query."""
        return _answer(served, query)

    @app.post("/search")
    async def search_by_body(query: ModelQuery) -> Answer:
        """The documents that a model ranks first for a query, which is sent as JSON."""
        return _answer(served, query)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """The models that answer, and the reason if a newer one could not be opened."""
        return _health(served)

    @app.get("/choices")
    async def choices() -> dict[str, Any]:
        """The choices on the page: models, places of documents, and some searchers with their places."""
        return _choices(served)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> str:
        return page

    return app


async def _refuse_large(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuse a request that is larger than any query."""
    head = len(request.scope["path"]) + len(request.scope["query_string"])
    head += sum(len(name) + len(value) for name, value in request.headers.raw)
    if head > LARGEST_HEAD_BYTES:
        return JSONResponse(
            {"detail": f"got an address and headers of {head} bytes; expected at most {LARGEST_HEAD_BYTES}"}, 431
        )
    if "transfer-encoding" in request.headers:
        return JSONResponse({"detail": "got a body in chunks; send it with its content-length"}, 411)
    size = request.headers.get("content-length", "0")
    if not size.isdigit() or int(size) > LARGEST_BODY_BYTES:
        return JSONResponse({"detail": f"got a body of {size} bytes; expected at most {LARGEST_BODY_BYTES}"}, 413)
    return await call_next(request)


async def _describe_invalid(_request: Request, error: Exception) -> Response:
    """The errors of a request, without its values: JSON cannot hold all of them, such as NaN or half a character."""
    assert isinstance(error, RequestValidationError)
    detail = [{"loc": fault["loc"], "msg": fault["msg"], "type": fault["type"]} for fault in error.errors()]
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


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


def _choices(served: ServedModels) -> dict[str, Any]:
    listing, models = served.current
    champion = models[listing["champion"]]
    values = {
        name: pc.value_counts(champion.documents[name].drop_null()).field("values").to_pylist()
        for name in ("kind", "city", "region", "country", "language")
    }
    return {
        "champion": listing["champion"],
        "models": list(models),
        "columns": _columns(champion),
        "searchers": champion.searchers.slice(0, CHOICES).to_pylist(),
        **{name: sorted(column)[:CHOICES] for name, column in values.items()},
    }


def _answer(served: ServedModels, query: ModelQuery) -> Answer:
    listing, models = served.current
    arm = query.model or listing["champion"]
    if arm not in models:
        raise HTTPException(404, f"no model {arm!r} is served; there are {', '.join(models)}")
    started = time.perf_counter()
    try:
        hits = answer(models[arm], query)
        took_s = time.perf_counter() - started
        remarks = [*unknown_context(models[arm], query), *unknown_in_condition(models[arm], query)]
    except InputError as error:
        raise HTTPException(422, str(error)) from error
    return Answer(
        model=arm,
        mode=query.mode or models[arm].mode,
        made_at=listing["made_at"],
        took_ms=1000 * took_s,
        hits=hits,
        remarks=remarks,
    )


def _watch(served: ServedModels, stop: threading.Event) -> None:
    """Open each new champion until the event is set, in a thread of its own, while requests are answered."""
    faiss.omp_set_num_threads(1)
    while not stop.wait(RELOAD_S):
        served.reload()


def serve_models(experiment: str | None, models: tuple[str, ...], host: str, port: int, at_once: int) -> None:
    """Serve until Ctrl-C. Requests beyond at_once concurrent ones are refused (503)."""
    import uvicorn

    served = ServedModels(experiment, models)
    listing, bundles = served.current
    title = f"{', '.join(bundles)} of {listing['experiment']}, champion {listing['champion']}"
    print(f"{title}: http://{host}:{port}/  (API: /docs)")
    uvicorn.run(
        make_app(served), host=host, port=port, limit_concurrency=at_once, log_level="warning", timeout_keep_alive=30
    )
