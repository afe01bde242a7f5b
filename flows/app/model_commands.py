"""Commands that query trained models: `ebr search`, `batch`, `export`, `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.app.session import open_console

EXPERIMENT = Annotated[str | None, typer.Option(help="The experiment whose models answer; default: the last that ran.")]
MODEL = Annotated[str | None, typer.Option(help="The arm that answers; default: the champion, by validation recall.")]
BUNDLE = Annotated[Path | None, typer.Option(help="A bundle's folder, in place of an experiment and model.")]
TOP = Annotated[int | None, typer.Option(help="How many documents to return; default: 10.")]
MODE = Annotated[str, typer.Option(help="boolean (every word), ebr (near by the embedding) or hybrid (both).")]
RADIUS = Annotated[str, typer.Option(help="none, model or query (as calibrated), or a cosine distance.")]
WHERE = Annotated[str | None, typer.Option(help="A condition on documents: kind = person AND NOT country = DE.")]


def search(
    query: Annotated[str, typer.Argument(help="The text, as typed.")],
    searcher: Annotated[
        str | None, typer.Option(help="The searcher_id; it brings the searcher's place unless one is given.")
    ] = None,
    city: Annotated[str | None, typer.Option(help="Where the searcher is.")] = None,
    region: Annotated[str | None, typer.Option()] = None,
    country: Annotated[str | None, typer.Option()] = None,
    language: Annotated[str | None, typer.Option(help="The searcher's.")] = None,
    where: WHERE = None,
    k: TOP = None,
    mode: MODE = "hybrid",
    radius: RADIUS = "none",
    experiment: EXPERIMENT = None,
    model: MODEL = None,
    bundle: BUNDLE = None,
) -> None:
    """Search with a model: prints ranked titles with scores and reasons."""
    from flows.app.model_search import open_model, show_hits, validate_question

    place = {"city": city, "region": region, "country": country, "language": language}
    fields = {"query": query, "searcher_id": searcher, "where": where, "k": k, "mode": mode, "radius": radius} | place
    question = validate_question(fields)
    show_hits(open_model(experiment, model, bundle), question, open_console())


def batch(
    queries: Annotated[Path, typer.Argument(help="Parquet with the column query; optional: searcher_id, city, …")],
    out: Annotated[Path, typer.Argument(help="Parquet: query_row, rank, document_id, title, score, cosine.")],
    where: WHERE = None,
    k: TOP = None,
    mode: MODE = "hybrid",
    radius: RADIUS = "none",
    experiment: EXPERIMENT = None,
    model: MODEL = None,
    bundle: BUNDLE = None,
) -> None:
    """Answer every query of a Parquet file and write the answers to another."""
    from flows.app.model_search import answer_file, open_model

    opened, settings = open_model(experiment, model, bundle), {"k": k, "mode": mode, "radius": radius, "where": where}
    print(f"{out}: answers to {answer_file(opened, queries, out, settings, Console(stderr=True)):,} queries")


def export(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    queries: Annotated[Path | None, typer.Option(help="Parquet with the column query, to embed as well.")] = None,
    experiment: EXPERIMENT = None,
    model: MODEL = None,
    bundle: BUNDLE = None,
) -> None:
    """Write a model's vectors and identities as Parquet, for other engines."""
    from flows.app.model_search import export_vectors, open_model

    for name, rows in export_vectors(open_model(experiment, model, bundle), out, queries).items():
        print(f"{out / name}: {rows:,} vectors")


def serve(
    experiment: EXPERIMENT = None,
    models: Annotated[str, typer.Option(help="Arms beside the champion, with commas; default: the next best.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    at_once: Annotated[int, typer.Option(help="Requests at a time; the server refuses more (503).")] = 256,
) -> None:
    """Serve models over HTTP with a page that compares two; the server opens a new champion as soon as there is one."""
    from flows.app.serve import serve_models

    serve_models(experiment, tuple(filter(None, models.split(","))), host, port, at_once)
