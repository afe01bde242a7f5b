"""`ebr search`, `ebr batch`, `ebr export`: query the models of a run from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.damaged import refuse_brotli_file
from ebr_core.errors import InputError
from ebr_core.own_names import own_name
from ebr_core.parallel import use_threads
from ebr_core.serving.hits import Hit
from ebr_core.serving.known_context import unknown_context
from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.serving.own_data import shown_columns, standard_columns
from ebr_core.serving.query_answer import answer, logged_remark, unknown_in_condition
from ebr_core.serving.query_block import as_lists
from ebr_core.serving.query_cost import describe_cost
from ebr_core.serving.query_towers import embed_query_table, query_schema
from ebr_core.serving.search_query import SearchQuery
from flows.app.query_options import validate_query
from tasks.engines.exported_documents import exported_documents, vector_lists

BLOCK = 65_536  # vectors exported at a time


def open_model(folder: Path) -> Bundle:
    """The bundle in the folder."""
    use_threads(1)
    return open_bundle(folder)


def show_hits(bundle: Bundle, query: SearchQuery, console: Console) -> None:
    """Print the ranked titles with scores and reasons, and what of the query's context the log does not know."""
    hits = answer(bundle, query)
    cost = bundle.embed_query_ms
    embedding = "" if cost is None else f"; a query is embedded in {describe_cost(cost)}"
    title = f"{query.query!r} by {bundle.name}, {query.mode or bundle.mode}{embedding}"
    table = Table(title=title, title_justify="left")
    shown = list(hits[0].shown) if hits else []
    km = ["km"] if any(hit.distance_km is not None for hit in hits) else []
    context = [name for name in ("kind", "place") if any(_context(hit)[name] for hit in hits)]
    for heading in ("", "title", *context, *km, *shown, "score", "cosine", "why"):
        table.add_column(Text(heading), justify="right" if heading in ("", "km", "score", "cosine") else "left")
    for hit in hits:
        distance = "" if hit.distance_km is None else f"{hit.distance_km:,.1f}"
        own = [*(_context(hit)[name] for name in context), *([distance] if km else [])]
        own += [write_value(hit.shown[name]) for name in shown]
        scores = f"{hit.score:.4f}", f"{hit.cosine:.3f}", hit.why
        table.add_row(*(Text(cell) for cell in (str(hit.rank), hit.title, *own, *scores)))
    ways = ["--mode ebr"] if (query.mode or bundle.mode) != "ebr" else []
    ways += ["a wider --where"] if query.where else []
    way_out = f"; try {' or '.join(ways)}" if ways else ""
    console.print(table if hits else f"{query.query!r}: nothing found{way_out}")
    remarks = *unknown_context(bundle, query), *unknown_in_condition(bundle, query), *logged_remark(bundle, query)
    for remark in remarks:
        console.print(remark, markup=False, soft_wrap=True)


def _context(hit: Hit) -> dict[str, str]:
    return {"kind": hit.kind or "", "place": ", ".join(filter(None, (hit.city, hit.country)))}


def write_value(value: Any) -> str:
    """A value of a document's column as people read it; empty if there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).removesuffix("T00:00:00Z")


def open_queries(bundle: Bundle, source: Path) -> pq.ParquetFile:
    """A Parquet file of queries. Raises InputError if it cannot be read, has no column query, by the user's name or the
    layout's, or has a column by both."""
    try:
        refuse_brotli_file(source)
        queries = pq.ParquetFile(source)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{source}: cannot be read as Parquet, which files of queries must be: {error}") from error
    names = queries.schema_arrow.names
    if "query" not in standard_columns(bundle.own, names):
        known = own_name("query", bundle.own.settings.search_names)
        also = "" if known == "query" else f" nor {known}, your name of it"
        raise InputError(f"{source}: no column query{also}; there are {', '.join(names)}")
    return queries


def fields_shown(bundle: Bundle, shown: dict[str, str]) -> list[pa.Field]:
    """The columns that are shown, under their headings."""
    return [bundle.documents.schema.field(column).with_name(heading) for heading, column in shown.items()]


def shown_of(bundle: Bundle, query: SearchQuery) -> dict[str, str]:
    """Heading → the column of documents to show under it."""
    return shown_columns(bundle.own, bundle.documents, query.show)


def export_vectors(bundle: Bundle, out: Path, queries: Path | None, show: list[str] | None = None) -> dict[str, int]:
    """Write documents.parquet (document_id, title, vector, and the columns that are shown) and, given queries,
    queries.parquet into a new folder.

    A vector is a list of D float32 of unit length: cosine and inner product give the same order. Returns the number of
    rows of each file. Raises InputError if the folder is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; name a new folder")
    query_table = None if queries is None else open_queries(bundle, queries).read()
    template = validate_query({"query": "?", "show": show})
    documents = exported_documents(bundle, template.show)
    out.mkdir(parents=True, exist_ok=True)
    schema = documents.schema.with_metadata({"arm": bundle.name, "similarity": "cosine"})
    with pq.ParquetWriter(out / "documents.parquet", schema) as writer:
        for batch in documents.batches(BLOCK):
            writer.write_table(batch.cast(schema))
    counts = {"documents.parquet": len(documents)}
    if query_table is not None:
        query_table = query_table.rename_columns(standard_columns(bundle.own, query_table.column_names))
        vectors = vector_lists(_embed(bundle, query_table))
        pq.write_table(pa.table({"query": query_table["query"], "vector": vectors}), out / "queries.parquet")
        counts["queries.parquet"] = query_table.num_rows
    return counts


def _embed(bundle: Bundle, queries: pa.Table) -> Any:
    """(Q, D) the vectors of queries. Raises InputError if the model gives a query several vectors."""
    schema = query_schema(bundle.fields)
    columns = [_as_column(queries, field) for field in schema]
    vectors = embed_query_table(bundle.towers, pa.table(columns, schema))
    if vectors.ndim == 3:
        raise InputError(f"{bundle.name} gives a query {len(vectors)} vectors; leave --queries out")
    return vectors


def _as_column(queries: pa.Table, field: pa.Field) -> pa.Array:
    """A column of queries in the type of the field; null if there is no such column."""
    if field.name not in queries.column_names:
        return pa.nulls(queries.num_rows, field.type)
    column = queries[field.name]
    return as_lists(column) if pa.types.is_list(field.type) else column.cast(field.type)
