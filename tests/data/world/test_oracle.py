"""The oracle against plain enumeration of every searcher, document, form and edit of a small world."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.world.oracle import oracle
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.errors import InputError
from tests.data.world.enumeration import Enumeration

SMALL = World(documents=200, searches=400, days=4, seed=5, cities=16, friends_median=6, born=0.3, gone=0.2)


pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "log"
    assert list(simulate(SMALL, folder)) == [1, 2, 3, 4]
    return folder


def some_searches(folder: Path, n: int) -> list[dict[str, Any]]:
    """n searches: misspelt ones, topics, reformulations and plain ones in turn."""
    truth = {r["search_id"]: r for r in pq.read_table(folder / "truth" / "intents").to_pylist()}
    searches = pq.read_table(folder / "searches").to_pylist()
    kinds: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in searches:
        t = truth[row["search_id"]]
        kinds[t["edits"], t["intent"], t["attempt"] > 1, t["form"] == "translated"].append({**row, **t})
    rows = [row for i in range(n) for group in kinds.values() for row in group[i : i + 1]]
    return rows[:n]


def test_oracle_equals_enumeration(small: Path) -> None:
    rows = some_searches(small, 10)
    views = ("text", "place", "everything")
    answers = {sees: oracle(SMALL, small, [r["search_id"] for r in rows], 200, sees).to_pylist() for sees in views}
    enumeration = Enumeration(SMALL)
    for row in rows:
        day = (row["searched_at"].date() - SMALL.start).days
        rate = SMALL.misspelling.rate if row["attempt"] == 1 else SMALL.misspelling.retyped
        table = enumeration.titles(row["query"], rate)
        for sees in views:
            expected = enumeration.expected(row["query"], table, int(row["searcher_id"][1:]), day, rate, sees)
            answer = np.zeros(len(expected))
            for r in answers[sees]:
                if r["search_id"] == row["search_id"]:
                    answer[int(r["document_id"][1:])] = r["expected"]
            np.testing.assert_allclose(answer, expected, atol=1e-9, err_msg=f"{row['query']!r} {sees}")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    world = World(documents=4000, searches=20_000, days=8, seed=2)
    folder = tmp_path_factory.mktemp("town") / "log"
    for _ in simulate(world, folder):
        pass
    return world, folder


def recalls(world: World, folder: Path, sees: Any, k: int = 10, days_old: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Recall and expected recall of the oracle on the first searches of the last day's sessions."""
    day = max((folder / "truth" / "intents").iterdir())
    truth = pq.read_table(day / "part.parquet").to_pylist()
    targets: dict[int, set[str]] = defaultdict(set)
    for row in truth:
        if row["attempt"] == 1:
            targets[row["search_id"]].add(row["document_id"])
    ids = sorted(targets)
    retrieved: dict[int, dict[str, float]] = defaultdict(dict)
    for row in oracle(world, folder, ids, k, sees, days_old).to_pylist():
        retrieved[row["search_id"]][row["document_id"]] = row["expected"]
    recall = np.array([len(targets[i] & set(retrieved[i])) / len(targets[i]) for i in ids])
    return recall, np.array([sum(retrieved[i].values()) for i in ids])


def test_expected_recall_is_calibrated(town: tuple[World, Path]) -> None:
    """A correct posterior is calibrated: the recall equals the expected recall within four standard errors."""
    for sees in ("text", "place", "everything"):
        recall, expected = recalls(*town, sees)
        difference = recall - expected
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(recall)), sees


def test_place_and_friends_carry_information(town: tuple[World, Path]) -> None:
    text, place, everything = (recalls(*town, sees)[0] for sees in ("text", "place", "everything"))
    for less, more in ((text, place), (place, everything)):
        gain = more - less
        assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))


def test_knowledge_of_a_week_ago_gives_less_recall(town: tuple[World, Path]) -> None:
    today, week_ago = (recalls(*town, "everything", days_old=d)[0] for d in (0, 7))
    loss = today - week_ago
    assert loss.mean() > 2 * loss.std() / np.sqrt(len(loss))


def test_oracle_refuses_other_folders_and_bad_arguments(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another world"):
        oracle(SMALL.model_copy(update={"seed": 6}), small, [0], 10, "text")
    with pytest.raises(InputError, match="no search"):
        oracle(SMALL, small, [10**6], 10, "text")
    with pytest.raises(InputError, match="does not exist"):
        oracle(SMALL, tmp_path, [0], 10, "text")
    with pytest.raises(InputError, match="text, place, everything"):
        oracle(SMALL, small, [0], 10, "nothing")  # type: ignore[arg-type]


def test_oracle_returns_a_table_of_four_columns(small: Path) -> None:
    assert isinstance(table := oracle(SMALL, small, [0], 1, "text"), pa.Table)
    assert table.column_names == ["search_id", "position", "document_id", "expected"]
