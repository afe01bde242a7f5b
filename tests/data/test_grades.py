"""Grades are compared as they were written, in whatever type a file holds them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import extracted_log
from data.experiment.log_config import Beir, Split
from data.extract import extract
from ebr_core.errors import InputError
from tests.data.small_logs import SPLIT, extract_rows, small_log, write_text

TEXTS = ("2.33", "0.1", "3.7")  # none of them is a binary fraction
TYPES = {
    "float": pa.float32(),
    "double": pa.float64(),
    "decimal": pa.decimal128(6, 2),
    "wide decimal": pa.decimal128(38, 20),
}


def _judgements(folder: Path, form: str) -> str:
    """A file that judges shoe, boot and hat for the last search of the small log."""
    if form == "csv":
        rows = "".join(f"6,{d},{grade}\n" for d, grade in zip(("shoe", "boot", "hat"), TEXTS, strict=True))
        return write_text(folder, "judgements.csv", "search_id,document_id,grade\n" + rows)
    folder.mkdir(parents=True, exist_ok=True)
    exact = [Decimal(text) for text in TEXTS]
    grades: Any = exact if form.endswith("decimal") else [float(text) for text in TEXTS]
    table = pa.table(
        {
            "search_id": ["6"] * 3,
            "document_id": ["shoe", "boot", "hat"],
            "grade": pa.array(grades, TYPES[form]),
        }
    )
    pq.write_table(table, folder / "judgements.parquet")
    return str(folder / "judgements.parquet")


@pytest.mark.parametrize("form", ["csv", *TYPES])
def test_a_grade_reaches_its_own_number(tmp_path: Path, form: str) -> None:
    logs = small_log(tmp_path / "in").model_copy(update={"judgements": _judgements(tmp_path / "in", form)})
    rows = extract_rows(logs, tmp_path / "log", SPLIT)["judgements"]
    assert sorted(row["grade"] for row in rows) == sorted(float(text) for text in TEXTS)
    for text in TEXTS:
        folder = tmp_path / text
        folder.mkdir()
        extracted_log.sample(tmp_path / "log", "test", 10, float(text), None, folder)
        targets = pq.read_table(folder / "targets.parquet").to_pylist()
        found = [row["grade"] for row in targets if row["targets"] == "judged"]
        assert sorted(found) == sorted(float(other) for other in TEXTS if float(other) >= float(text))
        nearest = float(np.nextafter(float(text), 9))
        if text == "3.7":
            with pytest.raises(InputError, match=r"none reaches logs.judged_from.*the grades are 3.7, 2.33, 0.1\."):
                extracted_log.sample(tmp_path / "log", "test", 10, nearest, None, folder)


@pytest.mark.parametrize("grade", TEXTS)
def test_the_positives_of_a_judged_collection(tmp_path: Path, grade: str) -> None:
    corpus = write_text(tmp_path, "corpus.jsonl", '{"_id": "d1", "title": "", "text": "one"}\n')
    queries = write_text(tmp_path, "queries.jsonl", '{"_id": "q1", "text": "one"}\n')
    qrels = write_text(tmp_path, "test.tsv", f"query-id\tcorpus-id\tscore\nq1\td1\t{grade}\n")
    logs = Beir(layout="beir", corpus=corpus, queries=queries, test_qrels=qrels, judged_from=float(grade))
    assert [row["clicked"] for row in extract_rows(logs, tmp_path / "out", Split())["results"]] == [True]
    higher = logs.model_copy(update={"judged_from": 4})
    with pytest.raises(InputError, match=rf"none reaches logs.judged_from, 4.*the grades are {grade}\."):
        extract(higher, Split(), tmp_path / "none")
