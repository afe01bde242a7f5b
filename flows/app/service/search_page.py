"""The search page, what it offers, and the ratings that people give on it."""

from __future__ import annotations

from importlib.resources import files
from string import Template
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse

from ebr_core.errors import InputError
from flows.app.service.open_models import ServedModels
from flows.app.service.page_choices import choices_of
from flows.app.service.page_ratings import Rating, RatingAnswer, rated_file, write_rating
from flows.app.service.request_log import note_model


def page_text() -> str:
    """The page as one file, which needs no other."""
    folder = files("flows.app").joinpath("page")
    css, script = (folder.joinpath(f"search.{kind}").read_text() for kind in ("css", "js"))
    return Template(folder.joinpath("search.html").read_text()).substitute(css=css.strip(), script=script.strip())


def add_page(app: FastAPI, served: ServedModels, rates: bool) -> None:
    """Let an app answer at /, /choices and /ratings. rates: it writes ratings into EBR_HOME."""
    page, known = page_text(), dict[str, dict[str, Any]]()

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> str:
        return page

    @app.get("/choices")
    async def choices() -> dict[str, Any]:
        """What the page offers: models and their modes, the fields of a search, columns of documents with some of their
        values, and queries of the log."""
        listing = served.current[0]
        if listing["made_at"] not in known:  # counting values takes longer than a search
            known.clear()
            known[listing["made_at"]] = choices_of(served)
        file = str(rated_file(listing["experiment"])) if rates else None
        return known[listing["made_at"]] | {"ratings": file}

    @app.post("/ratings")
    async def rate(rating: Rating, request: Request) -> RatingAnswer:
        """Keep how well a document answers a query, in a file that `ebr ratings import` reads; the newest rating of a
        query and document counts."""
        if not rates:
            raise HTTPException(403, "this service listens beyond loopback without a key, so it keeps no ratings")
        listing, models = served.current
        note_model(request, listing["champion"], None)
        try:
            return write_rating(listing["experiment"], models[listing["champion"]], rating)
        except InputError as error:
            raise HTTPException(422, str(error)) from error
        except OSError as error:
            raise HTTPException(503, f"the rating cannot be written: {error.strerror}") from error
