"""Sessions and the global cuts in time: a session lies in one part as a whole."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_logs import extract_rows, small_log

from data.experiment.log_config import Split

START = datetime(2020, 1, 1)


def log(folder: Path, rows: list[tuple[int, str, str]]) -> dict[str, object]:
    """Tables of a log whose searches are (minute, searcher, session), each with one click."""
    searches = "search_id,searched_at,query,searcher_id,session_id\n" + "".join(
        f"{i},{START + timedelta(minutes=minute)},q,{searcher},{session}\n"
        for i, (minute, searcher, session) in enumerate(rows)
    )
    results = "search_id,document_id,clicked\n" + "".join(f"{i},hat,1\n" for i in range(len(rows)))
    return {"searches": searches, "results": results, "documents": "document_id,title\nhat,Hat\n"}


def sessions_of(tmp_path: Path, rows: list[tuple[int, str, str]]) -> list[set[str]]:
    far = [(10**6, "far", ""), (2 * 10**6, "far", ""), (3 * 10**6, "far", "")]
    tables = extract_rows(small_log(tmp_path / "in", **log(tmp_path, rows + far)), tmp_path / "out", Split())
    sessions = defaultdict(set)
    for search in tables["searches"]:
        if int(search["search_id"]) < len(rows):
            sessions[search["session_row"]].add(search["search_id"])
    return [sessions[row] for row in sorted(sessions)]


def test_a_pause_of_more_than_half_an_hour_ends_a_session(tmp_path: Path) -> None:
    assert sessions_of(tmp_path, [(0, "ann", ""), (30, "ann", ""), (61, "ann", "")]) == [{"0", "1"}, {"2"}]


def test_searchers_do_not_share_a_session(tmp_path: Path) -> None:
    assert sessions_of(tmp_path, [(0, "ann", ""), (1, "bob", ""), (2, "ann", "")]) == [{"0", "2"}, {"1"}]


def test_each_search_without_a_searcher_is_a_session(tmp_path: Path) -> None:
    assert sessions_of(tmp_path, [(0, "", ""), (0, "", "")]) == [{"0"}, {"1"}]


def test_a_session_id_holds_whatever_the_pause(tmp_path: Path) -> None:
    rows = [(0, "ann", "s"), (1, "ann", ""), (500, "ann", "s"), (501, "", "s"), (20, "ann", "")]
    assert sessions_of(tmp_path, rows) == [{"0", "2", "3"}, {"1", "4"}]


searches = st.tuples(
    st.integers(0, 400), st.sampled_from(["", "ann", "bob", "eve"]), st.sampled_from(["", "", "s", "t"])
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(searches, min_size=4, max_size=30), share=st.floats(0.05, 0.4))
def test_no_session_and_no_instant_straddles_a_cut(
    tmp_path_factory: object, rows: list[tuple[int, str, str]], share: float
) -> None:
    folder = tmp_path_factory.mktemp("split")  # type: ignore[attr-defined]
    rows = [*rows, (-1000, "", ""), (-2000, "", ""), (-3000, "", "")]
    tables = extract_rows(
        small_log(folder / "in", **log(folder, rows)), folder / "out", Split(validation=share, test=share)
    )
    sessions = defaultdict(list)
    for search in tables["searches"]:
        sessions[search["session_row"]].append(search)
    starts = defaultdict(set)
    for session in sessions.values():
        assert len({search["split"] for search in session}) == 1
        starts[session[0]["split"]].add(min(search["searched_at"] for search in session))
    assert max(starts["train"]) < min(starts["validation"]) <= max(starts["validation"]) < min(starts["test"])
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["cuts"]["test_from"] == min(starts["test"]).isoformat() + "Z"


def test_shares_are_met_without_ties(tmp_path: Path) -> None:
    rows = [(60 * hour, "", "") for hour in range(100)]
    tables = extract_rows(
        small_log(tmp_path / "in", **log(tmp_path, rows)), tmp_path / "out", Split(validation=0.1, test=0.2)
    )
    splits = [search["split"] for search in tables["searches"]]
    assert splits == ["train"] * 70 + ["validation"] * 10 + ["test"] * 20


def test_searches_of_one_instant_stay_together(tmp_path: Path) -> None:
    rows = [(60 * (i // 10), "", "") for i in range(100)]
    tables = extract_rows(
        small_log(tmp_path / "in", **log(tmp_path, rows)), tmp_path / "out", Split(validation=0.14, test=0.14)
    )
    splits = [search["split"] for search in tables["searches"]]
    assert splits == ["train"] * 80 + ["validation"] * 10 + ["test"] * 10


def test_dates_with_a_zone_are_utc(tmp_path: Path) -> None:
    split = Split(validation_from="2020-01-04T12:00:00+02:00", test_from="2020-01-05T12:00:00+02:00")
    tables = extract_rows(small_log(tmp_path / "in"), tmp_path / "out", split)
    assert [s["split"] for s in tables["searches"]][-2:] == ["validation", "test"]


def test_a_session_that_outlasts_a_cut_is_reported(tmp_path: Path) -> None:
    rows = [(0, "", ""), (10, "", "s"), (100, "", "v"), (200, "", ""), (201, "", "s")]
    split = Split(validation_from=START + timedelta(minutes=50), test_from=START + timedelta(minutes=150))
    extract_rows(small_log(tmp_path / "in", **log(tmp_path, rows)), tmp_path / "out", split)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {name: part["after_cut"] for name, part in report["splits"].items()} == {
        "train": 1,
        "validation": 0,
        "test": 0,
    }
