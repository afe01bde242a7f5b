"""The section on ensembles in the report: gains, costs, and ranges of weights."""

from __future__ import annotations

from typing import Any

from tasks.report.ensemble_section import ensemble_blocks
from tasks.report.page import Grid, Picture, as_markdown
from tasks.report.result import CostRow, ResultRow

SPEC: dict[str, Any] = {
    "seeds": [0],
    "arms": {name: {"towers": {"dimensions": d}} for name, d in (("a", 32), ("b", 32), ("big", 64), ("apart", 8))},
    "ensembles": {"both": {"parts": ["a", "b"], "weights": None}},
    "indexes": {"tuned": {}},
    "questions": {"P21": {"baseline": "both", "arms": ["big@tuned"]}, "P02": {"baseline": "a", "arms": ["apart"]}},
}
ENSEMBLES = [
    {
        "arm": "both",
        "seed": 0,
        "chosen": True,
        "k": 10,
        "weights": [1.0, 0.5],
        "recall": 0.5,
        "equal": 0.49,
        "alone": [0.4, 0.3],
        "lines": [[[0.0, 0.4], [0.35, 0.496], [0.5, 0.5], [1.0, 0.49], [10.0, 0.31]]],
    }
]
RECALLS = {"a": 0.4, "b": 0.3, "both": 0.45, "big": 0.42, "apart": 0.1}
SIZES = {"a": 1e6, "b": 1e6, "both": 2e6, "big": 2e6}


def _rows() -> list[ResultRow]:
    shared = {"seed": 0, "metric": "recall", "k": 10, "low": 0.1, "high": 0.9}
    return [ResultRow(**shared | {"arm": arm, "value": value}) for arm, value in RECALLS.items()]


def _costs() -> list[CostRow]:
    sizes = [
        CostRow(arm, 0, index, "build_index", "index_bytes", size / (1 if index == "exact" else 4))
        for arm, size in SIZES.items()
        for index in ("exact", "tuned")
    ]
    return [*sizes, CostRow("both", 0, None, "weigh", "train_s", 30.0)]


def test_an_ensemble_is_listed_with_its_parts_and_controls() -> None:
    page = ensemble_blocks(ENSEMBLES, SPEC, _rows(), _costs(), 10)
    gains, weights = (block for block in page if isinstance(block, Grid))
    lines = {row[0]: row for row in gains.rows}
    assert list(lines) == ["both", "a", "b", "big"]  # apart is compared with no ensemble
    assert lines["both"] == [
        *("both", "a, b", ".450 [.100, .900]", "+.050 (a)", "64", "2.00 MB", "0.50 MB", "30.0 s", "–")
    ]
    assert lines["big"][1:5] == ["one model", ".420 [.100, .900]", "–", "64"]
    assert weights.rows == [["both", "a 1, b 0.5", "validation", ".500", ".490", ".400, .300", "b 0.35 to 0.5"]]
    assert [block.name for block in page if isinstance(block, Picture)] == ["weights"]
    assert "## Ensembles" in as_markdown("a run", page)


def test_without_ensembles_there_is_no_section() -> None:
    assert ensemble_blocks([], SPEC, _rows(), _costs(), 10) == []
