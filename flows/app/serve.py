"""`ebr serve`: the models of a run over HTTP, and a page to compare two of them."""

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

from ebr_core.answer import Hit, Question, answer
from ebr_core.bundle import Bundle, open_bundle
from ebr_core.config import Frozen, InputError
from tasks.bundle import bundle_of, models_of

LARGEST_BODY_BYTES = 16 * 1024
LARGEST_HEAD_BYTES = 16 * 1024  # the address with its query, and the headers
LOOK_S = 1.0  # between looks for a new champion
CHOICES = 200  # places and searchers that the page offers


class Asked(Question):
    """A question to a model."""

    model: str | None = Field(
        None, max_length=100, description="the arm that answers; the champion where none is named"
    )


class Answer(Frozen):
    """What a model found."""

    model: str
    made_at: str = Field(description="when the run made it")
    took_ms: float = Field(description="of the search itself")
    hits: list[Hit]


class Served:
    """The open models. A change is one assignment, so that a request sees the old ones or the new, never a mixture."""

    def __init__(self, experiment: str | None, wanted: tuple[str, ...]) -> None:
        """Opens them; wanted: arms beside the champion, by default the next best one."""
        self.experiment, self.wanted, self.failed = experiment, wanted, ""
        self.now = self._open(models_of(experiment), {})

    def _open(self, told: dict[str, Any], opened: dict[Path, Bundle]) -> tuple[dict[str, Any], dict[str, Bundle]]:
        others = self.wanted or tuple(arm for arm in told["models"] if arm != told["champion"])[:1]
        folders = {arm: bundle_of(told, arm) for arm in dict.fromkeys((told["champion"], *others))}
        return told, {arm: opened.get(folder) or open_bundle(folder) for arm, folder in folders.items()}

    def look(self) -> bool:
        """Opens what the last run made, if that is news; where it does not open, the old models go on answering."""
        told, models = self.now
        try:
            news = models_of(self.experiment)
            if news == told:
                return False
            self.now = self._open(news, {bundle_of(told, arm): bundle for arm, bundle in models.items()})
            self.failed = ""
        except (InputError, OSError, ValueError) as error:
            self.failed = str(error)
            return False
        return True


def make_app(served: Served) -> FastAPI:
    """The service over these models."""

    @contextlib.asynccontextmanager
    async def living(_app: FastAPI) -> AsyncIterator[None]:
        faiss.omp_set_num_threads(1)
        numba.set_num_threads(1)  # of the thread that answers
        stop = threading.Event()
        watcher = threading.Thread(target=_watch, args=(served, stop), daemon=True)
        watcher.start()
        yield
        stop.set()
        await asyncio.to_thread(watcher.join)

    app = FastAPI(title="ebr", description="Embedding-based retrieval: the models of a run.", lifespan=living)
    page = files("flows.app").joinpath("page", "index.html").read_text()

    @app.middleware("http")
    async def small(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuses what is larger than any question."""
        head = len(request.scope["path"]) + len(request.scope["query_string"])
        head += sum(len(name) + len(value) for name, value in request.headers.raw)
        if head > LARGEST_HEAD_BYTES:
            return JSONResponse(
                {"detail": f"an address and headers of {head} bytes; at most {LARGEST_HEAD_BYTES}"}, 431
            )
        if "transfer-encoding" in request.headers:
            return JSONResponse({"detail": "a body in chunks; send it with its content-length"}, 411)
        size = request.headers.get("content-length", "0")
        if not size.isdigit() or int(size) > LARGEST_BODY_BYTES:
            return JSONResponse({"detail": f"a body of {size} bytes; at most {LARGEST_BODY_BYTES}"}, 413)
        return await go_on(request)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        """What is wrong, without what was sent: that may be nothing that JSON can say, such as NaN or half a letter."""
        told = [{"loc": one["loc"], "msg": one["msg"], "type": one["type"]} for one in error.errors()]
        return Response(json.dumps({"detail": told}), 422, media_type="application/json")

    @app.get("/search")
    async def search(asked: Annotated[Asked, Query()]) -> Answer:
        """The documents that a model ranks first for a query."""
        return _answer(served, asked)

    @app.post("/search")
    async def search_by_body(asked: Asked) -> Answer:
        """The same, asked in JSON."""
        return _answer(served, asked)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Which models answer, and why a newer one does not."""
        told, models = served.now
        counts = {arm: bundle.documents.num_rows for arm, bundle in models.items()}
        return {
            "status": "ok",
            "experiment": told["experiment"],
            "champion": told["champion"],
            "made_at": told["made_at"],
            "documents": counts,
            "reload_failed": served.failed,
        }

    @app.get("/choices")
    async def choices() -> dict[str, Any]:
        """What the page offers: models, places of documents, some searchers with their places."""
        told, models = served.now
        champion = models[told["champion"]]
        offered = {
            name: pc.value_counts(champion.documents[name].drop_null()).field("values").to_pylist()
            for name in ("kind", "city", "region", "country", "language")
        }
        return {
            "champion": told["champion"],
            "models": list(models),
            "searchers": champion.searchers.slice(0, CHOICES).to_pylist(),
            **{name: sorted(values)[:CHOICES] for name, values in offered.items()},
        }

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> str:
        return page

    return app


def _answer(served: Served, asked: Asked) -> Answer:
    told, models = served.now
    arm = asked.model or told["champion"]
    if arm not in models:
        raise HTTPException(404, f"no model {arm!r} is served; there are {', '.join(models)}")
    started = time.perf_counter()
    try:
        hits = answer(models[arm], asked)
    except InputError as error:
        raise HTTPException(422, str(error)) from error
    return Answer(model=arm, made_at=told["made_at"], took_ms=1000 * (time.perf_counter() - started), hits=hits)


def _watch(served: Served, stop: threading.Event) -> None:
    """Looks for a new champion until told to stop. It is opened and checked here, beside the requests."""
    faiss.omp_set_num_threads(1)
    while not stop.wait(LOOK_S):
        served.look()


def serve_models(experiment: str | None, models: tuple[str, ...], host: str, port: int, at_once: int) -> None:
    """Serves until Ctrl-C. More than at_once requests at a time are told to come again (503)."""
    import uvicorn

    served = Served(experiment, models)
    told, opened = served.now
    print(
        f"{', '.join(opened)} of {told['experiment']}, champion {told['champion']}: http://{host}:{port}/  (API: /docs)"
    )
    uvicorn.run(
        make_app(served), host=host, port=port, limit_concurrency=at_once, log_level="warning", timeout_keep_alive=30
    )
