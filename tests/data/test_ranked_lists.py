"""The logged order and the user's ranked lists, on a log and lists that a reader checks by eye."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from data import extracted_log
from data.experiment.log_config import Split
from data.log_fingerprint import refuse_absent
from data.ranked_lists import FileMatch, MatchedList, RankedFile, match_list, match_logged, read_list, read_match
from ebr_core.errors import InputError
from tests.data.small_logs import extract_rows, small_log

# Searches 4 to 7 are the test. `gone` is not alive then, 5 was shown in random order, 6 has a result without position.
SEARCHES = """\
search_id,searched_at,query,searcher_id
1,2020-01-01 10:00:00,red shoes,ann
2,2020-01-02 10:00:00,boots,ann
3,2020-01-04 10:00:00,hat,bob
4,2020-01-06 10:00:00,red shoes,ann
5,2020-01-07 10:00:00, boots ,bob
6,2020-01-08 10:00:00,hat,cat
7,2020-01-09 10:00:00,red shoes,dan
"""
RESULTS = """\
search_id,document_id,position,clicked,randomised
1,shoe,1,true,false
1,sock,2,false,false
2,gone,1,true,false
3,hat,1,true,false
4,boot,2,true,false
4,gone,1,false,false
4,shoe,7,false,false
5,hat,1,false,true
5,boot,2,true,true
6,hat,1,true,false
6,cap,,false,false
7,shoe,1,true,false
"""
DOCUMENTS = """\
document_id,title,removed_at
shoe,Red shoe,
boot,Brown boot,
hat,Hat,
cap,Cap,
sock,Sock,
gone,Gone,2020-01-03 00:00:00
"""
JUDGEMENTS = """\
query,document_id,grade
hat,boot,0
hat,hat,1
"""
SPLIT = Split(validation_from="2020-01-03", test_from="2020-01-05")
Lists = dict[str, list[str]]  # search → documents in order


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the extracted log and the sampled test."""
    folder = tmp_path_factory.mktemp("lists")
    tables = {"searches": SEARCHES, "results": RESULTS, "documents": DOCUMENTS, "judgements": JUDGEMENTS}
    extract_rows(small_log(folder / "files", **tables), folder / "log", SPLIT)
    for part in ("test", "validation"):
        (folder / part).mkdir()
        extracted_log.sample(folder / "log", part, 100, 1, None, folder / part)
    return folder


def _named(log: Path, matched: MatchedList, part: str = "test") -> Lists:
    documents = pq.read_table(log / "log" / "documents.parquet")["document_id"].to_pylist()
    searches = pq.read_table(log / part / "searches.parquet")["search_id"].to_pylist()
    return {
        search: [documents[row] for row in line if row >= 0]
        for search, line in zip(searches, matched.rows.tolist(), strict=True)
    }


def _read(log: Path, path: Path) -> Path:
    out = path.with_suffix(".read")
    out.mkdir()
    read_list(RankedFile(name="production", path=str(path)), log / "log", out)
    return out


def _matched(log: Path, path: Path, text: str, k: int = 4) -> tuple[FileMatch, MatchedList]:
    path.write_text(text)
    out = _read(log, path)
    return read_match(out), match_list(out, log / "log", log / "test", k, (1, 2))


def test_a_list_may_have_the_names_of_the_log(log: Path, tmp_path: Path) -> None:
    """A name that the file lacks, or that is a column of lists, is the layout's."""

    def ranked(text: str, names: dict[str, str]) -> Lists:
        path, out = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv", tmp_path / f"{len(list(tmp_path.iterdir()))}.out"
        path.write_text(text)
        out.mkdir()
        read_list(RankedFile(name="production", path=str(path), names=names), log / "log", out)
        return _named(log, match_list(out, log / "log", log / "test", 4, (1, 2)))

    standard = ranked("search_id,document_id,rank\n4,hat,2\n4,boot,1\n", {})
    assert standard["4"] == ["boot", "hat"]
    for head in ("sid,sku,rank", "search_id,sku,rank", "SID,document_id,Rank"):
        assert ranked(f"{head}\n4,hat,2\n4,boot,1\n", {"search_id": "sid", "document_id": "sku"}) == standard
    assert ranked("search_id,document_id,rank\n4,hat,2\n4,boot,1\n", {"document_id": "rank"}) == standard
    with pytest.raises(InputError, match=r"neither the column 'sku'.* nor 'document_id'.* Rename one$"):
        ranked("search_id,thing,rank\n4,hat,2\n", {"document_id": "sku"})


def test_the_logged_order_leaves_out_what_is_not_alive_and_counts_it(log: Path) -> None:
    matched = match_logged(log / "log", log / "test", 2)
    assert _named(log, matched) == {"4": ["boot", "shoe"], "5": ["hat", "boot"], "6": ["hat"], "7": ["shoe"]}
    assert matched.rows.shape == (4, 2)
    match = matched.match
    assert (match.searches, match.covered, match.without_rank, match.not_alive) == (4, 4, 1, 1)
    assert _named(log, match_logged(log / "log", log / "test", 1))["4"] == ["boot"]
    assert _named(log, match_logged(log / "log", log / "validation", 2), "validation") == {"3": ["hat"]}


def test_a_trec_run_is_matched_by_search(log: Path, tmp_path: Path) -> None:
    text = "4  Q0 shoe 10 .5 mine\n4\tQ0\tboot 2 .9 mine\n\n  7 Q0 shoe 1 1 mine\r\n"
    text += "99 Q0 shoe 1 1 mine\n7 Q0 nil 2 0 mine\n"
    read, matched = _matched(log, tmp_path / "mine.run", text)
    assert {part.reason: (part.rows, part.examples) for part in read.left_out} == {
        "no such search in the log": (1, ("99 / shoe",)),
        "no such document in the log": (1, ("7 / nil",)),
    }
    assert (read.rows, read.kept) == (5, 3)
    assert _named(log, matched) == {"4": ["boot", "shoe"], "5": [], "6": [], "7": ["shoe"]}  # 2 precedes 10
    assert (matched.match.searches, matched.match.covered) == (4, 2)
    assert matched.match.shown == 1  # boot and shoe of 4, shoe of 7
    assert matched.match.shuffled == {}  # it does not cover search 5


def test_a_table_by_query_holds_for_every_search_of_the_query(log: Path, tmp_path: Path) -> None:
    rows = [("Red Shoes! ", "shoe", 1), ("red shoes", "gone", 2), ("red shoes", "sock", 3), ("red shoes", "sock", 4)]
    rows += [
        ("boots", "boot", 1),
        ("boots", "cap", 2),
        ("boots", "hat", 3),
        ("boots", "shoe", None),
        ("nobody", "shoe", 1),
    ]
    values = ", ".join(str(row).replace("None", "NULL") for row in rows)
    path = tmp_path / "mine.parquet"
    duckdb.sql(f"FROM (VALUES {values}) AS list(query, document_id, rank)").write_parquet(str(path))
    out = _read(log, path)
    matched = match_list(out, log / "log", log / "test", 4, (1, 2))
    both = ["shoe", "sock"]
    assert _named(log, matched) == {"4": both, "5": ["boot", "cap", "hat"], "6": [], "7": both}
    assert {part.reason: part.rows for part in read_match(out).left_out} == {
        "nobody searched it": 1,
        "rank is missing": 1,
        "the same document again in the same search": 1,
    }
    assert matched.match.not_alive == 2  # `gone` in searches 4 and 7
    # Shown and among as many first ones: of 4 shoe of boot, shoe; of 5 boot of hat, boot; of 7 shoe.
    assert matched.match.shown == pytest.approx(3 / 5)
    assert matched.match.shuffled == {1: 0.5, 2: 0.5}  # of hat and boot, shown in random order in search 5
    assert match_list(out, log / "log", log / "validation", 4, ()).match.covered == 0


def test_rows_that_name_a_search_precede_those_of_its_query(log: Path, tmp_path: Path) -> None:
    text = "search_id,query,document_id,rank\n4,,cap,1\n,red shoes,shoe,1\n,red shoes,sock,2\n"
    assert _named(log, _matched(log, tmp_path / "mine.csv", text)[1])["4"] == ["cap"]
    assert _named(log, _matched(log, tmp_path / "mine2.csv", text)[1])["7"] == ["shoe", "sock"]


HEADER = "search_id,document_id,rank\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "search_id,document_id\n4,shoe\n", "lists.production: .*a.csv has no column 'rank'"),
        ("a.csv", "document_id,rank\nshoe,1\n", r"names a search and .*neither search_id nor query: 1 \(shoe\)"),
        ("a.csv", HEADER + "4,shoe,first\n", "column 'rank' holds 'first'. Expected a whole number"),
        (
            "a.csv",
            HEADER + "x,shoe,1\n4,x,1\n",
            r"none of its 2 rows .*\(no such document .*x.*no such search .*x / shoe",
        ),
        ("a.csv", HEADER + "4,shoe,1\n4,boot,1\n4,hat,2\n", "1 ranks .* such as rank 1 of '4' to boot and shoe"),
        ("a.csv", HEADER, "holds no rows"),
        ("a.run", "4 Q0 shoe 1 1 x\n4 shoe 1\n", "1 of its 2 lines do not have six fields, such as '4 shoe 1'"),
        ("a.run", "4 Q0 shoe 1.5 1 x\n", "has the rank '1.5'. Expected whole numbers"),
        ("a.run", "\n", "holds no rows"),
        ("a.run", "4 Q0 shoe 1 1 x\n4 Q0 boot 1 2 x\n", "such as rank 1 of '4' to boot and shoe"),
        ("a.run", b"4 Q0 caf\xe9 1 1 x\n", "cannot be read"),
        ("a.parquet", "search_id\n", "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(
    log: Path, tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as error:
        _read(log, path)
    assert str(error.value).startswith("lists.production: ")


def test_an_absent_list_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"lists.mine: there is no file .*no.run. Correct lists.mine in the experiment"
    ):
        refuse_absent(None, {"mine": str(tmp_path / "no.run")})


def test_what_was_shown_or_judged_for_a_query_is_seen(log: Path) -> None:
    documents = pq.read_table(log / "log" / "documents.parquet")["document_id"].to_pylist()
    queries = pq.read_table(log / "log" / "queries.parquet")["query"].to_pylist()

    def seen(part: str) -> Lists:
        names: Lists = {}
        for row in pq.read_table(log / part / "seen.parquet").to_pylist():
            names.setdefault(queries[row["query_row"]], []).append(documents[row["document_row"]])
        return {query: sorted(found) for query, found in names.items()}

    assert seen("test") == {
        "red shoes": ["boot", "gone", "shoe", "sock"],  # also in training and by others
        "boots": ["boot", "gone", "hat"],
        "hat": ["boot", "cap", "hat"],  # boot was judged, if with 0
    }
    assert seen("validation") == {"hat": ["boot", "hat"]}  # not cap, which only the test shows


def test_clicks_in_lists_that_were_shown_in_random_order_are_a_target_set(log: Path) -> None:
    targets = pq.read_table(log / "test" / "targets.parquet").to_pylist()
    searches = pq.read_table(log / "log" / "searches.parquet")["search_id"].to_pylist()
    documents = pq.read_table(log / "log" / "documents.parquet")["document_id"].to_pylist()
    randomised = [row for row in targets if row["targets"] == "randomised"]
    assert [(searches[row["search_row"]], documents[row["document_row"]]) for row in randomised] == [("5", "boot")]
    assert np.isclose(randomised[0]["grade"], 1)
