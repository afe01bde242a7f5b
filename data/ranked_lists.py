"""Ranked lists: the order that the log shows, and files that the user brings, matched with an extracted log.

A file is Parquet, CSV or NDJSON with document_id, rank, and search_id or query; any other is read as a TREC run. Only
the order of ranks counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data.damaged import is_unreadable, unreadable_message
from data.experiment.source_config import escape_glob
from data.extracted_log import connect
from data.layouts import Columns
from data.reading import is_table, match_files, open_table
from data.renamed_columns import Renames
from data.schemas import RANKED_LIST
from data.statements import file_list, statement
from ebr_core.arrays import Int32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.text.folding import fold_queries

REQUIRED: Columns = {"document_id": "id", "rank": "whole"}
OPTIONAL: Columns = {"search_id": "id", "query": "text"}
SEPARATOR = "\x01"  # a character that no line of a TREC run holds


class RankedFile(Frozen):
    """A file of the section `lists`."""

    name: str
    path: str
    names: Mapping[str, str] = {}  # the layout's name of a column → the log's, which the file may have, too

    @property
    def key(self) -> str:
        """The key of the experiment file that names it."""
        return f"lists.{self.name}"

    def identity_settings(self) -> dict[str, object]:
        """What decides how its content is read: not its name, nor where it is."""
        return {"table": is_table(self.path)} | ({"names": self.renames.shared} if self.renames.shared else {})

    @property
    def renames(self) -> Renames:
        """The log's names of the list's columns. One that is a column of lists itself stays that."""
        columns = {**REQUIRED, **OPTIONAL}
        return Renames(
            {}, {c: own for c, own in self.names.items() if c in columns and own not in columns}, frozenset()
        )


class LeftOut(Frozen):
    """The rows of a file that are left out for a reason, and up to three of them."""

    reason: str
    rows: int
    examples: tuple[str, ...]


class FileMatch(Frozen):
    """The rows of a file that name a search and a document of the log."""

    rows: int
    kept: int
    left_out: tuple[LeftOut, ...]


class ListMatch(Frozen):
    """What became of a ranked list for the sampled searches."""

    searches: int  # sampled
    covered: int  # those with at least one result in the list
    without_rank: int  # results without a rank or position, left out
    not_alive: int  # results that were not alive in the period, left out
    shown: float | None  # share of the shown documents that are among as many first ones of the list; None: none shown
    shuffled: dict[int, float]  # of a file, by K: the share of what was shown in random order among the first K
    file: FileMatch | None = None  # of a file that the user brings


class MatchedList(NamedTuple):
    """A ranked list for S sampled searches."""

    rows: Int32  # (S, K) document rows in order, −1 behind the last
    match: ListMatch


def read_list(file: RankedFile, log: Path, out: Path) -> None:
    """Write ranked.parquet (RANKED_LIST), the rows of a file that name a search and a document of the extracted log,
    and match.json (FileMatch).

    Raises InputError if the file is missing or cannot be read, has no such columns, names no search and document of the
    log, or has several documents at the same rank of a search.
    """
    with closing(connect(log)) as con:
        con.execute(statement("read/macros"))
        try:
            rows = (
                open_table(con, file.key, file.path, REQUIRED, OPTIONAL, file.renames)[1]
                if is_table(file.path)
                else _open_trec(con, file)
            )
            con.register("list_forms", _forms(con, statement("lists/texts", table=file.key)))
            con.register("log_forms", _forms(con, statement("lists/queries")))
            con.execute(statement("lists/check", table=file.key))
        except duckdb.Error as error:
            if not is_unreadable(error):
                raise
            raise InputError(unreadable_message(file.key, file.path, error)) from error
        left_out = [
            LeftOut(reason=reason, rows=count, examples=tuple(examples))
            for reason, count, examples in con.execute(statement("lists/left_out")).fetchall()
        ]
        ranked = con.sql(statement("lists/write")).to_arrow_table().cast(RANKED_LIST)
        match = FileMatch(rows=rows, kept=ranked.num_rows, left_out=tuple(left_out))
        _refuse_unmatched(file, match)
        _refuse_ambiguous(con, file)
    pq.write_table(ranked, out / "ranked.parquet")
    (out / "match.json").write_text(match.model_dump_json(indent=1))


def _forms(con: duckdb.DuckDBPyConnection, texts: str) -> pa.Table:
    """The texts that an SQL statement gives, each with the form by which it is the same query as others."""
    table = con.sql(texts).to_arrow_table()
    folded = fold_queries(table["query"].combine_chunks().cast(pa.large_string()))
    return pa.table({"query": table["query"], "form": folded})


def _open_trec(con: duckdb.DuckDBPyConnection, file: RankedFile) -> int:
    """Create the view `read_<key>` over a TREC run. Returns its number of rows."""
    files = match_files(con, file.key, file.path)
    lines = statement("read/trec", files=file_list(files), separator=SEPARATOR)
    lengths, line, ranks, rank, rows = con.execute(statement("lists/unread_trec", lines=lines)).fetchall()[0]
    if lengths:
        raise InputError(
            f"{file.key}: {file.path} is read as a TREC run, and {lengths:,} of its {rows:,} lines do not have six "
            f"fields, such as {line[:100]!r}. Expected lines like 's1 Q0 d7 1 3.5 run', or a file that ends in "
            ".parquet or .csv"
        )
    if ranks:
        raise InputError(f"{file.key}: {file.path} has the rank {rank!r}. Expected whole numbers in the fourth field")
    if not rows:
        raise InputError(f"{file.key}: {file.path} holds no rows. Expected at least one")
    con.execute(statement("lists/open_trec", table=file.key, lines=lines))
    return int(rows)


def _refuse_unmatched(file: RankedFile, match: FileMatch) -> None:
    if match.kept:
        return
    reasons = "; ".join(
        f"{part.reason}: {part.rows:,}" + (f" ({', '.join(part.examples)})" if any(part.examples) else "")
        for part in match.left_out
    )
    raise InputError(
        f"{file.key}: {file.path}: none of its {match.rows:,} rows names a search and a document of the log "
        f"({reasons}). Expected search_id (or query), document_id and rank, with the identities and texts of the log"
    )


def _refuse_ambiguous(con: duckdb.DuckDBPyConnection, file: RankedFile) -> None:
    count, example = con.execute(statement("lists/ambiguous")).fetchall()[0]
    if count:
        raise InputError(
            f"{file.key}: {file.path}: {count:,} ranks are given to several documents of one search, such as rank "
            f"{example['rank']} of {example['search']!r} to {' and '.join(example['documents'])}. Expected one "
            "document at each rank"
        )


def read_match(ranked: Path) -> FileMatch:
    """The counts of a file that `read_list` read into the folder ranked."""
    return FileMatch.model_validate_json((ranked / "match.json").read_text())


def match_list(ranked: Path, log: Path, eval_set: Path, k: int, ks: Sequence[int]) -> MatchedList:
    """The first k documents of the list in ranked (see `read_list`) for the sampled searches in eval_set.

    ks: the K for which the match compares with results shown in random order.
    """
    with _sampled(log, eval_set) as con:
        con.from_parquet(escape_glob(str(ranked / "ranked.parquet"))).create_view("given")
        con.execute(statement("lists/given"))
        return _matched(con, k, ks, read_match(ranked))


def match_logged(log: Path, eval_set: Path, k: int) -> MatchedList:
    """The first k documents that the log shows for the sampled searches in eval_set, by their positions."""
    with _sampled(log, eval_set) as con:
        con.execute(statement("lists/logged"))
        return _matched(con, k, (), None)


@contextmanager
def _sampled(log: Path, eval_set: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the tables of the log, the sampled searches and the candidates."""
    with closing(connect(log)) as con:
        for view, name in (("sampled", "searches"), ("candidates", "candidates")):
            con.from_parquet(escape_glob(str(eval_set / f"{name}.parquet"))).create_view(view)
        yield con


def _matched(con: duckdb.DuckDBPyConnection, k: int, ks: Sequence[int], file: FileMatch | None) -> MatchedList:
    """The list in the table `listed`."""
    con.execute(statement("lists/place"))
    cursor = con.execute(statement("lists/match"))
    counts: dict[str, Any] = dict(
        zip([name for name, *_ in cursor.description or ()], cursor.fetchall()[0], strict=True)
    )
    shares = {at: con.execute(statement("lists/shuffled"), {"k": at}).fetchall()[0][0] for at in ks}
    shuffled = {at: share for at, share in shares.items() if share is not None}
    placed = con.sql(statement("lists/places"), params={"k": k}).to_arrow_table()
    searches = con.table("sampled").to_arrow_table()["search_row"].to_numpy()  # in ascending order
    rows = np.full((len(searches), k), -1, np.int32)
    owners = np.searchsorted(searches, placed["search_row"].to_numpy())
    rows[owners, placed["place"].to_numpy() - 1] = placed["document_row"].to_numpy()
    return MatchedList(rows, ListMatch(**counts, shuffled=shuffled, file=file))
