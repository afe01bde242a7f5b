"""Ratings of retrieved results: which searches are rated, what the truth says of them, the file that people fill in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from data.extracted_log import ask, connect, know_truth, read
from data.schemas import IMPORTED, RATED
from ebr_core.errors import InputError
from ebr_core.training.rated_results import SCALE

NEEDED = ("search_id", "document_id", "grade")
MOST = 5  # problems of a kind that are told
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def true_grades(folder: Path, truth: Path, asked: pa.Table) -> pa.Table:
    """(search_row, document_row, grade) of the pairs asked, by the truth of a simulated world; of pairs whose search is
    not in the training window, nothing."""
    with connect(folder) as connection:
        know_truth(connection, truth)
        connection.register("asked", asked)
        return ask(connection, "true_grades")


def write_csv(folder: Path, asked: pa.Table, out: Path) -> int:
    """Writes the pairs asked (search_row, document_row, rank) as people read them, with an empty column grade; how
    many."""
    with connect(folder) as connection:
        connection.register("asked", asked)
        table = ask(connection, "named_pairs")
    empty = pa.array([""] * table.num_rows, pa.string())
    pyarrow.csv.write_csv(table.add_column(2, "grade", empty), out)
    return int(table.num_rows)


def read_csv(path: Path, folder: Path) -> pa.Table:
    """The ratings (IMPORTED) of a file that people filled in, checked against the extracted log in folder; rows without
    a grade are left out.

    Errors, each with its row (the header is row 1): no text in UTF-8, another separator, missing columns, rows of
    another length, unknown searches, searches that are not of the training window, unknown documents, grades outside
    the scale, a pair with two grades, no grade at all.
    """
    rows, header = _fields(path)
    columns = {name: [row[header.index(name)].strip() for _, row in rows] for name in NEEDED}
    numbers = np.array([number for number, _ in rows], np.int32)
    graded = np.array([bool(grade) for grade in columns["grade"]], bool)
    if not graded.any():
        raise InputError(f"{path}: no row has a grade: write 0, 1, 2 or 3 into the column grade and import it again")
    table = pa.table({name: pa.array(columns[name], pa.string()) for name in NEEDED} | {"row": numbers})
    table = table.filter(pa.array(graded))
    if problems := list(_problems(table, folder)):
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError(f"{path}: {count}; nothing was imported\n" + "\n".join(f"  {line}" for line in problems))
    first = np.unique(_pair_codes(table), return_index=True)[1]
    grades = table["grade"].cast(pa.float32())
    return table.set_column(2, "grade", grades).take(np.sort(first)).cast(IMPORTED)


def _fields(path: Path) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """((row, its fields) of every row that is not empty, the header)."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin a file with a byte order mark
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; give the path of the filled-in CSV") from error
    except UnicodeDecodeError as error:
        told = f"{error.reason} at byte {error.start}"
        raise InputError(f"{path}: not a text in UTF-8 ({told}); save it as CSV in UTF-8") from error
    rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), 1) if any(row)]
    if not rows:
        raise InputError(f"{path}: empty; expected the file that `ebr ratings export` wrote, with grades filled in")
    header = [name.strip() for name in rows[0][1]]
    if lacking := [name for name in NEEDED if name not in header]:
        other = next((name for sign, name in SEPARATORS.items() if len(header) == 1 and sign in header[0]), None)
        hint = f"; it is separated by {other}: save it with commas" if other else "; fill in the exported file"
        raise InputError(f"{path}: row 1: no column {', '.join(lacking)}; got {', '.join(header)}{hint}")
    unlike = [(number, len(row)) for number, row in rows if len(row) != len(header)]
    if unlike:
        told = "; ".join(f"row {number}: {count} fields" for number, count in unlike[:MOST])
        raise InputError(f"{path}: {told}; expected {len(header)} as in row 1: put text that holds commas into quotes")
    if len(rows) == 1:
        raise InputError(f"{path}: row 1 is all there is; expected the exported rows with grades filled in")
    return rows[1:], header


def _problems(table: pa.Table, folder: Path) -> Iterator[str]:
    """What is wrong with rows, in words."""
    searches = pq.read_table(folder / "searches.parquet", columns=["search_id"])["search_id"]
    documents = pq.read_table(folder / "documents.parquet", columns=["document_id"])["document_id"]
    training = searches.take(read(folder, "training_searches")["search_row"])
    known = pc.is_in(table["search_id"], searches)
    yield from _told(table, pc.invert(known), "search_id", "no search of this log; leave search_id as exported")
    elsewhere = pc.and_(known, pc.invert(pc.is_in(table["search_id"], training)))
    yield from _told(
        table, elsewhere, "search_id", "not of the training window: what tests may not train; take the row out"
    )
    unknown = pc.invert(pc.is_in(table["document_id"], documents))
    yield from _told(table, unknown, "document_id", "no document of this log; leave document_id as exported")
    wrong = pc.invert(pc.is_in(table["grade"], pa.array([str(grade) for grade in SCALE])))
    yield from _told(table, wrong, "grade", f"expected {', '.join(map(str, SCALE))}, or nothing where nobody rated")
    yield from contradictions(table, "this file")


def contradictions(table: pa.Table, where: str) -> Iterator[str]:
    """Pairs with two different grades; table: search_id, document_id, grade and row, in which the later is told."""
    codes = _pair_codes(table)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    grades = pc.dictionary_encode(table["grade"].combine_chunks()).indices.to_numpy()
    differing = np.flatnonzero(grades != grades[first][inverse])
    for at in differing[:MOST]:
        before = int(first[inverse[at]])
        one, other = (table.slice(place, 1).to_pylist()[0] for place in (before, int(at)))
        yield (
            f"row {other['row']}: search {other['search_id']}, document {other['document_id']} is rated "
            f"{other['grade']}, but {one['grade']} in row {one['row']} of {where}; keep one of them"
        )
    if len(differing) > MOST:
        yield f"… and {len(differing) - MOST} more pairs with two grades"


def _told(table: pa.Table, wrong: pa.ChunkedArray, column: str, expected: str) -> Iterator[str]:
    """The first rows that are wrong in this way, and how many more."""
    rows = table.filter(wrong)
    for row in rows.slice(0, MOST).to_pylist():
        yield f"row {row['row']}, {column}: got {row[column]!r}; {expected}"
    if rows.num_rows > MOST:
        yield f"… and {rows.num_rows - MOST} more such rows, to row {rows['row'][-1].as_py()}"


def _pair_codes(table: pa.Table) -> npt.NDArray[np.int64]:
    """(n,) a number for each (search_id, document_id)."""
    codes = [pc.dictionary_encode(table[name].combine_chunks()) for name in ("search_id", "document_id")]
    searches, documents = (code.indices.to_numpy().astype(np.int64) for code in codes)
    pairs: npt.NDArray[np.int64] = searches * max(1, len(codes[1].dictionary)) + documents
    return pairs


def as_rated(imported: pa.Table, folder: Path, good_from: int) -> pa.Table:
    """Imported ratings (IMPORTED, several files after each other) as rows (RATED) of the extracted log in folder.

    Errors: a search or a document that is not in this log, or a search that is not in its training window any more.
    """
    searches = pq.read_table(folder / "searches.parquet", columns=["search_id"])["search_id"]
    documents = pq.read_table(folder / "documents.parquet", columns=["document_id"])["document_id"]
    search_rows, document_rows = (
        pc.fill_null(pc.index_in(imported[name], of), -1).to_numpy().astype(np.int32)
        for name, of in (("search_id", searches), ("document_id", documents))
    )
    training = read(folder, "training_searches")["search_row"].to_numpy()
    outside = np.flatnonzero(~np.isin(search_rows, training) | (document_rows < 0))
    if len(outside):
        row = imported.slice(int(outside[0]), 1).to_pylist()[0]
        told = f"search {row['search_id']}, document {row['document_id']}"
        raise InputError(
            f"{len(outside)} of {imported.num_rows} imported ratings are of searches outside the training window, "
            f"or of documents that are gone; the first: {told}. Move the split back, or remove the imported file and "
            "import one without them"
        )
    grades = imported["grade"].to_numpy()
    order = np.lexsort((document_rows, search_rows))
    columns = search_rows[order], document_rows[order], grades[order], grades[order] >= good_from
    table = pa.table(list(columns), schema=RATED)
    first = np.unique(search_rows[order].astype(np.int64) << 32 | document_rows[order], return_index=True)[1]
    return table.take(first)
