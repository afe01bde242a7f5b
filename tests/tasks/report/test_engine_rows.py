"""What was measured of engines stands below the run's own indexes, in the report that is written after an export."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ebr_core.errors import InputError
from tasks.engines.engine_recalls import EngineRecall, read_recalls, save_recall
from tasks.report.level_sections import index_blocks
from tasks.report.page import Grid
from tests.tasks.report.small_results import a_level, a_result

MEASURED = EngineRecall(
    engine="pgvector",
    address="host:5432/db",
    alias="shop",
    version="shop_0123",
    model="abc",
    arm="new",
    mode="hybrid",
    at=datetime(2026, 12, 1, tzinfo=UTC),
    index="hnsw; SET hnsw.ef_search = 40",
    uses_index=True,
    k=10,
    target=0.95,
    canaries=20,
    searches=300,
    recall=0.981,
    canary_recall=1.0,
    median_ms=1.234,
    p99_ms=5.678,
    documents=500,
    written=500,
    rows_per_s=1000.0,
)


def grid_of(engines: list[EngineRecall], with_index: bool = True) -> Grid | None:
    rows = [a_level("new", 0.5)] + ([a_level("new", 0.48, index="tuned")] if with_index else [])
    if with_index:
        rows.append(a_level("new", 0.96, index="tuned", metric="index_recall"))
    found = [block for block in index_blocks(a_result(rows, engines=engines)) if isinstance(block, Grid)]
    return found[0] if found else None


def test_an_engine_has_a_row_below_the_indexes() -> None:
    grid = grid_of([MEASURED])
    assert grid
    assert [row[:2] for row in grid.rows] == [["new", "tuned"], ["new", "pgvector: shop"]]
    assert (grid.rows[0][3], grid.rows[0][-1]) == (".960", "–")
    assert (grid.rows[1][2], grid.rows[1][3], grid.rows[1][-1]) == ("–", ".981", "1.2 ms, 5.7 ms")
    assert grid.headers[-1] == "latency, median and p99"
    assert "pgvector (shop): hnsw; SET hnsw.ef_search = 40" in grid.caption


def test_an_engine_below_its_target_says_so_and_another_k_is_named() -> None:
    grid = grid_of([MEASURED.model_copy(update={"recall": 0.9, "k": 5})])
    assert grid
    assert grid.rows[1][1] == "pgvector: shop, below its target .950"
    assert grid.rows[1][3] == ".900 @5"


def test_without_engines_the_table_is_as_it_was() -> None:
    grid = grid_of([])
    assert grid
    assert "latency" not in " ".join(grid.headers)
    assert grid_of([], with_index=False) is None
    alone = grid_of([MEASURED], with_index=False)
    assert alone
    assert len(alone.rows) == 1


def test_a_measurement_is_kept_by_model_engine_and_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    save_recall(MEASURED)
    later = MEASURED.model_copy(update={"recall": 0.97})
    save_recall(later)
    other = MEASURED.model_copy(update={"alias": "shop2"})
    path = save_recall(other)
    assert read_recalls("abc") == [later, other]
    assert read_recalls("none") == []
    path.write_text("{}")
    with pytest.raises(InputError, match=r"shop2\.json: not a measurement as `ebr export` writes it.*export the model"):
        read_recalls("abc")
