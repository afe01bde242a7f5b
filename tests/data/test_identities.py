"""An identity is the same in every format, or is refused; texts that mean null are null, and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shared_cases import case_tables
from small_logs import SEARCHES, SPLIT, extract_rows, small_log

from data.experiment.log_config import Tables
from data.extract import extract
from ebr_core.errors import InputError


def with_ids(tmp_path: Path, ids: Any, form: str = "parquet") -> Tables:
    """A small log in whose searches these are the identities of the searchers."""
    rows = [line.split(",")[:3] for line in SEARCHES.splitlines()[1:]]
    columns = dict(zip(("search_id", "searched_at", "query"), map(list, zip(*rows, strict=True)), strict=True))
    table = pa.table({**columns, "searcher_id": ids})
    logs = small_log(tmp_path / "in")
    path = tmp_path / "in" / f"searchers.{form}"
    if form == "parquet":
        pq.write_table(table, path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in table.to_pylist()))
    return logs.model_copy(update={"searches": str(path)})


def searchers(logs: Tables, folder: Path) -> list[str | None]:
    return [row["searcher"] for row in extract_rows(logs, folder)["searches"]]


NULLS = ["NULL", "null", "None", "nan", "NaN", "<NA>", "\\N", "undefined", "NA", "N/A", "(null)", "  ", " " * 40]


@pytest.mark.parametrize("text", NULLS)
@pytest.mark.parametrize("form", ["parquet", "ndjson", "csv"])
def test_texts_that_mean_null(tmp_path: Path, text: str, form: str) -> None:
    """Ann is nobody, and a place or a kind of this text is none."""
    if form == "csv":
        logs = small_log(tmp_path / "in", searches=SEARCHES.replace("ann", text))
    else:
        logs = with_ids(tmp_path, [text, text, "bob", None, text, "bob"], form)
    assert searchers(logs, tmp_path / "log") == [None, None, "bob", None, None, "bob"]
    report = json.loads((tmp_path / "log" / "report.json").read_text())
    assert report["columns"]["searches"]["searcher_id"] == 2
    notes = [note["note"] for note in report["notes"] if "searcher_id" in note["note"]]
    assert bool(notes) == bool(text.strip())
    assert not notes or f"3 rows with {text!r}" in notes[0]


def test_labels_that_mean_null_are_no_places(tmp_path: Path) -> None:
    """NA is Namibia."""
    documents = "document_id,title,city,country\nshoe,Red shoe,NULL,NA\nboot,Brown boot,null,NA\nhat,NULL,Rome,\n"
    rows = extract_rows(small_log(tmp_path / "in", documents=documents), tmp_path / "log")["documents"]
    found = {row["document_id"]: (row["title"], row["city"], row["country"]) for row in rows}
    expected = {"shoe": ("Red shoe", None, "NA"), "boot": ("Brown boot", None, "NA"), "hat": ("NULL", "Rome", None)}
    assert found == expected


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1.0, 1.0, 2.0, None, 1.0, 2.0]),
        pa.array([1.0, 1.0, 2.0, float("nan"), 1.0, 2.0], pa.float32()),
        pa.array(["1.0", "1.0", "2", None, "1", "2.00"]),
        pa.array(["1", "1", "2", "", "1", "2"]).dictionary_encode(),
        pa.array([1, 1, 2, None, 1, 2], pa.decimal128(20, 0)),
    ],
)
@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_floats_and_integers_are_one_identity(tmp_path: Path, ids: pa.Array, form: str) -> None:
    if pa.types.is_decimal(ids.type) and form == "ndjson":
        pytest.skip("JSON has no decimals")
    assert searchers(with_ids(tmp_path, ids, form), tmp_path / "log") == ["1", "1", "2", None, "1", "2"]


BIG = 2**53 + 1


@pytest.mark.parametrize(
    ("ids", "form", "got"),
    [
        (pa.array([float(BIG)] * 6), "parquet", "9007199254740992"),
        (pa.array([float(2**24)] * 6, pa.float32()), "parquet", "16777216"),
        (pa.array([f"{BIG}.0"] * 6), "parquet", f"{BIG}.0"),
        (pa.array([1.5] * 6), "parquet", "1.5"),
        (pa.array(["1.23457E+15"] * 6), "parquet", "1.23457E+15"),
        (pa.array([float(BIG)] * 6), "ndjson", "9007199254740992.0"),
    ],
)
def test_floats_that_cannot_be_exact_are_refused(tmp_path: Path, ids: pa.Array, form: str, got: str) -> None:
    with pytest.raises(InputError) as caught:
        extract(with_ids(tmp_path, ids, form), SPLIT, tmp_path / "log")
    for words in ("searches", "column 'searcher_id'", got[:5], "has lost digits"):
        assert words in str(caught.value)


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
def test_large_integers_are_exact(tmp_path: Path, form: str) -> None:
    ids = pa.array([BIG, BIG, BIG + 1, None, BIG, BIG + 1])
    assert searchers(with_ids(tmp_path, ids, form), tmp_path / "log")[:3] == [str(BIG), str(BIG), str(BIG + 1)]


@pytest.mark.parametrize(
    ("table", "row", "words"),
    [
        ("documents", {"document_id": "shoe", "title": {"en": "Red shoe"}}, ["'title'", '{"en"', "Expected text"]),
        ("documents", {"document_id": "shoe", "title": ["Red", "shoe"]}, ["'title'", '["Red"', "Expected text"]),
        ("documents", {"document_id": {"id": 1}, "title": "x"}, ["'document_id'", '{"id"', "integer or text"]),
        ("documents", {"document_id": "shoe", "title": "x", "city": {"name": "Rome"}}, ["'city'", "Expected text"]),
    ],
)
def test_records_in_ndjson_are_no_texts(tmp_path: Path, table: str, row: dict[str, Any], words: list[str]) -> None:
    others = [{"document_id": "boot", "title": "{not a record}"}, {"document_id": "hat", "title": "[hat]"}]
    path = tmp_path / "documents.ndjson"
    path.write_text("\n".join(map(json.dumps, [*others, row])))
    logs = small_log(tmp_path / "in").model_copy(update={table: str(path)})
    with pytest.raises(InputError) as caught:
        extract(logs, SPLIT, tmp_path / "log")
    for word in [table, *words]:
        assert word in str(caught.value)


def test_texts_in_braces_are_texts(tmp_path: Path) -> None:
    rows = [{"document_id": d, "title": t} for d, t in (("shoe", '{"en": 1}'), ("boot", "[x]"), ("hat", "{"))]
    path = tmp_path / "documents.ndjson"
    path.write_text("\n".join(map(json.dumps, rows)))
    logs = small_log(tmp_path / "in").model_copy(update={"documents": str(path)})
    titles = {row["document_id"]: row["title"] for row in extract_rows(logs, tmp_path / "log")["documents"]}
    assert titles == {"shoe": '{"en": 1}', "boot": "[x]", "hat": "{"}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("10-float-ids-above-2-53", ["searches", "searcher_id", "has lost digits"]),
        ("11-title-as-object", ["documents", "'title'", '{"en"', "Expected text"]),
    ],
)
def test_shared_cases_that_are_refused(tmp_path: Path, case: str, words: list[str]) -> None:
    logs, split = case_tables(case)
    with pytest.raises(InputError) as caught:
        extract(logs, split, tmp_path)
    for word in words:
        assert word in str(caught.value)


def test_shared_case_of_null_texts(tmp_path: Path) -> None:
    logs, split = case_tables("06c-null-text-in-a-busy-log")
    extract(logs, split, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["splits"]["validation"]["searches"] == 301
    assert report["splits"]["validation"]["searchers"] == 46
    assert report["cuts"]["test_from"].startswith("2025-01-05T19:39")
