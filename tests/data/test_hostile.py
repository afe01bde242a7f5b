"""Hostile logs: names of columns, values and paths that look like SQL or globs, and fields of excessive length."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from small_logs import DOCUMENTS, RESULTS, SEARCHES, SPLIT, extract_rows, small_log

from data import extracted_log
from data.experiment.log_config import LONGEST_ID, LONGEST_QUERY, LONGEST_TEXT, Tables
from data.extra_columns import read_columns
from data.extract import extract
from ebr_core.errors import InputError
from ebr_core.search.condition_masks import SearchedDocuments, condition_mask
from ebr_core.search.conditions import parse
from ebr_core.text.terms import index_terms
from tasks.home import FORBIDDEN_SIGNS

HOSTILE = (
    *(
        'a"; DROP TABLE raw_documents; --',
        "x'); DROP TABLE dropped; --",
        "'",
        '"',
        '""',
        "a\nb",
        "a;b",
        "select",
        "from",
    ),
    *(
        "$column",
        "${name}",
        "%s",
        "{0}",
        "?",
        "*",
        "a.b",
        "\u202egnirts",
        "名前",
        "n" * 500,
        " ",
        "--",
        "/*",
        "COLUMNS(*)",
        "\\",
    ),
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_column_of_any_name_is_a_feature(tmp_path: Path, name: str) -> None:
    """Its values look like SQL, too, and it comes with columns of the layout."""
    documents = pa.table({"document_id": ["shoe", "boot", "hat"], "title": ["a", "b", "c"], name: HOSTILE[:3]})
    pq.write_table(documents, tmp_path / "documents.parquet")
    logs = small_log(tmp_path / "in").model_copy(update={"documents": str(tmp_path / "documents.parquet")})
    extract(logs, SPLIT, tmp_path / "log")
    (tmp_path / "columns").mkdir()
    read_columns(logs, tmp_path / "log", {"documents": [name]}, tmp_path / "columns")
    ids = pq.read_table(tmp_path / "log" / "documents.parquet")["document_id"].to_pylist()
    [values] = pq.read_table(tmp_path / "columns" / "documents.parquet").columns
    assert dict(zip(ids, values.to_pylist(), strict=True)) == {
        document: [value] for document, value in zip(("shoe", "boot", "hat"), HOSTILE, strict=False)
    }


def test_values_that_look_like_sql_are_unchanged(tmp_path: Path) -> None:
    """As identity, query, place and kind; a condition on them finds the document that it names."""
    ids = [f"{text} {i}" for i, text in enumerate(HOSTILE)]
    queries = [f"{text} q{i}" for i, text in enumerate(HOSTILE)]  # texts that differ in signs alone are one query
    times = ["2020-01-01", "2020-01-04 12:00", "2020-01-06"]
    n = len(HOSTILE)
    tables = {
        "searches": {
            "search_id": [f"{day}{identity}" for day in range(3) for identity in ids],
            "query": queries * 3,
            "searched_at": [time for time in times for _ in ids],
            "searcher_id": ids * 3,
            "session_id": [f"{day}{identity}" for day in range(3) for identity in ids],
            "city": ids * 3,
        },
        "results": {
            "search_id": [f"{day}{identity}" for day in range(3) for identity in ids],
            "document_id": ids * 3,
            "clicked": [True] * 3 * n,
        },
        "documents": {"document_id": ids, "title": queries, "kind": ids, "city": ids},
        "judgements": {"query": queries, "document_id": ids, "grade": [1] * n},
        "edges": {"source_id": ids, "target_id": ids, "source_type": ["searcher"] * n, "target_type": ["document"] * n},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    logs = Tables(layout="tables", **{name: str(tmp_path / f"{name}.parquet") for name in tables})
    read = extract_rows(logs, tmp_path / "log")
    assert {row["document_id"] for row in read["documents"]} == set(ids)
    assert {row["searcher_id"] for row in read["searchers"]} == set(ids)
    assert {row["query"] for row in read["searches"]} == {text.strip() for text in queries}
    assert {(row["source"], row["target"]) for row in read["edges"]} == set(zip(ids, ids, strict=True))
    report = json.loads((tmp_path / "log" / "report.json").read_text())
    assert all(not table["dropped"] for table in report["tables"].values())

    documents = pq.read_table(tmp_path / "log" / "documents.parquet")
    terms = index_terms(documents["title"].to_pylist(), None, 1.2, 0.75)
    for identity in ids:
        quoted = identity.strip().replace("\\", "\\\\").replace('"', '\\"')
        matches = condition_mask(parse(f'kind = "{quoted}"'), SearchedDocuments(documents, terms), None)  # type: ignore[arg-type]
        assert documents["document_id"].filter(pa.array(matches)).to_pylist() == [identity]


@pytest.mark.parametrize("table", ["searches", "results", "documents"])
def test_brotli_is_refused_before_it_is_decompressed(tmp_path: Path, table: str) -> None:
    logs = small_log(tmp_path / "in")
    path = tmp_path / f"{table}.parquet"
    pq.write_table(pc.read_csv(getattr(logs, table)), path, compression="brotli")
    path.write_bytes(path.read_bytes().replace(b"PAR1", b"PAR1" + b"\xff" * 8, 1))  # its pages are nonsense now
    with pytest.raises(InputError, match=rf"{table}: .*{table}\.parquet is compressed by Brotli.*zstd or snappy"):
        extract(logs.model_copy(update={table: str(path)}), SPLIT, tmp_path / "log")


@pytest.mark.parametrize(
    "name", ["a'b", "a b", "a;b", "[x]", "st*r", "wh?t", "$x", '"', "ü€", "a\nb", "{a,b}", "b\\c", "-- x"]
)
def test_a_folder_of_any_name_is_read_and_written(tmp_path: Path, name: str) -> None:
    """For the folders of the logs, the home and the named columns; a folder that a glob would match is not read."""
    folder = tmp_path / (name if not set(name) & set(FORBIDDEN_SIGNS) else "home")  # a home refuses such a name
    logs = small_log(
        tmp_path / name / "in",
        documents=DOCUMENTS.replace("title", "title,brand").replace("\n", ",x\n").replace("brand,x", "brand"),
    )
    neighbour = tmp_path / {"[x]": "x", "st*r": "star", "wh?t": "what"}.get(name, "other")
    small_log(neighbour / "in", documents="document_id,title\nwrong,Wrong\n")
    extract(logs, SPLIT, folder / "log")
    extract(small_log(tmp_path / "plain"), SPLIT, neighbour / "log")
    assert extracted_log.read_shown(folder / "log").clicked.sum() == 4
    (folder / "columns").mkdir()
    read_columns(logs, folder / "log", {"documents": ["brand"]}, folder / "columns")
    assert pq.read_table(folder / "columns" / "documents.parquet")["brand"].to_pylist() == [["x"]] * 3
    (folder / "sample").mkdir()
    extracted_log.sample(folder / "log", "test", 10, 1, None, folder / "sample")


LONG = "x" * 100_000
WRONG_PLACE = "an identity or a place is too long"


@pytest.mark.parametrize(
    ("table", "text", "reason"),
    [
        ("searches", SEARCHES + f"7,2020-01-02 12:00:00,{LONG},ann\n", "query is too long"),
        ("searches", SEARCHES + f"7,2020-01-02 12:00:00,hat,{LONG}\n", WRONG_PLACE),
        ("searches", SEARCHES + f"{LONG},2020-01-02 12:00:00,hat,ann\n", WRONG_PLACE),
        ("documents", DOCUMENTS + f"cap,{LONG * 11}\n", "title or body is too long"),
        ("documents", DOCUMENTS + f"{LONG},Cap\n", WRONG_PLACE),
        ("results", RESULTS + f"1,{LONG},1,false\n", "no such document, or it was dropped"),
        ("edges", f"source_id,target_id\nann,hat\n{LONG},hat\n", "an identity is too long"),
        ("judgements", f"query,document_id,grade\nhat,hat,1\n{LONG},hat,1\n", "nobody searched it"),
        ("judgements", "query,document_id,grade\nhat,hat,1\nhat,shoe,1e300\n", "grade is absurd"),
    ],
)
def test_an_overlong_field_is_dropped_counted_and_not_repeated(
    tmp_path: Path, table: str, text: str, reason: str
) -> None:
    extract(small_log(tmp_path / "in", max_dropped=0.5, **{table: text}), SPLIT, tmp_path / "out")
    report = (tmp_path / "out" / "report.json").read_text()
    [dropped] = json.loads(report)["tables"][table]["dropped"]
    assert (dropped["reason"], dropped["rows"]) == (reason, 1)
    assert LONG[:200] not in report
    if table in ("searches", "documents", "results"):  # these tables may not lose many rows
        with pytest.raises(InputError, match=reason) as error:
            extract(small_log(tmp_path / "in", **{table: text}), SPLIT, tmp_path / "again")
        assert LONG[:200] not in str(error.value)


def test_fields_of_the_longest_length_are_read(tmp_path: Path) -> None:
    searches = SEARCHES + f"{'i' * LONGEST_ID},2020-01-02 12:00:00,{'q' * LONGEST_QUERY},ann\n"
    documents = DOCUMENTS + f"{'d' * LONGEST_ID},{'t' * LONGEST_TEXT}\n"
    read = extract_rows(small_log(tmp_path / "in", searches=searches, documents=documents), tmp_path / "out")
    assert max(len(row["query"]) for row in read["searches"]) == LONGEST_QUERY
    assert max(len(row["title"]) for row in read["documents"]) == LONGEST_TEXT


def test_an_overlong_unreadable_value_is_shortened_in_the_message(tmp_path: Path) -> None:
    results = RESULTS.replace("4,hat,1,true", f"4,hat,1,{'x' * 100_000}")
    with pytest.raises(InputError, match="'clicked' holds 'xxx") as error:
        extract(small_log(tmp_path / "in", results=results), SPLIT, tmp_path / "out")
    assert len(str(error.value)) < 1_000


def test_a_named_column_holds_short_values(tmp_path: Path) -> None:
    brands = f"document_id,title,brand\nshoe,a,{'x' * (LONGEST_ID + 1)}\nboot,b,y\nhat,c,\n"
    logs = small_log(tmp_path / "in", documents=brands)
    extract(logs, SPLIT, tmp_path / "log")
    with pytest.raises(InputError, match=r"column 'brand' holds a value of 1,001 characters. Expected at most 1,000"):
        read_columns(logs, tmp_path / "log", {"documents": ["brand"]}, tmp_path)
