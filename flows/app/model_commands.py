"""Commands that query trained models: `ebr search`, `batch`, `export`, `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ebr_core.errors import InputError
from flows.app.file_checks import refuse_full_folder, refuse_no_file, refuse_no_folder
from flows.app.model_names import CHAMPION, bundle_folder, experiment_of, served_names
from flows.app.search_options import read_fields, refuse_options
from flows.app.session import open_console

QUERIES = "a Parquet file with the column query"
MODEL = Annotated[
    str,
    typer.Option(
        help="The model that answers: EXPERIMENT/ARM, such as smoke/random (an arm, ensemble, cascade or ranker); an "
        "experiment alone, for its champion; the folder of a bundle; or @champion, that of the experiment that ran "
        "last.",
        metavar="EXPERIMENT/ARM",
    ),
]
TOP = Annotated[
    int | None, typer.Option("--k", "-k", help="The number of documents to return; default: 10.", min=1, max=1000)
]
MODE = Annotated[
    str | None,
    typer.Option(
        help="ebr (nearest embeddings), hybrid (embeddings and BM25, by ranks), weighted (the same, by a weighted "
        "sum), reranked (in the order of the model's cascade or ranker) or boolean (documents with every word); "
        "default: the model's own mode, which won on validation."
    ),
]
FIELD = Annotated[
    list[str] | None,
    typer.Option(
        help="A column of the search that the model reads, by its name in your files, and its value: device=phone. "
        "Repeat the option for more columns, or for more values of one."
    ),
]
HISTORY = Annotated[
    list[str] | None,
    typer.Option(
        help="The document_id of a click before this search, instead of the searcher's clicks that the model knows. "
        "Repeat the option for more clicks, the newest last."
    ),
]
RADIUS = Annotated[str, typer.Option(help="none, model or query (calibrated), or a cosine distance.")]
WHERE = Annotated[
    str | None, typer.Option(help="A condition on documents, such as: kind = person AND NOT country = DE.")
]
SHOW = Annotated[
    list[str] | None,
    typer.Option(help="Columns of the documents to show: price,brand; default: serving.show of the experiment."),
]


def search(
    query: Annotated[str, typer.Argument(help="The text of the query.")],
    searcher: Annotated[
        str | None, typer.Option(help="The searcher_id; if you give no place, the searcher's own place is used.")
    ] = None,
    city: Annotated[str | None, typer.Option(help="The searcher's city.")] = None,
    region: Annotated[str | None, typer.Option(help="The searcher's region.")] = None,
    country: Annotated[str | None, typer.Option(help="The searcher's country.")] = None,
    language: Annotated[str | None, typer.Option(help="The searcher's language.")] = None,
    at: Annotated[
        str | None,
        typer.Option(help="The time of the search, for models that read the age of documents; default: now (UTC)."),
    ] = None,
    field: FIELD = None,
    history: HISTORY = None,
    where: WHERE = None,
    show: SHOW = None,
    k: TOP = None,
    mode: MODE = None,
    radius: RADIUS = "none",
    model: MODEL = CHAMPION,
) -> None:
    """Print ranked titles for a query, with scores and reasons."""
    refuse_options(mode, radius, where, at)
    own_fields = read_fields(field or [])
    folder = bundle_folder(model)
    from flows.app.activity import activity

    with activity("opening the model", on_terminal_alone=True):
        from ebr_core.towers.history_config import CLICKED
        from flows.app.query_options import validate_query

        place = {"city": city, "region": region, "country": country, "language": language}
        fields = {
            "query": query,
            "searcher_id": searcher,
            "where": where,
            "k": k,
            "mode": mode,
            "radius": radius,
        } | place
        columns = own_fields | ({CLICKED: history} if history else {})
        search_query = validate_query(fields | {"searched_at": at, "fields": columns, "show": show})
        from flows.app.model_search import open_model, show_hits

        bundle = open_model(folder)
    show_hits(bundle, search_query, open_console())


def batch(
    queries: Annotated[
        Path,
        typer.Argument(
            help="A Parquet file with the column query; optional columns: searcher_id, city, …, searched_at, and the "
            "fields of the model."
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="The Parquet file to write: query_row, rank, document_id, title, score, cosine, problem, distance_km, "
            "the columns of --show, and the columns of the queries."
        ),
    ],
    where: WHERE = None,
    show: SHOW = None,
    k: TOP = None,
    mode: MODE = None,
    radius: RADIUS = "none",
    model: MODEL = CHAMPION,
) -> None:
    """Answer every query of a Parquet file."""
    refuse_options(mode, radius, where)
    folder = bundle_folder(model)
    refuse_no_file(queries, QUERIES)
    refuse_no_folder(out)
    if out.resolve() == queries.resolve():
        raise InputError(f"{out}: the answers would replace the queries; name another file")
    settings = {"k": k, "mode": mode, "radius": radius, "where": where, "show": show}
    from flows.app.activity import activity

    with activity("opening the model", on_terminal_alone=True):
        from flows.app.batch_file import answer_file
        from flows.app.model_search import open_model

        bundle = open_model(folder)
    answered = answer_file(bundle, queries, out, settings, Console(stderr=True))
    without = (
        f", {answered.unanswered:,} of them without an answer: see the column problem" if answered.unanswered else ""
    )
    print(f"{out}: answers to {answered.queries:,} queries{without}")


def export(
    out: Annotated[
        str | None,
        typer.Argument(
            help="A new folder; with --to, the engine's address: postgresql://user@host/database, a LanceDB folder or "
            "s3:// address, or https://host:9200. Default with --to: the address in the variable that --url-from "
            "names."
        ),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="A Parquet file with the column query; its queries are also embedded.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="pgvector, lancedb or opensearch: write the documents there, measure recall and latency, and switch "
            "to the model if it reaches the target."
        ),
    ] = None,
    url_from: Annotated[
        str | None,
        typer.Option(help="With --to: the environment variable that holds the address; default: EBR_ENGINE_URL."),
    ] = None,
    alias: Annotated[
        str | None,
        typer.Option(
            help="With --to: the name that queries use in the engine; default: ebr_ and the name of the experiment."
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            help="With --to: the recall against exact search to reach; default: the recall of the model's own index."
        ),
    ] = None,
    back: Annotated[
        bool,
        typer.Option("--rollback", help="With --to: switch back to the previous version, without writing anything."),
    ] = False,
    show: SHOW = None,
    model: MODEL = CHAMPION,
) -> None:
    """Write a model's vectors to files or into a search engine.

    It also writes the identities and columns of the documents.
    """
    from flows.app.activity import activity
    from flows.app.export_settings import read_settings

    settings = read_settings(to, out, url_from, alias, target, back, queries)
    folder = None if back else bundle_folder(model)
    if settings is not None:
        experiment = experiment_of(model)
        if not (settings.alias or experiment):
            raise InputError("--model: of the folder of a bundle, give --alias, too, the name that queries ask for")
        from flows.app.export_command import export_to_engine

        raise typer.Exit(export_to_engine(settings, show, experiment, folder))
    assert out is not None, "checked with the settings"
    assert folder is not None, "--rollback is for engines"
    refuse_full_folder(Path(out))
    if queries is not None:
        refuse_no_file(queries, QUERIES)
    with activity("opening the model", on_terminal_alone=True):
        from flows.app.model_search import export_vectors, open_model

        bundle = open_model(folder)
    for name, rows in export_vectors(bundle, Path(out), queries, show).items():
        print(f"{Path(out) / name}: {rows:,} vectors")


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to serve in addition to the champion of their experiment: EXPERIMENT/ARM. An experiment alone "
            "stands for its champion and its next best model. Default: the experiment that ran last.",
            metavar="[EXPERIMENT/ARM]...",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.", min=1, max=65_535)] = 8000,
    at_once: Annotated[
        int, typer.Option(help="The largest number of concurrent requests; the server refuses more (503).", min=1)
    ] = 256,
    drain: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds to keep answering after SIGTERM while /ready returns 503, so that a load balancer notices.",
        ),
    ] = 0,
    log: Annotated[bool, typer.Option(help="Write one line of JSON for each request to standard error.")] = True,
) -> None:
    """Serve models over HTTP, with a page that compares two.

    A new champion replaces the old one at once.

    If the environment has EBR_API_KEY, requests need that key.
    """
    experiment, arms = served_names(models or [])
    from flows.app.activity import activity
    from flows.app.service.api_key import read_key
    from flows.process.free_ports import refuse_taken

    key = read_key()
    refuse_taken(host, port, "--port")
    with activity("opening the models"):
        from flows.app.serve import serve_models
        from flows.app.service.open_models import ServedModels

        served = ServedModels(experiment, arms)
    serve_models(served, key, host, port, at_once, drain, log)
