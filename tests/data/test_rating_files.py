"""The searches that may be rated, and the messages for ratings files that cannot be used; on a log checked by eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import extracted_log, rating_files
from data.schemas import IMPORTED
from ebr_core.errors import InputError
from tests.data.small_logs import extract_rows, small_log


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Searches 1 to 4 are the training window, 5 the validation, 6 the test."""
    folder = tmp_path_factory.mktemp("ratings")
    extract_rows(small_log(folder / "files"), folder / "log")
    return folder / "log"


def _row(log: Path, table: str, key: str, value: str) -> int:
    names: list[str] = pq.read_table(log / f"{table}.parquet")[key].to_pylist()
    return names.index(value)


def _truth(folder: Path, rows: list[tuple[int, str, float]]) -> Path:
    (folder / "intents" / "day").mkdir(parents=True)
    searches, documents, grades = zip(*rows, strict=True)
    columns = {"search_id": searches, "document_id": documents, "grade": np.array(grades, np.float32)}
    columns |= {"misspelt": [False] * len(rows), "attempt": np.ones(len(rows), np.int8)}
    pq.write_table(pa.table(columns), folder / "intents" / "day" / "part.parquet")
    return folder


def test_one_search_of_each_query_and_searcher_is_rateable_in_the_training_window_alone(log: Path) -> None:
    searches = pq.read_table(log / "searches.parquet")["search_id"]
    every = extracted_log.row_numbers(extracted_log.read(log, "rateable", {"most": 100}), "search_row")
    assert searches.take(every).to_pylist() == ["1", "2", "3", "4"]
    few = extracted_log.row_numbers(extracted_log.read(log, "rateable", {"most": 2}), "search_row")
    assert len(few) == 2
    assert set(few) <= set(every)


def test_true_grades_cover_the_training_window_alone(log: Path, tmp_path: Path) -> None:
    truth = _truth(tmp_path, [(1, "shoe", 2.0), (3, "hat", 1.0), (5, "hat", 2.0), (6, "boot", 2.0)])
    every = [(search, document) for search in range(6) for document in range(3)]
    searches, documents = (np.array(column, np.int32) for column in zip(*every, strict=True))
    pairs = pa.table({"search_row": searches, "document_row": documents})
    rows = rating_files.true_grades(log, truth, pairs).to_pylist()
    names = pq.read_table(log / "searches.parquet")["search_id"].to_pylist()
    titles = pq.read_table(log / "documents.parquet")["document_id"].to_pylist()
    grades = {(names[row["search_row"]], titles[row["document_row"]]): row["grade"] for row in rows}
    assert {search for search, _ in grades} == {"1", "2", "3", "4"}
    assert {pair: grade for pair, grade in grades.items() if grade} == {("1", "shoe"): 2.0, ("3", "hat"): 1.0}


def test_an_exported_file_shows_query_and_title_of_training_searches_alone(log: Path, tmp_path: Path) -> None:
    pairs = pa.table(
        {
            "search_row": np.array([0, 5], np.int32),
            "document_row": np.array([_row(log, "documents", "document_id", "boot")] * 2, np.int32),
            "rank": np.array([1, 1], np.int32),
        }
    )
    out = tmp_path / "out.csv"
    assert rating_files.write_csv(log, pairs, out) == 1
    header, row = out.read_text().splitlines()
    assert header.replace('"', "").split(",")[:6] == ["search_id", "document_id", "grade", "rank", "query", "title"]
    assert row.replace('"', "").split(",")[:6] == ["1", "boot", "", "1", "red shoes", "Brown boot"]


HEADER = "search_id,document_id,grade,title\n"
BAD = [
    (b"", "empty. Expected the file that `ebr ratings export` wrote"),
    (b"\n\n", "empty"),
    (HEADER.encode(), "got only row 1. Expected the exported rows"),
    (b"search_id,grade\n1,2\n", "row 1: no column document_id; got search_id, grade"),
    (b"search_id;document_id;grade\n1;shoe;2\n", "It is separated by semicolons: save it with commas"),
    (b"search_id\tdocument_id\tgrade\n1\tshoe\t2\n", "It is separated by tabs: save it with commas"),
    ((HEADER + "1,shoe,2,Größe\n").encode("latin-1"), "not UTF-8 text (invalid"),
    ((HEADER + "1,shoe,2,red, old\n").encode(), "row 2: 5 fields; expected 4 as in row 1"),
    ((HEADER + "1,shoe,2,\n1,boot\n").encode(), "row 3: 2 fields; expected 4"),
    ((HEADER + "1,shoe,,\n2,boot,,\n").encode(), "no row has a grade. Write 0, 1, 2 or 3"),
    ((HEADER + "1,shoe,2,\n77,shoe,2,\n").encode(), "row 3, search_id: got '77'; not in this log"),
    ((HEADER + "5,hat,2,\n").encode(), "row 2, search_id: got '5'; not in the training window"),
    ((HEADER + "6,boot,0,\n").encode(), "row 2, search_id: got '6'; not in the training window"),
    ((HEADER + "1,sock,2,\n").encode(), "row 2, document_id: got 'sock'; not in this log"),
    ((HEADER + "1,shoe,4,\n").encode(), "row 2, grade: got '4'; expected 0, 1, 2, 3, or nothing"),
    ((HEADER + "1,shoe,1.5,\n").encode(), "row 2, grade: got '1.5'"),
    ((HEADER + "1,shoe,good,\n").encode(), "row 2, grade: got 'good'"),
    (
        (HEADER + "1,shoe,2,\n2,boot,1,\n1,shoe,0,\n").encode(),
        "row 4: search 1, document shoe is rated 0, but 2 in row 2 of this file; keep one of them",
    ),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_a_file_that_cannot_be_used_is_refused_with_its_row(
    log: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(InputError) as error:
        rating_files.read_csv(tmp_path / "in.csv", log)
    assert message in str(error.value)
    assert str(tmp_path / "in.csv") in str(error.value)


def test_all_problems_are_reported_at_once_but_not_a_thousand_times(log: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(HEADER + "1,shoe,9,\n" + "x,boot,1,\n" * 1000)
    with pytest.raises(InputError) as error:
        rating_files.read_csv(tmp_path / "in.csv", log)
    lines = str(error.value).splitlines()
    assert len(lines) < 15
    assert any("row 2, grade: got '9'" in line for line in lines)
    assert any("… and 995 more such rows, up to row 1002" in line for line in lines)


def test_a_good_file_is_read_as_spreadsheets_write_it(log: Path, tmp_path: Path) -> None:
    text = (
        '\ufefftitle,search_id,grade,document_id\r\n"Red, ""big""\nshoe",1, 2 ,shoe\r\n\r\nx,1,,boot\r\nx,2,0,boot\r\n'
    )
    (tmp_path / "in.csv").write_bytes(text.encode())
    table = rating_files.read_csv(tmp_path / "in.csv", log).table
    assert table.schema == IMPORTED
    assert table.to_pylist() == [
        {"search_id": "1", "document_id": "shoe", "grade": 2.0, "row": 2},
        {"search_id": "2", "document_id": "boot", "grade": 0.0, "row": 5},
    ]
    rated = rating_files.to_rated_rows(table, log, 2)
    assert rated["good"].to_pylist() == [True, False]
    assert rated["search_row"].to_pylist() == [0, 1]


def test_a_repeated_grade_counts_once(log: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(HEADER + "1,shoe,2,\n1,shoe,2,\n")
    assert rating_files.read_csv(tmp_path / "in.csv", log).table.num_rows == 1


PAGE = "search_id,document_id,grade,query,searcher_id,rated_at\n"


def test_a_rating_of_the_page_belongs_to_the_newest_search_with_its_query(log: Path, tmp_path: Path) -> None:
    """Ann and Bob searched for red shoes (1, 3), Ann for red boots (2); hat and boots are the validation and the
    test."""
    rows = [
        ",boot,2,Red  SHOES!,,2020-02-01T00:00",
        ",hat,1,red shoes,ann,2020-02-01T00:00",
        ",shoe,0,red shoes,carl,2020-02-01T00:00",
        ",hat,3,hat,,2020-02-01T00:00",
        ",hat,3,who asked this,,2020-02-01T00:00",
        "2,shoe,1,whatever,,",
    ]
    (tmp_path / "in.csv").write_text(PAGE + "\n".join(rows) + "\n")
    table, unasked = rating_files.read_csv(tmp_path / "in.csv", log)
    assert table.schema == IMPORTED
    assert [(row["search_id"], row["document_id"], row["grade"]) for row in table.to_pylist()] == [
        ("3", "boot", 2.0), ("1", "hat", 1.0), ("3", "shoe", 0.0), ("2", "shoe", 1.0)
    ]  # fmt: skip
    assert unasked == ["hat", "who asked this"]
    (tmp_path / "none.csv").write_text(PAGE + rows[3] + "\n")
    with pytest.raises(InputError, match="no row has a grade that counts: no search of the training window has the"):
        rating_files.read_csv(tmp_path / "none.csv", log)


def test_the_newest_rating_of_a_pair_counts_and_may_take_it_back(log: Path, tmp_path: Path) -> None:
    rows = [
        ",boot,2,red shoes,,2020-02-01T00:00:02",
        ",boot,0,RED shoes,,2020-02-01T00:00:01",  # older, though later in the file
        ",hat,3,red shoes,,2020-02-01T00:00:01",
        ",hat,,red shoes,,2020-02-01T00:00:02",
        ",shoe,1,red shoes,,2020-02-01T00:00:02",
        ",shoe,3,red shoes,,2020-02-01T00:00:02",  # at the same time: the later row
    ]
    (tmp_path / "in.csv").write_text(PAGE + "\n".join(rows) + "\n")
    ratings = rating_files.read_csv(tmp_path / "in.csv", log).table.to_pylist()
    assert [(row["document_id"], row["grade"], row["row"]) for row in ratings] == [("boot", 2.0, 2), ("shoe", 3.0, 7)]


def test_ratings_of_searches_that_left_the_training_window_are_refused(log: Path) -> None:
    rows = [("1", "shoe", 2.0, 2), ("6", "boot", 1.0, 3)]
    columns = dict(zip(IMPORTED.names, zip(*rows, strict=True), strict=True))
    with pytest.raises(InputError, match=r"1 of 2 imported ratings are of searches outside .* search 6, document boot"):
        rating_files.to_rated_rows(pa.table(columns, schema=IMPORTED), log, 1)
