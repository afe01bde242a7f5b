"""Ratings of retrieved results: the truth of a simulated world, and the CSV files that people fill in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from data.extracted_log import connect, load_truth, read, run_query
from data.schemas import IMPORTED, RATED
from ebr_core.errors import InputError
from ebr_core.text.folding import fold_queries
from ebr_core.training.rated_results import SCALE

REQUIRED_COLUMNS = ("search_id", "document_id", "grade")
PAGE_COLUMNS = ("query", "searcher_id", "rated_at")  # of the file that the search page writes
MAX_LISTED = 5  # problems of a kind that a message lists
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class ReadRatings(NamedTuple):
    """The ratings of a file, and what was left out of it."""

    table: pa.Table  # IMPORTED
    unasked: list[str]  # rated queries that no search of the training window has


def true_grades(folder: Path, truth: Path, pairs: pa.Table) -> pa.Table:
    """(search_row, document_row, grade) by the truth of a simulated world.

    Pairs of searches outside the training window are left out.
    """
    with connect(folder) as connection:
        load_truth(connection, truth)
        connection.register("asked", pairs)
        return run_query(connection, "true_grades")


def write_csv(folder: Path, pairs: pa.Table, out: Path) -> int:
    """Write pairs (search_row, document_row, rank) as people read them, with an empty column grade.

    Returns the number of rows.
    """
    with connect(folder) as connection:
        connection.register("asked", pairs)
        table = run_query(connection, "named_pairs")
    empty = pa.array([""] * table.num_rows, pa.string())
    pyarrow.csv.write_csv(table.add_column(2, "grade", empty), out)
    return int(table.num_rows)


def read_csv(path: Path, folder: Path) -> ReadRatings:
    """The ratings of a file that people filled in, or that the search page wrote, checked against the extracted log in
    folder; rows without a grade are left out.

    A row without a search_id stands for the newest search of the training window with its query: by its searcher_id if
    that is given and has one, else by anybody. Of rows about a pair that have a time, rated_at, the newest counts, and
    one without a grade takes the pair's rating back. Raises InputError, which names the rows (the header is row 1), for
    a file that is not UTF-8 text, another separator, missing columns, rows of another length, unknown searches,
    searches outside the training window, unknown documents, grades outside the scale, a pair with two grades, or no
    grade at all.
    """
    rows, header = _fields(path)
    texts = {name: [row[header.index(name)].strip() for _, row in rows] for name in REQUIRED_COLUMNS}
    texts |= {
        name: [row[header.index(name)].strip() if name in header else "" for _, row in rows] for name in PAGE_COLUMNS
    }
    columns = {name: pa.array(column, pa.string()) for name, column in texts.items()}
    table = pa.table(columns | {"row": np.array([number for number, _ in rows], np.int32)})
    table, unasked = _with_searches(table, folder)
    table = _newest(table)
    table = table.filter(pc.not_equal(table["grade"], ""))
    if not table.num_rows:
        why = f": no search of the training window has the queries {_listed(unasked)}" if unasked else ""
        raise InputError(
            f"{path}: no row has a grade{' that counts' if why else ''}{why}. Write 0, 1, 2 or 3 into the column grade "
            "and import the file again"
        )
    if problems := list(_problems(table, folder)):
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError(f"{path}: {count}; nothing was imported\n" + "\n".join(f"  {line}" for line in problems))
    first = np.unique(_pair_codes(table), return_index=True)[1]
    grades = table["grade"].cast(pa.float32())
    rated = table.select([*REQUIRED_COLUMNS, "row"]).set_column(2, "grade", grades)
    return ReadRatings(rated.take(np.sort(first)).cast(IMPORTED), unasked)


def _listed(queries: list[str]) -> str:
    more = f" and {len(queries) - MAX_LISTED} more" if len(queries) > MAX_LISTED else ""
    return ", ".join(repr(query) for query in queries[:MAX_LISTED]) + more


def _with_searches(table: pa.Table, folder: Path) -> tuple[pa.Table, list[str]]:
    """(the rows, those without a search_id with that of their query; the queries of rows that have none, left out)."""
    nameless = pc.and_(pc.equal(table["search_id"], ""), pc.not_equal(table["query"], ""))
    if not pc.any(nameless).as_py():
        return table, []
    queries = pq.read_table(folder / "queries.parquet", columns=["query_row", "query"])
    forms = _forms(table["query"])
    asked = pa.table({"form": forms, "searcher_id": table["searcher_id"]}).filter(nameless)
    with connect(folder) as connection:
        connection.register("forms", pa.table({"query_row": queries["query_row"], "form": _forms(queries["query"])}))
        connection.register("asked", asked.group_by(["form", "searcher_id"]).aggregate([]))
        found = run_query(connection, "newest_searches").to_pylist()
    searches = {(row["form"], row["searcher_id"]): row["search_id"] for row in found}
    keys = zip(forms.to_pylist(), table["searcher_id"].to_pylist(), strict=True)
    of_queries = pa.array([searches.get(key) for key in keys], pa.string())
    named = pc.if_else(nameless, of_queries, table["search_id"])
    unasked = sorted(set(table["query"].filter(named.is_null()).to_pylist()))
    return table.set_column(0, "search_id", named).filter(named.is_valid()), unasked


def _forms(texts: pa.ChunkedArray) -> pa.Array:
    """What identifies each text as a query."""
    return fold_queries(texts.combine_chunks().cast(pa.large_string())).cast(pa.string())


def _newest(table: pa.Table) -> pa.Table:
    """The rows without a time, and of the others about a pair the newest; equal times in the order of the file."""
    order = pc.sort_indices(table, [("rated_at", "descending"), ("row", "descending")])
    table = table.take(order)
    codes, timed = _pair_codes(table), pc.not_equal(table["rated_at"], "").to_numpy(zero_copy_only=False)
    newest = np.zeros(len(codes), bool)
    newest[np.unique(codes, return_index=True)[1]] = True  # the first of each pair, by its time
    kept = table.filter(pa.array(newest | ~timed))
    return kept.take(pc.sort_indices(kept, [("row", "ascending")]))


def _fields(path: Path) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """([(row number, fields) of every row that is not empty], header)."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin a file with a byte order mark
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}. Give the path of the filled-in CSV file"
        ) from error
    except UnicodeDecodeError as error:
        cause = f"{error.reason} at byte {error.start}"
        raise InputError(f"{path}: not UTF-8 text ({cause}). Save it as CSV in UTF-8") from error
    rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), 1) if any(row)]
    if not rows:
        raise InputError(f"{path}: empty. Expected the file that `ebr ratings export` wrote, with grades filled in")
    header = [name.strip() for name in rows[0][1]]
    if missing := [name for name in REQUIRED_COLUMNS if name not in header]:
        separator = next((name for sign, name in SEPARATORS.items() if len(header) == 1 and sign in header[0]), None)
        hint = f". It is separated by {separator}: save it with commas" if separator else ". Fill in the exported file"
        raise InputError(f"{path}: row 1: no column {', '.join(missing)}; got {', '.join(header)}{hint}")
    uneven = [(number, len(row)) for number, row in rows if len(row) != len(header)]
    if uneven:
        fields = "; ".join(f"row {number}: {count} fields" for number, count in uneven[:MAX_LISTED])
        raise InputError(f"{path}: {fields}; expected {len(header)} as in row 1. Put text that holds commas in quotes")
    if len(rows) == 1:
        raise InputError(f"{path}: got only row 1. Expected the exported rows with grades filled in")
    return rows[1:], header


def _problems(table: pa.Table, folder: Path) -> Iterator[str]:
    """Messages about the rows that cannot be imported."""
    searches = pq.read_table(folder / "searches.parquet", columns=["search_id"])["search_id"]
    documents = pq.read_table(folder / "documents.parquet", columns=["document_id"])["document_id"]
    training = searches.take(read(folder, "training_searches")["search_row"])
    known = pc.is_in(table["search_id"], searches)
    yield from _row_problems(table, pc.invert(known), "search_id", "not in this log; leave search_id as exported")
    elsewhere = pc.and_(known, pc.invert(pc.is_in(table["search_id"], training)))
    yield from _row_problems(
        table, elsewhere, "search_id", "not in the training window, so it may not be trained on; remove the row"
    )
    unknown = pc.invert(pc.is_in(table["document_id"], documents))
    yield from _row_problems(table, unknown, "document_id", "not in this log; leave document_id as exported")
    wrong = pc.invert(pc.is_in(table["grade"], pa.array([str(grade) for grade in SCALE])))
    yield from _row_problems(table, wrong, "grade", f"expected {', '.join(map(str, SCALE))}, or nothing if not rated")
    yield from contradictions(table, "this file")


def contradictions(table: pa.Table, where: str) -> Iterator[str]:
    """Messages about pairs with two different grades. table: search_id, document_id, grade and row."""
    codes = _pair_codes(table)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    grades = pc.dictionary_encode(table["grade"].combine_chunks()).indices.to_numpy()
    differing = np.flatnonzero(grades != grades[first][inverse])
    for i in differing[:MAX_LISTED]:
        before = int(first[inverse[i]])
        earlier, later = (table.slice(index, 1).to_pylist()[0] for index in (before, int(i)))
        yield (
            f"row {later['row']}: search {later['search_id']}, document {later['document_id']} is rated "
            f"{later['grade']}, but {earlier['grade']} in row {earlier['row']} of {where}; keep one of them"
        )
    if len(differing) > MAX_LISTED:
        yield f"… and {len(differing) - MAX_LISTED} more pairs with two grades"


def _row_problems(table: pa.Table, wrong: pa.ChunkedArray, column: str, expected: str) -> Iterator[str]:
    """Messages about the first rows that are wrong in this way, and the number of further ones."""
    rows = table.filter(wrong)
    for row in rows.slice(0, MAX_LISTED).to_pylist():
        yield f"row {row['row']}, {column}: got {row[column]!r}; {expected}"
    if rows.num_rows > MAX_LISTED:
        yield f"… and {rows.num_rows - MAX_LISTED} more such rows, up to row {rows['row'][-1].as_py()}"


def _pair_codes(table: pa.Table) -> npt.NDArray[np.int64]:
    """(n,) codes of the pairs (search_id, document_id), equal for equal pairs."""
    codes = [pc.dictionary_encode(table[name].combine_chunks()) for name in ("search_id", "document_id")]
    searches, documents = (code.indices.to_numpy().astype(np.int64) for code in codes)
    pairs: npt.NDArray[np.int64] = searches * max(1, len(codes[1].dictionary)) + documents
    return pairs


def to_rated_rows(imported: pa.Table, folder: Path, good_from: int) -> pa.Table:
    """Imported ratings (IMPORTED, of one or several files) as rows (RATED) of the extracted log in folder.

    Raises InputError if a search or a document is not in this log, or a search is no longer in its training window.
    """
    searches = pq.read_table(folder / "searches.parquet", columns=["search_id"])["search_id"]
    documents = pq.read_table(folder / "documents.parquet", columns=["document_id"])["document_id"]
    search_rows, document_rows = (
        pc.fill_null(pc.index_in(imported[name], ids), -1).to_numpy().astype(np.int32)
        for name, ids in (("search_id", searches), ("document_id", documents))
    )
    training = read(folder, "training_searches")["search_row"].to_numpy()
    outside = np.flatnonzero(~np.isin(search_rows, training) | (document_rows < 0))
    if len(outside):
        row = imported.slice(int(outside[0]), 1).to_pylist()[0]
        pair = f"search {row['search_id']}, document {row['document_id']}"
        raise InputError(
            f"{len(outside)} of {imported.num_rows} imported ratings are of searches outside the training window, "
            f"or of missing documents; the first: {pair}. Move the split back, or remove the imported file and "
            "import a file without them"
        )
    grades = imported["grade"].to_numpy()
    order = np.lexsort((document_rows, search_rows))
    columns = search_rows[order], document_rows[order], grades[order], grades[order] >= good_from
    table = pa.table(list(columns), schema=RATED)
    first = np.unique(search_rows[order].astype(np.int64) << 32 | document_rows[order], return_index=True)[1]
    return table.take(first)
