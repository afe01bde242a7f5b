"""CSV is read whole, by its header and all of its lines, or refused with file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from shared_cases import case_tables
from small_logs import RESULTS, extract_rows, small_log, write_text

from data.extract import extract
from ebr_core.errors import InputError


def titles(tmp_path: Path, text: str, name: str = "documents.csv", **tables: str) -> list[str]:
    """The titles of the documents of a small log, in the order of their identities."""
    logs = small_log(tmp_path / "in", **tables)
    path = write_text(tmp_path / "in", name, "")
    Path(path).write_bytes(text.encode() if not name.endswith(".gz") else gzip.compress(text.encode()))
    rows = extract_rows(logs.model_copy(update={"documents": path}), tmp_path / "log")["documents"]
    return [row["title"] for row in sorted(rows, key=lambda row: row["document_id"])]


PLAIN = "document_id,title\nboot,{}\nhat,{}\nshoe,{}\n"
MANY = "".join(f"x{i},Thing {i}\n" for i in range(30_000))  # more lines than a reader would look at to guess


@pytest.mark.parametrize("name", ["documents.csv", "documents.csv.gz"])
@pytest.mark.parametrize(
    ("written", "read"),
    [
        (('"Salt, pepper"', "b", "c"), ["Salt, pepper", "b", "c"]),
        (('"The ""best"" mug"', "b", "c"), ['The "best" mug', "b", "c"]),
        (('"The \\"best\\" mug, red"', "b", "c"), ['The "best" mug, red', "b", "c"]),  # as Spark writes it
        (('Tube 12"', "b", "c"), ['Tube 12"', "b", "c"]),
        (('"Best price', "b", 'Tube 12"'), ['"Best price', "b", 'Tube 12"']),  # two stray quotes swallow no line
        (('"two\nlines"', "b", "c"), ["two\nlines", "b", "c"]),
        (('"two\r\nlines"', "b", "c"), ["two\r\nlines", "b", "c"]),
        (("#1", "'tis", "c|d;e\tf"), ["#1", "'tis", "c|d;e\tf"]),
    ],
)
def test_quotes(tmp_path: Path, written: tuple[str, ...], read: list[str], name: str) -> None:
    assert titles(tmp_path, PLAIN.format(*written), name) == read


@pytest.mark.parametrize("late", ['y1,"Salt, pepper set"\n', 'y1,"The ""best"" mug"\n'])
def test_the_first_quote_may_come_late(tmp_path: Path, late: str) -> None:
    read = titles(tmp_path, "document_id,title\nboot,a\nhat,b\nshoe,c\n" + MANY + late)
    assert len(read) == 30_004
    assert read[-1] in ("Salt, pepper set", 'The "best" mug')


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, ends: str) -> None:
    assert titles(tmp_path, PLAIN.format("a", "b", "c").replace("\n", ends)) == ["a", "b", "c"]


def test_lines_that_end_in_two_ways_are_read_without_quotes_and_refused_with_them(tmp_path: Path) -> None:
    mixed = PLAIN.format("a", "b", "c").replace("hat,b\n", "hat,b\r\n")
    assert titles(tmp_path, mixed) == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"documents: .*documents.csv cannot be read[^$]*one kind of line end"):
        titles(tmp_path, mixed.replace("a\n", '"a, b"\n'))


@pytest.mark.parametrize("late", [False, True])
def test_lines_may_begin_to_end_otherwise_at_any_line(tmp_path: Path, late: bool) -> None:
    head, tail = PLAIN.format("a", "b", "c").replace("\n", "\r\n"), MANY if late else "x,y\n"
    assert titles(tmp_path, head + tail)[:3] == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"documents.csv cannot be read: the line 'odd' has 1 fields, .* has 2\."):
        titles(tmp_path, head + "odd\n" + tail)
    with pytest.raises(InputError, match=r"the line 'o,d,d' has 3 fields"):
        titles(tmp_path, head + "o,d,d\n" + tail)


QUOTED = 'document_id,title,body\nd1,One,"a, b"\n'  # so that quotes are no text


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ('d2,"Salt,x\nd3,Pepper,y\nd4,Tube 12",z\n', "lines 3 to 5 are"),
        ('d2,"Salt,x\nd3,Tube 12",y\n', "lines 3 to 4 are"),
        ('d2,Salt,"x\nd3,Pepper,y\nd4,Tube,12"\n', "lines 3 to 5 are"),
        ('"d2,Salt,x\nd3,Pepper,y\nd4",Tube,z\n', "lines 3 to 5 are"),
        ('d2,"Sa""lt,x\n\nd3,Pepper,y\nd4,Tube 12",z\n', "lines 3 to 6 are"),
    ],
)
def test_a_field_that_swallows_rows_is_refused(tmp_path: Path, lines: str, where: str, ends: str) -> None:
    text = (QUOTED + lines + "d9,Nine,n\n").replace("\n", ends)
    with pytest.raises(InputError, match=rf"documents: .*documents.csv cannot be read: {where} one field in quotes"):
        titles(tmp_path, text)


@pytest.mark.parametrize(
    "body",
    [
        "first\nsecond",
        "first\n\nsecond, with one comma",
        "first\nred shoes, blue hats, and boots",  # as many commas as a row has, and no identity
        "a list:\ncap, tie, bag\nand so on",  # a line like a row, and one unlike it
        "a coat\nred, blue, and green",  # a blank behind a comma is that of a sentence
    ],
)
def test_texts_of_several_lines_are_read(tmp_path: Path, body: str) -> None:
    text = QUOTED.replace("d1", "boot") + f'hat,Two,"{body}"\nshoe,Three,c\n'
    assert titles(tmp_path, text) == ["One", "Two", "Three"]


TEXTS = 'd6,Six,"two\nlines"\nd7,Seven,"two\nother lines"\nd8,Eight,"and, here\nthree"\nboot,B,b\nhat,H,h\nshoe,S,s\n'


def test_among_texts_of_several_lines_a_few_may_look_like_rows(tmp_path: Path) -> None:
    """As a field of two lines does here by chance; one of many lines does not."""
    text = QUOTED + 'd2,Two,"lengths:\nm3,4,5"\n' + TEXTS
    assert titles(tmp_path, text) == ["B", "One", "Two", "Six", "Seven", "Eight", "H", "S"]
    rows = "".join(f"d2{i},Thing,t\n" for i in range(10))
    with pytest.raises(InputError, match=r"lines 3 to 14 are one field in quotes"):
        titles(tmp_path, QUOTED + 'd2,"Salt,x\n' + rows + 'd3,Tube 12",z\n' + TEXTS)


@pytest.mark.parametrize("separator", [";", "|", "\t", ","])
def test_the_header_gives_the_separator(tmp_path: Path, separator: str) -> None:
    """Even if all lines hold another sign more often."""
    lines = [separator.join((key, "a b;c|d".replace(separator, "/"))) for key in ("boot", "hat", "shoe")]
    read = titles(tmp_path, "\n".join([separator.join(("document_id", "title")), *lines]))
    assert read == ["a b;c|d".replace(separator, "/")] * 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("document_id,title\nboot,a\nhat\nshoe,c\n", ["documents.csv", "Line: 3"]),
        ("document_id,title\nboot,a\nhat,b,c\nshoe,c\n", ["documents.csv", "Line: 3"]),
        (PLAIN.format("a", '"b, c', "d"), ["documents.csv", "Line: 3", "quote"]),
        (PLAIN.format("a", '"b, c" d', '"e, f"'), ["documents.csv", "Line: 3", "quote"]),
        ("document_id,title,Title\nboot,a,b\nhat,a,b\nshoe,c,d\n", ["documents.csv", "'Title' twice"]),
    ],
)
def test_what_no_dialect_fits_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        titles(tmp_path, text)
    for word in words:
        assert word in str(caught.value)


def test_files_of_one_table_may_differ(tmp_path: Path) -> None:
    """In their columns, separator and quoting; a file without a line adds none."""
    folder = tmp_path / "in" / "results"
    header, *rows = RESULTS.splitlines()
    write_text(folder, "1.csv", "\n".join([header, *rows[:3]]))
    write_text(folder, "2.csv", "\n".join(['"clicked";"document_id";"search_id"', *_turned(rows[3:6])]))
    write_text(folder, "3.csv", "\n".join([header, *rows[6:]]) + "\n")
    write_text(folder, "4.csv", "")
    logs = small_log(tmp_path / "in").model_copy(update={"results": str(folder / "*.csv")})
    found = extract_rows(logs, tmp_path / "log")["results"]
    expected = extract_rows(small_log(tmp_path / "one"), tmp_path / "log2")["results"]
    assert [(row["search"], row["document"], row["clicked"]) for row in found] == [
        (row["search"], row["document"], row["clicked"]) for row in expected
    ]


def _turned(rows: list[str]) -> list[str]:
    """Rows of results without their position, in the opposite order, in quotes and with semicolons."""
    cells = [row.split(",") for row in rows]
    return [";".join(f'"{field}"' for field in (clicked, document, search)) for search, document, _, clicked in cells]


@pytest.mark.parametrize(
    ("case", "table", "column", "count", "values"),
    [
        ("07d-stray-quotes-below-threshold", "searches", "query", 600, ['"red shoe', 'boot 12"']),
        ("07e-documents-stray-quotes", "documents", "title", 300, ['"Best price part', 'Tube 12"']),
        ("09-first-quote-after-20480-rows", "documents", "title", 24_202, ["Salt, pepper set"]),
        ("09b-quoted-title-after-sample", "documents", "title", 24_202, ['The "best" mug']),
    ],
)
def test_shared_cases(tmp_path: Path, case: str, table: str, column: str, count: int, values: list[str]) -> None:
    logs, split = case_tables(case)
    extract(logs, split, tmp_path)
    texts = pq.read_table(tmp_path / ("queries.parquet" if column == "query" else "documents.parquet"))[column]
    assert pq.read_metadata(tmp_path / f"{table}.parquet").num_rows == count
    assert set(values) <= set(texts.to_pylist())
