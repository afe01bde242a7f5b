"""The rows that training and evaluation read from an extracted log, on a log that a reader checks by eye."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data import extracted_log
from data.experiment.log_config import Split, Tables
from data.extract import extract
from ebr_core.errors import InputError

SEARCHES = """search_id,searched_at,query,searcher_id,session_id
1,2024-01-01 10:00:00,apple,ann,s1
2,2024-01-02 10:00:00,pear,bob,s2
3,2024-01-11 10:00:00,late apple,ann,s1
4,2024-01-06 10:00:00,plum,ann,s4
5,2024-01-09 10:00:00,apple,ann,s5
6,2024-01-09 10:05:00,aple,ann,s6
7,2024-01-09 10:06:00,apple,ann,s6
"""
RESULTS = """search_id,document_id,position,clicked
1,A,1,true
1,P,2,false
2,P,1,true
3,N,1,true
4,A,1,true
5,A,1,true
6,P,1,false
7,A,1,true
7,G,2,true
"""
DOCUMENTS = """document_id,title,created_at,removed_at
A,apple,,
P,pear,,
N,new apple,2024-01-10 00:00:00,
G,gone apple,,2024-01-08 00:00:00
"""


def _log(folder: Path, searches: str = SEARCHES, results: str = RESULTS) -> Path:
    for name, text in (("searches", searches), ("results", results), ("documents", DOCUMENTS)):
        (folder / f"{name}.csv").write_text(text)
    paths = {name: str(folder / f"{name}.csv") for name in ("searches", "results", "documents")}
    logs = Tables(layout="tables", **paths)
    split = Split.model_validate({"validation_from": "2024-01-05", "test_from": "2024-01-08"})
    extract(logs, split, folder / "log")
    return folder / "log"


def _ids(log: Path, rows: list[int], table: str = "documents", key: str = "document") -> list[str]:
    names = pq.read_table(log / f"{table}.parquet").to_pylist()
    return sorted(row[f"{key}_id"] for row in names if row[f"{key}_row"] in rows)


def test_training_sees_nothing_from_after_the_cut_even_in_a_long_session(tmp_path: Path) -> None:
    """Session s1 began in the training window and continued after the test had begun: search 3 is left out."""
    log = _log(tmp_path)
    shown = extracted_log.read_shown(log)
    assert _ids(log, shown.search_rows.tolist(), "searches", "search") == ["1", "2"]
    assert _ids(log, shown.document_rows.tolist()) == ["A", "P"]
    clicks = extracted_log.read_clicks(log, 4)
    assert clicks.tolist() == [shown.document_rows[shown.clicked].tolist().count(row) for row in range(4)]
    trainable = extracted_log.row_numbers(extracted_log.read(log, "trainable"), "document_row")
    assert _ids(log, trainable.tolist()) == ["A", "G", "P"]  # N was created later
    texts = pq.read_table(log / "queries.parquet").take(
        extracted_log.row_numbers(extracted_log.read(log, "training_queries"), "query_row")
    )
    assert sorted(texts["query"].to_pylist()) == ["apple", "pear"]


def test_the_test_sample(tmp_path: Path) -> None:
    log, out = _log(tmp_path), tmp_path / "sample"
    out.mkdir()
    extracted_log.sample(log, "test", 100, 1, None, out)
    candidates = pq.read_table(out / "candidates.parquet")["document_row"].to_pylist()
    assert _ids(log, candidates) == [
        "A",
        "P",
    ]  # N was created after the last test search, G was removed before the first
    searches = {row["search_id"]: row for row in pq.read_table(out / "searches.parquet").to_pylist()}
    assert {name: (row["query_seen"], row["pair_seen"]) for name, row in searches.items()} == {
        "5": (True, True),  # ann typed apple before
        "6": (False, False),
        "7": (True, True),
    }
    targets = {}
    for row in pq.read_table(out / "targets.parquet").to_pylist():
        search = next(name for name, sampled in searches.items() if sampled["search_row"] == row["search_row"])
        targets.setdefault((row["targets"], search), []).extend(_ids(log, [row["document_row"]]))
    assert targets == {("clicked", "5"): ["A"], ("clicked", "7"): ["A"], ("recovered", "6"): ["A"]}
    counts = {row["targets"]: row for row in json.loads((out / "counts.json").read_text())}
    assert (counts["clicked"]["searches"], counts["clicked"]["with_target"]) == (3, 2)
    assert counts["clicked"]["targets_not_alive"] == 1  # G, clicked in search 7
    assert counts["clicked"]["targets_excluded"] == 0
    assert not (out / "excluded.parquet").exists()


def test_what_a_searcher_clicked_before_the_period_is_no_candidate_and_no_target(tmp_path: Path) -> None:
    log = _log(tmp_path)
    excluded, targets, counts = {}, {}, {}
    for split in ("validation", "test"):
        (out := tmp_path / split).mkdir()
        extracted_log.sample(log, split, 100, 1, None, out, exclude=True)
        pairs = pq.read_table(out / "excluded.parquet").to_pylist()
        searchers = {row["searcher_row"] for row in pairs}
        excluded[split] = (
            _ids(log, list(searchers), "searchers", "searcher"),
            _ids(log, [row["document_row"] for row in pairs]),
        )
        targets[split] = pq.read_table(out / "targets.parquet").num_rows
        counts[split] = {
            row["targets"]: row["targets_excluded"] for row in json.loads((out / "counts.json").read_text())
        }
    # A, clicked in search 1, and in the test also in search 4. N is clicked in search 3, after the test has begun.
    assert excluded == dict.fromkeys(("validation", "test"), (["ann"], ["A"]))
    assert targets == dict.fromkeys(("validation", "test"), 0)
    assert counts == {"validation": {"clicked": 1}, "test": {"clicked": 2, "recovered": 1}}


def test_without_searchers_nothing_can_be_excluded(tmp_path: Path) -> None:
    nobody = SEARCHES.replace("ann,", ",").replace("bob,", ",")
    log = _log(tmp_path, nobody)
    with pytest.raises(InputError, match=r"evaluation\.exclude: no search of these logs has a searcher_id"):
        extracted_log.sample(log, "test", 100, 1, None, tmp_path, exclude=True)


HALVED = """search_id,searched_at,query,searcher_id,session_id
1,2024-01-01 10:00:00,apple,ann,s1
2,2024-01-05 10:00:00,pear,bob,s2
3,2024-01-05 11:00:00,pear,ann,s3
4,2024-01-06 10:00:00,plum,bob,s4
5,2024-01-06 11:00:00,apple,ann,s3
6,2024-01-06 12:00:00,apple,bob,s4
7,2024-01-09 10:00:00,apple,ann,s5
8,2024-01-09 11:00:00,apple,bob,s4
"""
SHUFFLED = """search_id,document_id,position,clicked,randomised
1,A,1,true,true
1,P,2,false,true
2,P,1,true,
2,A,2,false,
3,P,1,true,true
3,A,2,true,true
4,P,1,true,true
4,A,2,false,false
5,A,1,true,true
6,A,1,true,false
7,A,1,true,true
8,A,1,true,true
"""


def _halved(folder: Path, searches: str = HALVED) -> Path:
    texts = {"searches": searches, "results": SHUFFLED, "documents": DOCUMENTS}
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    logs = Tables(layout="tables", max_dropped=0.9, **{name: str(folder / f"{name}.csv") for name in texts})
    extract(logs, Split.model_validate({"validation_from": "2024-01-05", "test_from": "2024-01-08"}), folder / "log")
    return folder / "log"


def test_rankers_get_the_later_half_of_the_validation_and_no_session_is_cut(tmp_path: Path) -> None:
    """Sessions s2 and s3 begin in the earlier half, s4 in the later. Searches of s3 after s4 began are left out, and
    searches of s4 after the test began."""
    log = _halved(tmp_path)
    parts = {"validation": ["2", "3"], "ranking": ["4", "6"], "test": ["7"], "train": ["1"]}
    for split, expected in parts.items():
        lists = extracted_log.read(log, "lists", {"split": split}, halved=True)
        assert _ids(log, extracted_log.row_numbers(lists, "search_row").tolist(), "searches", "search") == expected
        if split == "train":
            continue
        (tmp_path / split).mkdir()
        extracted_log.sample(log, split, 100, 1, None, tmp_path / split, halved=True)
        sampled = pq.read_table(tmp_path / split / "searches.parquet")["search_id"].to_pylist()
        assert sorted(sampled) == expected
    whole = extracted_log.read(log, "lists", {"split": "validation"})
    assert _ids(log, extracted_log.row_numbers(whole, "search_row").tolist(), "searches", "search") == [
        "2",
        "3",
        "4",
        "5",
        "6",
    ]


def test_shuffled_lists_are_whole_and_before_the_test(tmp_path: Path) -> None:
    """Search 4 is flagged in part, 7 is in the test, 8 comes after the test began."""
    counts = extracted_log.read_shuffled(_halved(tmp_path))
    assert [column.tolist() for column in counts] == [[1, 1, 2], [1, 2, 2], [1, 2, 2], [1, 2, 1]]


def test_a_validation_of_one_moment_has_no_halves(tmp_path: Path) -> None:
    lines = [line for line in HALVED.splitlines() if not line.startswith(("3,", "4,", "5,", "6,"))]
    log = _halved(tmp_path, "\n".join(lines) + "\n")
    with pytest.raises(InputError, match="a validation period of at least two moments"):
        extracted_log.read(log, "lists", {"split": "ranking"}, halved=True)


def test_the_sample_is_the_same_every_time_and_no_larger_than_its_limit(tmp_path: Path) -> None:
    log = _log(tmp_path)
    outputs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        extracted_log.sample(log, "test", 1, 1, None, tmp_path / name)
        outputs.append((tmp_path / name / "targets.parquet").read_bytes())
    assert outputs[0] == outputs[1]
    sets = pq.read_table(tmp_path / "one" / "targets.parquet").to_pylist()
    assert len({row["search_row"] for row in sets if row["targets"] == "clicked"}) == 1


def test_slices_on_a_log_that_a_reader_checks_by_eye(tmp_path: Path) -> None:
    """Test searches that each differ from the first in one respect."""
    (tmp_path / "log").mkdir()
    texts = {
        "searches": """search_id,searched_at,query,searcher_id,session_id,city,country
1,2024-01-01 10:00:00,john smith,ann,s1,Lyon,FR
2,2024-01-02 10:00:00,john smith,bob,s2,Nice,FR
3,2024-01-03 10:00:00,mary,bob,s3,Nice,FR
4,2024-01-06 10:00:00,mary,bob,s4,Nice,FR
5,2024-01-09 10:00:00,john smith,ann,s5,Lyon,FR
6,2024-01-09 11:00:00,jonh smith,ann,s6,Nice,FR
7,2024-01-09 12:00:00,blackbird,bob,s7,Rome,IT
8,2024-01-09 12:05:00,mary,bob,s7,Rome,IT
""",
        "results": """search_id,document_id,position,clicked
1,J,1,true
2,J,1,true
2,M,2,false
3,M,1,true
4,M,1,true
5,J,3,true
6,J,2,true
7,J,1,false
8,N,1,true
""",
        "documents": """document_id,title,kind,city,country,created_at
J,John Smith,person,Lyon,FR,2020-01-01
K,"Smith, JOHN",person,Nice,FR,2020-01-01
M,Mary,person,Nice,FR,2020-01-01
N,Mary's bakery,page,Rome,IT,2024-01-08
""",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    logs = Tables(layout="tables", **{name: str(tmp_path / f"{name}.csv") for name in texts})
    extract(logs, Split.model_validate({"validation_from": "2024-01-05", "test_from": "2024-01-08"}), tmp_path / "log")
    extracted_log.sample(tmp_path / "log", "test", 100, 1, None, tmp_path)
    searches = {row["search_row"]: row for row in pq.read_table(tmp_path / "searches.parquet").to_pylist()}
    assert {row["search_id"]: row["misspelt"] for row in searches.values()} == {
        "5": False,
        "6": True,  # jonh is unknown, john is known
        "7": False,  # unknown, but near to nothing
        "8": False,
    }
    slices = {}
    for row in pq.read_table(tmp_path / "slices.parquet").to_pylist():
        search = searches[row.pop("search_row")]["search_id"]
        row["document_row"] = _ids(tmp_path / "log", [row["document_row"]])[0]
        slices[row["targets"], search] = tuple(value for key, value in row.items() if key != "targets")
    assert slices == {
        # document, kind, popularity, new, no word shared, title shared, place, position, outcome
        ("clicked", "5"): ("J", "person", "head", False, False, True, "same city", 3, "clicked"),
        ("clicked", "6"): ("J", "person", "head", False, False, True, "same country", 2, "clicked"),
        ("clicked", "8"): ("N", "page", "tail", True, False, False, "same city", 1, "clicked"),
        ("recovered", "7"): ("N", "page", "tail", True, True, False, "same city", None, "recovered"),
    }
    candidates = pq.read_table(tmp_path / "candidates.parquet").to_pylist()
    assert {_ids(tmp_path / "log", [row["document_row"]])[0]: row["clicks"] for row in candidates} == {
        "J": 2,
        "K": 0,
        "M": 1,
        "N": 0,
    }


def test_leaks_are_found_if_training_sees_rows_that_it_must_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queries that training uses are replaced by careless ones: every check has to notice."""
    log = _log(tmp_path)
    (tmp_path / "sample").mkdir()
    extracted_log.sample(log, "test", 100, 1, None, tmp_path / "sample")
    targets = pq.read_table(tmp_path / "sample" / "targets.parquet")
    repeats = extracted_log.count_repeats(log, targets)
    assert {rule["what"]: rule["broken"] for rule in extracted_log.find_leaks(log)} == dict.fromkeys(
        ("documents", "labels", "queries", "sessions"), 0
    )
    assert repeats["searches"] == 2  # 5 and 7, whose clicked documents are alive
    assert (repeats["same_query"], repeats["near_query"]) == (2, 0)
    assert (repeats["same_answer"], repeats["same_searcher_and_answer"]) == (2, 2)
    careless = {
        "shown": "SELECT search_row, document_row FROM results",
        "trainable": "SELECT document_row FROM documents",
        "training_queries": "SELECT query_row FROM queries",
        "usable_searches": "CREATE OR REPLACE VIEW searches AS SELECT * FROM every_search",
    }
    read = extracted_log._sql
    monkeypatch.setattr(extracted_log, "_sql", lambda query: careless.get(query) or read(query))
    broken = {rule["what"]: rule["broken"] for rule in extracted_log.find_leaks(log)}
    assert broken["labels"] == 5  # searches 3 to 7; 3 lies in a training session, but after the cut
    assert broken["documents"] == 1  # N
    assert broken["queries"] == 3  # plum, aple, and late apple, searched in a training session but after the cut


def test_queries_that_the_engine_did_not_answer_the_most_frequent_first(tmp_path: Path) -> None:
    more = """8,2024-01-09 11:00:00,half,bob,s8
9,2024-01-09 12:00:00,half,bob,s9
10,2024-01-09 13:00:00,nothing,bob,s10
11,2024-01-09 14:00:00,nothing,ann,s11
12,2024-01-06 14:00:00,nothing in the validation,ann,s12
"""
    log = _log(tmp_path, SEARCHES + more, RESULTS + "9,A,1,true\n")
    unanswered = extracted_log.read(log, "unanswered", {"split": "test", "most": 20}).to_pylist()
    assert [tuple(query.values()) for query in unanswered] == [
        ("nothing returned", "nothing", 2, 2),
        ("nothing returned", "half", 1, 2),  # of two searches one got nothing
        ("never clicked", "aple", 1, 1),
    ]
    most = extracted_log.read(log, "unanswered", {"split": "test", "most": 1})
    assert most["query"].to_pylist() == ["nothing", "aple"]
    (tmp_path / "clicks").mkdir()
    clicks = "".join(line for line in RESULTS.splitlines(keepends=True) if "false" not in line)
    log_of_clicks = _log(tmp_path / "clicks", SEARCHES + more, clicks)
    assert extracted_log.read(log_of_clicks, "unanswered", {"split": "test", "most": 20}).num_rows == 0


def test_a_refit_sees_the_validation_and_nothing_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, joined = _log(tmp_path), tmp_path / "joined"
    joined.mkdir()
    for table in set(extracted_log.TABLES) - {"searches"}:
        (joined / f"{table}.parquet").symlink_to(log / f"{table}.parquet")
    extracted_log.join_validation(log, joined)
    first, second = (pq.read_table(folder / "searches.parquet") for folder in (log, joined))
    assert first.schema == second.schema
    assert first.drop_columns(["split"]) == second.drop_columns(["split"])
    assert [(row["search_id"], row["split"]) for row in second.to_pylist() if row["split"] == "train"] == [
        ("1", "train"),
        ("2", "train"),
        ("4", "train"),
        ("3", "train"),
    ]
    shown = {row["search_row"] for row in extracted_log.read(joined, "shown").to_pylist()}
    names = {row["search_row"]: row["search_id"] for row in second.to_pylist()}
    assert {names[row] for row in shown} == {"1", "2", "4"}  # 3 lies in a training session, but after the test's start
    rules = {rule["what"]: rule["broken"] for rule in extracted_log.find_leaks(log, joined)}
    assert rules == dict.fromkeys(("documents", "labels", "queries", "sessions"), 0)
    everything = pq.read_table(log / "searches.parquet")
    at = everything.schema.get_field_index("split")
    all_train = everything.set_column(at, everything.schema.field(at), [["train"] * len(everything)])
    pq.write_table(all_train, joined / "searches.parquet")  # a careless join, of the test, too
    rules = {rule["what"]: rule["broken"] for rule in extracted_log.find_leaks(log, joined)}
    assert (rules["labels"], rules["documents"], rules["queries"]) == (4, 1, 2)  # 3, 5, 6, 7; N; aple and late apple
