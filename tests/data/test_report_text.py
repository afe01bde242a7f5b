"""The data report as text."""

from __future__ import annotations

import json
from pathlib import Path

from small_logs import SPLIT, extract_rows, small_log

from data.report_text import describe


def test_describe(tmp_path: Path) -> None:
    edges = "source_id,target_id\nann,bob\nann,nobody\n"
    extract_rows(small_log(tmp_path / "in", edges=edges), tmp_path / "out", SPLIT)
    text = describe(json.loads((tmp_path / "out" / "report.json").read_text()))
    lines = text.splitlines()
    assert lines[:5] == [
        "table      read  kept  dropped",
        "searches      6     6        –",
        "results       9     9        –",
        "documents     3     3        –",
        "edges         2     1        1",
    ]
    assert "  edges: 1 × unknown target_id, e.g. ann → nobody" in lines
    assert "83.3% of the searches are signed in; 0.0% of the clicked ones have several clicks." in lines
    assert "1             6       5       83.3%" in lines
    assert "  searches: searcher_id (83.3%); without session_id, topic, city, region, country, language" in lines
    assert any(line.startswith("  judgements") and "human ratings" in line for line in lines)
    assert all(line == line.rstrip() for line in lines)
