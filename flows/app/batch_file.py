"""`ebr batch`: the answers to every query of a Parquet file, in blocks, and resumed after a kill."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.serving.block_answers import BlockAnswers, answer_block
from ebr_core.serving.model_bundle import Bundle, file_digest
from ebr_core.serving.query_answer import mode_of
from ebr_core.serving.query_block import read_block
from ebr_core.serving.search_query import SearchQuery
from flows.app.model_search import fields_shown, open_queries, shown_of
from flows.app.query_options import validate_query

ANSWERS = pa.schema(
    [
        pa.field("query_row", pa.int64(), nullable=False),  # of the input file
        pa.field("rank", pa.int32()),  # null, as all that follows, in the row of a query without an answer
        pa.field("document_id", pa.string()),
        pa.field("title", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("cosine", pa.float64()),
        pa.field("problem", pa.string()),  # the reason why a query has no answer
    ]
)
NOTHING = "nothing found"
BLOCK = 4096  # queries that are answered at a time


class AnsweredFile(NamedTuple):
    """The number of queries, and of those without an answer."""

    queries: int
    unanswered: int


def answer_file(bundle: Bundle, source: Path, out: Path, settings: dict[str, Any], console: Console) -> AnsweredFile:
    """Answer every row of a Parquet file and write the answers to another.

    source: the column query, and any columns of the context, searched_at, and the fields that the model reads.
    settings: k, mode, radius, where and show. Behind the columns of ANSWERS are the distance, if documents have places,
    the columns that are shown, and those of the source; one whose name is taken has `query_` before it. A query that
    has no answer has one row, with the reason. Blocks that a killed run has answered are not answered again.
    """
    queries, template = open_queries(bundle, source), validate_query({"query": "?", **settings})
    mode_of(bundle, template)
    schema = _schema(bundle, template, queries.schema_arrow)
    parts = _open_parts(bundle, source, out, template)
    blocks = -(-queries.metadata.num_rows // BLOCK)
    use_threads(1)
    for number, rows in track(enumerate(_blocks(queries)), total=blocks, description="queries", console=console):
        if not (part := _part(parts, number)).exists():
            unfinished = part.with_suffix(".unfinished")
            pq.write_table(_answers(bundle, rows, number * BLOCK, template, schema), unfinished)
            unfinished.replace(part)
    unanswered = _join(parts, blocks, out, schema)
    shutil.rmtree(parts)
    return AnsweredFile(int(queries.metadata.num_rows), unanswered)


def _blocks(queries: pq.ParquetFile) -> Iterator[pa.Table]:
    """The rows of the file, BLOCK at a time."""
    for batch in queries.iter_batches(BLOCK):
        yield pa.Table.from_batches([batch])


def _schema(bundle: Bundle, template: SearchQuery, source: pa.Schema) -> pa.Schema:
    """The columns of a file of answers. Raises InputError for a column to show that is not there, or is there twice."""
    names = shown_of(bundle, template)
    if twice := [name for name in names if name in (*ANSWERS.names, "distance_km")]:
        raise InputError(f"--show: {', '.join(twice)} is a column of every file of answers; leave it out")
    distance = [] if bundle.own.places is None else [pa.field("distance_km", pa.float64())]
    shown = [field.with_nullable(True) for field in fields_shown(bundle, names)]
    own = [*ANSWERS, *distance, *shown]
    taken = {field.name for field in own}
    carried = [field.with_name(f"query_{field.name}" if field.name in taken else field.name) for field in source]
    return pa.schema([*own, *carried])


def _open_parts(bundle: Bundle, source: Path, out: Path, template: SearchQuery) -> Path:
    """The folder of finished blocks, emptied if they answer other queries or by other settings."""
    folder, contents = out.with_name(f".{out.name}.parts"), template.model_dump(mode="json")
    plan = {"queries": file_digest(source), "model": bundle.manifest["files"], "settings": contents, "block": BLOCK}
    name = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    plan_file = folder / "plan"
    if not plan_file.exists() or plan_file.read_text() != name:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        plan_file.write_text(name)
    return folder


def _part(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.parquet"


def _join(parts: Path, blocks: int, out: Path, schema: pa.Schema) -> int:
    """Write all blocks to one file; returns the number of queries without an answer."""
    unfinished, unanswered = parts / "answers", 0
    with pq.ParquetWriter(unfinished, schema) as writer:
        for number in range(blocks):
            table = pq.read_table(_part(parts, number))
            unanswered += table.num_rows - table["problem"].null_count
            writer.write_table(table)
    unfinished.replace(out)
    return unanswered


def _answers(bundle: Bundle, rows: pa.Table, first: int, template: SearchQuery, schema: pa.Schema) -> pa.Table:
    """The answers to a block of rows, the first of which has that number in its file."""
    block, problems = read_block(bundle, rows)
    answers = answer_block(bundle, block, template)
    counts = np.zeros(rows.num_rows, np.int64)
    counts[problems.is_null().to_numpy(zero_copy_only=False)] = (answers.rows >= 0).sum(1)
    lines = np.maximum(counts, 1)
    owner = np.repeat(np.arange(rows.num_rows), lines)
    is_answer = np.repeat(counts > 0, lines)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(lines) - lines, lines) + 1
    reasons = pc.fill_null(problems, NOTHING).take(pa.array(owner))
    own = {
        "query_row": pa.array(first + owner),
        "rank": pa.array(rank, pa.int32(), mask=~is_answer),
        "problem": pc.if_else(pa.array(is_answer), pa.scalar(None, pa.string()), reasons),
    }
    own |= _answer_columns(bundle, answers, is_answer, shown_of(bundle, template))
    carried = rows.take(pa.array(owner)).columns
    columns = [own[name] for name in schema.names[: len(schema) - len(carried)]] + carried
    return pa.Table.from_arrays([*columns], schema=schema)


def _answer_columns(
    bundle: Bundle, answers: BlockAnswers, is_answer: npt.NDArray[np.bool_], shown: dict[str, str]
) -> dict[str, pa.Array]:
    """The columns of the documents, null in lines that are no answers."""
    found = answers.rows >= 0
    at = np.zeros(len(is_answer), np.int64)
    at[is_answer] = answers.rows[found]
    documents, taken = pa.array(at, mask=~is_answer), bundle.documents
    columns = {name: taken[name].take(documents) for name in ("document_id", "title")}
    columns |= {heading: taken[column].take(documents) for heading, column in shown.items()}
    for name, values in (
        ("score", answers.scores),
        ("cosine", answers.cosines),
        ("distance_km", answers.kilometres),
    ):
        spread = np.full(len(is_answer), np.nan)
        spread[is_answer] = values[found]
        columns[name] = pa.array(spread, mask=np.isnan(spread))
    return columns
