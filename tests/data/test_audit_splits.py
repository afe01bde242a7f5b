"""The splits of an audit: sessions at random, each searcher's last clicked session, a part of the training sessions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_logs import extract_rows, write_text

from data import extracted_log
from data.experiment.log_config import Split, Tables
from ebr_core.errors import InputError


def _logs(folder: Path, searchers: int = 12, days: int = 5) -> Tables:
    """Each searcher has a session a day, of two searches; the first of them has a click, but not on the last day."""
    searches, results = ["search_id,searched_at,query,searcher_id"], ["search_id,document_id,position,clicked"]
    for day in range(1, days + 1):
        for searcher in range(searchers):
            for minute in (0, 5):
                name = f"{day}-{searcher}-{minute}"
                searches.append(f"{name},2024-01-{day:02} {searcher:02}:{minute:02}:00,q{searcher},p{searcher}")
                results.append(f"{name},d{searcher % 3},1,{'true' if minute == 0 and day < days else 'false'}")
    documents = ["document_id,title", *(f"d{number},title {number}" for number in range(3))]
    texts = {"searches": searches, "results": results, "documents": documents}
    paths = {name: write_text(folder, f"{name}.csv", "\n".join(lines) + "\n") for name, lines in texts.items()}
    return Tables(layout="tables", **paths)


def _sessions(tables: dict[str, list[dict[str, Any]]]) -> dict[int, set[str]]:
    parts: dict[int, set[str]] = {}
    for row in tables["searches"]:
        parts.setdefault(row["session_row"], set()).add(row["split"])
    return parts


def test_random_sessions_stay_whole_and_meet_their_shares(tmp_path: Path) -> None:
    split = Split(kind="random", validation=0.2, test=0.3)
    tables = extract_rows(_logs(tmp_path), tmp_path / "log", split)
    parts = _sessions(tables)
    assert all(len(splits) == 1 for splits in parts.values())
    counts = Counter(next(iter(splits)) for splits in parts.values())
    assert counts == {"test": 18, "validation": 12, "train": 30}  # of 60 sessions
    days = {row["searched_at"].day for row in tables["searches"] if row["split"] == "test"}
    assert len(days) > 2
    assert extract_rows(_logs(tmp_path / "again"), tmp_path / "log2", split)["searches"] == tables["searches"]


def test_a_split_that_is_not_by_time_keeps_all_training_searches(tmp_path: Path) -> None:
    tables = extract_rows(_logs(tmp_path), tmp_path / "log", Split(kind="random", validation=0.2, test=0.3))
    used = extracted_log.read(tmp_path / "log", "shown")["search_row"].to_pylist()
    assert set(used) == {row["search_row"] for row in tables["searches"] if row["split"] == "train"}


def test_the_last_clicked_session_of_each_searcher_is_the_test(tmp_path: Path) -> None:
    tables = extract_rows(_logs(tmp_path), tmp_path / "log", Split(kind="last_click"))
    by_day = Counter((row["searched_at"].day, row["split"]) for row in tables["searches"])
    # Days 1 to 4 have clicks: 4 is the last, 3 the one before; the searches of day 5, without a click, are train.
    assert by_day == {(1, "train"): 24, (2, "train"): 24, (3, "validation"): 24, (4, "test"): 24, (5, "train"): 24}


def test_a_smaller_share_of_the_training_sessions_is_a_subset_of_a_larger_one(tmp_path: Path) -> None:
    logs, training = _logs(tmp_path), {}
    for share in (1, 0.5, 0.25):
        tables = extract_rows(logs, tmp_path / f"log{share}", Split(validation=0.2, test=0.4, train_share=share))
        training[share] = {row["search_id"] for row in tables["searches"] if row["split"] == "train"}
        others = {row["search_id"] for row in tables["searches"] if row["split"] in ("validation", "test")}
        assert len(others) == 72
        assert pq.read_table(tmp_path / f"log{share}" / "searches.parquet").num_rows == 120
    assert training[0.25] < training[0.5] < training[1]
    assert [len(searches) for searches in training.values()] == [48, 24, 12]
    for folder in ("log0.5", "log0.25"):
        assert not any(rule["broken"] for rule in extracted_log.find_leaks(tmp_path / folder))


def test_a_random_split_is_found_to_leak(tmp_path: Path) -> None:
    extract_rows(_logs(tmp_path), tmp_path / "log", Split(kind="random", validation=0.2, test=0.3))
    broken = {rule["what"]: rule["broken"] for rule in extracted_log.find_leaks(tmp_path / "log")}
    assert broken["labels"] > 0


def test_a_split_that_is_not_by_time_takes_no_dates() -> None:
    with pytest.raises(ValueError, match="takes no dates"):
        Split.model_validate({"kind": "random", "validation_from": "2024-01-02", "test_from": "2024-01-03"})


def test_logs_without_searchers_have_no_last_click(tmp_path: Path) -> None:
    logs = _logs(tmp_path)
    text = Path(logs.searches).read_text().replace("searcher_id", "nobody")
    Path(logs.searches).write_text(text)
    with pytest.raises(InputError, match="last_click leaves no clicked search"):
        extract_rows(logs, tmp_path / "log", Split(kind="last_click"))
