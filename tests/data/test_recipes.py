"""The statements of docs/recipes.md, each on a small file of that kind that a reader checks by eye."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from small_logs import extract_rows, write_text

from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Simulated, Split

PAGE = Path(__file__).parent.parent.parent / "docs" / "recipes.md"
BY_DAY = Split(validation_from="2020-01-02", test_from="2020-01-03")
Shown = list[tuple[Any, ...]]


def recipes() -> dict[str, str]:
    """Name → the YAML of each recipe of the page."""
    return dict(re.findall(r"```yaml recipe=(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


def extracted(folder: Path, name: str) -> tuple[Shown, dict[str, str]]:
    """((searcher, query, time, document, position, clicked) of each result, document → title) of a recipe's logs."""
    path = Path(write_text(folder, "mine.yaml", recipes()[name]))
    logs = load_experiment(path).logs
    assert not isinstance(logs, Simulated)
    tables = extract_rows(logs.model_copy(update={"max_dropped": 0.5}), folder / "out", BY_DAY)
    searches = {row["search_id"]: row for row in tables["searches"]}
    results = [
        (found["searcher"], found["query"], str(found["searched_at"]), row["document"], row["position"], row["clicked"])
        for row in tables["results"]
        if (found := searches[row["search"]])
    ]
    return sorted(results, key=str), {row["document_id"]: row["title"] for row in tables["documents"]}


def ndjson(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    write_text(folder, name, "".join(json.dumps(row) + "\n" for row in rows))


def ga4_event(
    name: str, day: int, second: int, visitor: str, term: str | None, items: list[tuple[str, int]]
) -> dict[str, Any]:
    at = 1_577_836_800 + (day - 1) * 86_400 + second  # 2020-01-01
    parameters = [{"key": "ga_session_id", "value": {"string_value": None, "int_value": str(1_577_836_800 + day)}}]
    if term is not None:
        parameters.append({"key": "search_term", "value": {"string_value": term, "int_value": None}})
    shown = [{"item_id": item, "item_name": f"The {item}", "index": place} for item, place in items]
    return {"event_name": name, "event_timestamp": str(at * 1_000_000), "user_pseudo_id": visitor,
            "event_params": parameters, "items": shown}  # fmt: skip


def test_ga4(tmp_path: Path) -> None:
    """Two visitors with the same ga_session_id; a list outside a search; a click is another event than the list."""
    ndjson(
        tmp_path / "ga4",
        "events_1.ndjson",
        [
            ga4_event("view_item_list", 1, 0, "ann", "shoe", [("boot", 1), ("shoe", 2)]),
            ga4_event("select_item", 1, 40, "ann", "shoe", [("shoe", 2)]),
            ga4_event("view_item_list", 1, 50, "ann", None, [("hat", 1)]),
            ga4_event("page_view", 1, 60, "ann", "shoe", []),
            ga4_event("view_item_list", 2, 0, "bob", "hat", [("hat", 1)]),
            ga4_event("select_item", 2, 1, "bob", "hat", [("hat", 1)]),
            ga4_event("select_item", 3, 0, "bob", "boot", [("boot", 1)]),
        ],
    )
    assert extracted(tmp_path, "ga4") == (
        [
            ("ann", "shoe", "2020-01-01 00:00:00", "boot", 1, False),
            ("ann", "shoe", "2020-01-01 00:00:00", "shoe", 2, True),
            ("bob", "boot", "2020-01-03 00:00:00", "boot", 1, True),
            ("bob", "hat", "2020-01-02 00:00:00", "hat", 1, True),
        ],
        {"boot": "The boot", "shoe": "The shoe", "hat": "The hat"},
    )


def test_click_events_with_a_query_id(tmp_path: Path) -> None:
    queries = [
        {"query_id": f"q{day}", "time": f"2020-01-0{day}T10:00:00Z", "q": query, "visitor": "ann", "hits": hits}
        for day, query, hits in ((1, "shoes", ["shoe", "boot"]), (2, "hats", ["hat"]), (3, "boots", ["shoe"]))
    ]
    ndjson(tmp_path, "queries.ndjson", queries)
    clicks = [("q1", "boot", 2), ("q1", "boot", 1), ("q2", "hat", 2), ("q3", "boot", 3)]
    rows = [{"query_id": q, "product": product, "time": f"2020-01-0{day} 11:00:00"} for q, product, day in clicks]
    ndjson(tmp_path, "clicks.ndjson", rows)
    write_text(tmp_path, "products.csv", "id,name\nshoe,Red shoe\nboot,Boot\nhat,Hat\n")
    assert extracted(tmp_path, "clicks") == (
        [
            ("ann", "boots", "2020-01-03 10:00:00", "boot", None, True),
            ("ann", "boots", "2020-01-03 10:00:00", "shoe", 1, False),
            ("ann", "hats", "2020-01-02 10:00:00", "hat", 1, True),
            ("ann", "shoes", "2020-01-01 10:00:00", "boot", 2, True),
            ("ann", "shoes", "2020-01-01 10:00:00", "shoe", 1, False),
        ],
        {"shoe": "Red shoe", "boot": "Boot", "hat": "Hat"},
    )
    times = pq.read_table(tmp_path / "out/action_times.parquet")["acted_at"].to_pylist()
    assert sorted(map(str, times)) == ["2020-01-01 11:00:00", "2020-01-02 11:00:00", "2020-01-03 11:00:00"]


def test_a_text_log(tmp_path: Path) -> None:
    """A search without a click has neither rank nor address; a quote is a part of the query; 007 stays 007."""
    lines = [
        ("AnonID", "Query", "QueryTime", "ItemRank", "ClickURL"),
        ("007", 'red "shoe', "2020-01-01 10:00:00", "1", "http://www.shoes.com"),
        ("007", 'red "shoe', "2020-01-01 10:05:00", "4", "http://boots.com"),
        ("007", "-", "2020-01-01 10:06:00", "", ""),
        ("8", "hat", "2020-01-02 10:00:00", "", ""),
        ("8", "hat", "2020-01-02 10:01:00", "2", "https://hats.com"),
        ("8", "boots", "2020-01-03 10:00:00", "1", "http://boots.com"),
    ]
    write_text(tmp_path, "log-01.txt", "".join("\t".join(line) + "\n" for line in lines))
    assert extracted(tmp_path, "aol") == (
        [
            ("007", 'red "shoe', "2020-01-01 10:00:00", "http://boots.com", 4, True),
            ("007", 'red "shoe', "2020-01-01 10:00:00", "http://www.shoes.com", 1, True),
            ("8", "boots", "2020-01-03 10:00:00", "http://boots.com", 1, True),
            ("8", "hat", "2020-01-02 10:00:00", "https://hats.com", 2, True),
        ],
        {"http://www.shoes.com": "shoes.com", "http://boots.com": "boots.com", "https://hats.com": "hats.com"},
    )


def test_elasticsearch(tmp_path: Path) -> None:
    sources = [
        {"@timestamp": f"2020-01-0{day}T10:00:00+01:00", "query": query, "user": {"id": 7},
         "hits": [{"id": hit, "rank": i + 1, "clicked": i == 0} for i, hit in enumerate(hits)]}
        for day, query, hits in ((1, "shoes", ["shoe", "boot"]), (2, "hats", ["hat"]), (3, "boots", ["boot"]))
    ]  # fmt: skip
    ndjson(tmp_path, "events.ndjson", [{"_index": "e", "_id": f"x{i}", "_source": s} for i, s in enumerate(sources)])
    products = [{"_index": "p", "_id": i, "_source": {"title": f"The {i}", "description": "good", "brand": "Acme"}}
                for i in ("shoe", "boot", "hat")]  # fmt: skip
    ndjson(tmp_path, "products.ndjson", products)
    assert extracted(tmp_path, "elasticsearch") == (
        [
            ("7", "boots", "2020-01-03 09:00:00", "boot", 1, True),
            ("7", "hats", "2020-01-02 09:00:00", "hat", 1, True),
            ("7", "shoes", "2020-01-01 09:00:00", "boot", 2, False),
            ("7", "shoes", "2020-01-01 09:00:00", "shoe", 1, True),
        ],
        {"shoe": "The shoe", "boot": "The boot", "hat": "The hat"},
    )


def test_every_recipe_has_a_test() -> None:
    tested = set(re.findall(r'extracted\(tmp_path, "(\w+)"\)', Path(__file__).read_text()))
    assert tested == set(recipes())


@pytest.mark.parametrize("name", list(recipes()))
def test_a_recipe_names_its_files_relative_to_the_experiment(tmp_path: Path, name: str) -> None:
    logs = load_experiment(Path(write_text(tmp_path, "mine.yaml", recipes()[name]))).logs
    assert logs.layout in ("impressions", "tables")
