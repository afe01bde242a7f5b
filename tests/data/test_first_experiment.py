"""`ebr init`: which layout and columns it finds in files that a reader checks by eye, and the file that it writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_logs import DOCUMENTS, RESULTS, SEARCHES, write_text

from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Experiment
from data.experiment.log_config import Impressions, Simulated, Split, Tables, Ubi
from data.extract import extract
from data.guess.first_experiment import write_experiment
from ebr_core.errors import InputError

QUERIES = [
    f"{colour} {thing}"
    for colour in ("red", "blue", "grey", "warm", "old")
    for thing in ("shoe", "boot", "hat", "cap", "")
]
BRANDS = ("Acme", "Zen", "Nord")


def log_rows(count: int = 60) -> list[dict[str, Any]]:
    """A flat log of that many searches with three results each, one of them clicked."""
    return [
        {
            "ts": f"2020-01-{1 + search // 3:02} {10 + search % 3}:00:00",
            "q": QUERIES[search % 25],
            "user": f"u{search % 7}",
            "sku": f"p{(search * 3 + rank * 7) % 40}",
            "rank": rank,
            "is_click": int(rank == 1 + search % 3),
            "device": ("phone", "desktop")[search % 2],
            "score": 1 / (rank + search),
        }
        for search in range(count)
        for rank in (1, 2, 3)
    ]


def catalogue_rows() -> list[dict[str, Any]]:
    return [
        {
            "sku": f"p{i}",
            "name": f"{BRANDS[i % 3]} shoe number {i}",
            "brand": BRANDS[i % 3],
            "category_path": ("Shoes > Running", "Shoes > Town", "Hats > Wool")[i % 3],
            "price": 10 + i / 4,
            "in_stock": i % 4 > 0,
            "lat": 40 + i % 5,
            "lon": 3.5,
            "ean": f"400{i:010}",
        }
        for i in range(40)
    ]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".ndjson":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(map(str, row)) for row in ([*rows[0]], *(row.values() for row in rows))]
        path.write_text("\n".join(lines) + "\n")
    return str(path)


def renamed(rows: list[dict[str, Any]], names: dict[str, str]) -> list[dict[str, Any]]:
    return [{names.get(column, column): value for column, value in row.items()} for row in rows]


def guess(folder: Path, *files: str) -> tuple[Experiment, str]:
    """The experiment that is written for these files, extracted without an error, and its text."""
    path = write_experiment(files, folder / "guess" / "mine.yaml", False)
    spec = load_experiment(path)
    assert not isinstance(spec.logs, Simulated)
    extract(spec.logs, spec.split, folder / "guess" / "log")
    return spec, path.read_text()


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson"])
def test_a_flat_log_and_a_catalogue(tmp_path: Path, form: str) -> None:
    log = write_rows(tmp_path / f"log.{form}", log_rows())
    spec, text = guess(tmp_path, write_rows(tmp_path / f"catalogue.{form}", catalogue_rows()), log)
    assert isinstance(spec.logs, Impressions)
    assert spec.logs.impressions == log
    assert spec.logs.columns == {
        "searched_at": "ts", "query": "q", "searcher_id": "user", "document_id": "sku", "position": "rank",
        "clicked": "is_click", "title": "name",
    }  # fmt: skip
    assert list(spec.arms) == ["softmax", "columns", "hard"]
    groups = {
        name: group.model_dump(exclude_defaults=True) for name, group in spec.arms["columns"].features.groups.items()
    }
    assert groups == {
        "brand": {"documents": ("brand",)},
        "category_path": {"documents": ("category_path",), "separator": ">"},
        "price": {"documents": ("price",)},
        "in_stock": {"documents": ("in_stock",)},
        "device": {"searches": ("device",)},
    }
    assert spec.arms["columns"].features.groups["price"].kind == "numbers"
    assert not spec.arms["softmax"].features.groups
    assert (spec.arms["hard"].negatives.offline_hard, spec.arms["hard"].mine_from) == (2, "softmax")
    assert {arm.loss.kind for arm in spec.arms.values()} == {"softmax"}
    assert {(arm.negatives.random, arm.negatives.in_batch) for arm in spec.arms.values()} == {(1000, "all")}
    assert spec.questions["bm25"].arms == ("softmax", "columns", "hard")
    for reason in (
        "documents.lat: a coordinate, which kind: location needs on both sides",
        "documents.ean: ",
        "searches.score: it differs between the results of a search",
        "document_id: sku  # 100% of its values are in sku of ",
    ):
        assert reason in text


def test_coordinates_on_both_sides_are_a_location(tmp_path: Path) -> None:
    rows = [row | {"user_lat": 41.5 + i % 7, "user_lng": 2.0 + i % 3} for i, row in enumerate(log_rows())]
    files = [write_rows(tmp_path / "log.parquet", rows), write_rows(tmp_path / "c.parquet", catalogue_rows())]
    spec, text = guess(tmp_path, *files)
    group = spec.arms["columns"].features.groups["where"].model_dump()
    assert (group["kind"], group["searches"], group["documents"]) == (
        "location",
        ("user_lat", "user_lng"),
        ("lat", "lon"),
    )
    assert "a coordinate" not in text


def test_names_that_say_nothing(tmp_path: Path) -> None:
    """Times, flags, positions, texts and identities are found by their values, and are marked as unsure."""
    names = {"ts": "a", "q": "b", "user": "c", "sku": "d", "rank": "e", "is_click": "f"}
    log = write_rows(tmp_path / "log.csv", renamed(log_rows(), names))
    catalogue = write_rows(tmp_path / "shop.csv", renamed(catalogue_rows(), {"sku": "x", "name": "y"}))
    spec, text = guess(tmp_path, log, catalogue)
    assert isinstance(spec.logs, Impressions)
    assert spec.logs.columns == {
        "searched_at": "a", "query": "b", "position": "e", "clicked": "f", "title": "y",
        "impressions": {"document_id": "d"}, "documents": {"document_id": "x"},
    }  # fmt: skip
    unsure = text.split("# Unsure:")[1].split("logs:")[0]
    for doubt in (
        "searched_at is a: its values",
        "impressions.query is b",
        "impressions.clicked is f",
        "documents.title is y",
    ):
        assert doubt in unsure


def test_a_log_without_a_catalogue_has_titles(tmp_path: Path) -> None:
    titles = {row["sku"]: row["name"] for row in catalogue_rows()}
    rows = [row | {"title": titles[row["sku"]]} for row in log_rows()]
    spec, text = guess(tmp_path, write_rows(tmp_path / "log.parquet", rows))
    assert isinstance(spec.logs, Impressions)
    assert spec.logs.documents is None
    assert "no catalogue was given" in text
    with pytest.raises(
        InputError, match=r"no table has a time, a query and a document(?s:.*)log2.parquet: ts, q, user"
    ):
        guess(tmp_path / "other", write_rows(tmp_path / "log2.parquet", log_rows()))


@pytest.mark.parametrize(("unit", "form"), [(1, "csv"), (1_000, "ndjson"), (1_000_000, "parquet")])
def test_epochs_are_times(tmp_path: Path, unit: int, form: str) -> None:
    rows = [
        row | {"ts": int(datetime.fromisoformat(row["ts"]).replace(tzinfo=UTC).timestamp()) * unit}
        for row in log_rows()
    ]
    log = write_rows(tmp_path / f"log.{form}", rows)
    spec, _ = guess(tmp_path, log, write_rows(tmp_path / "catalogue.parquet", catalogue_rows()))
    assert isinstance(spec.logs, Impressions)
    assert spec.logs.columns["searched_at"] == "ts"
    searches = pq.read_table(tmp_path / "guess" / "log" / "searches.parquet")["searched_at"].to_pylist()
    assert sorted({str(at) for at in searches}) == sorted({row["ts"] for row in log_rows()})


def test_three_tables(tmp_path: Path) -> None:
    texts = {"s": SEARCHES, "r": RESULTS.replace("clicked", "is_click"), "d": DOCUMENTS + "cap,Grey cap\n"}
    files = {name: write_text(tmp_path, f"{name}.csv", text) for name, text in texts.items()}
    path = write_experiment(list(files.values()), tmp_path / "mine.yaml", False)
    logs = load_experiment(path).logs
    assert isinstance(logs, Tables)
    assert (logs.searches, logs.results, logs.documents) == (files["s"], files["r"], files["d"])
    assert logs.columns == {"clicked": "is_click"}
    extract(logs, Split(validation_from="2020-01-04", test_from="2020-01-05"), tmp_path / "log")


def test_files_of_many_days_are_one_table(tmp_path: Path) -> None:
    rows = log_rows()
    logs = [write_rows(tmp_path / f"logs/day={day}/part.parquet", rows[day::3]) for day in range(3)]
    spec, _ = guess(tmp_path, *logs, write_rows(tmp_path / "catalogue.parquet", catalogue_rows()))
    assert isinstance(spec.logs, Impressions)
    assert pq.read_table(tmp_path / "guess/log/searches.parquet").num_rows == 60


def test_ubi_is_known_by_its_columns(tmp_path: Path) -> None:
    queries = [{"query_id": "q1", "user_query": "a", "timestamp": "2020-01-01", "client_id": "c"}]
    events = [{"action_name": "click", "query_id": "q1", "event_attributes": {"object": {"object_id": "shoe"}}}]
    files = [write_rows(tmp_path / "e.ndjson", events), write_rows(tmp_path / "q.ndjson", queries)]
    path = write_experiment([*files, write_text(tmp_path, "d.csv", DOCUMENTS)], tmp_path / "mine.yaml", False)
    logs = load_experiment(path).logs
    assert isinstance(logs, Ubi)
    assert (logs.events, logs.queries, logs.documents) == (*files, str(tmp_path / "d.csv"))


def test_a_column_of_actions_gets_weights(tmp_path: Path) -> None:
    """Each action is a row of its own. What was hovered over has no weight, and a removal speaks against a result."""
    given = {0: "", 1: "click", 2: "click"}
    rows = [row | {"event": given[row.pop("is_click") + (row["rank"] > 2)]} for row in log_rows()]
    for action, share in (("add_to_cart", 2), ("purchase", 4), ("hover", 3), ("remove_from_cart", 5)):
        rows += [row | {"event": action} for row in rows[::share] if row["event"] == "click"]
    files = [write_rows(tmp_path / "log.csv", rows), write_rows(tmp_path / "c.csv", catalogue_rows())]
    path = write_experiment(files, tmp_path / "mine.yaml", False)
    text = path.read_text()
    assert "actions: {click: 1, add_to_cart: 3, purchase: 5}" in text
    assert "and so left out: hover, remove_from_cart" in text
    assert "each row counts as a click" not in text
    logs = load_experiment(path).logs
    assert isinstance(logs, Impressions)
    assert logs.columns["action"] == "event"
    spec = load_experiment(path)
    assert [spec.arms[name].positives.actions for name in ("softmax", "only-click", "only-purchase")] == [
        *((), ("click",), ("purchase",))
    ]
    question = spec.questions["actions"]
    assert (question.baseline, question.arms) == ("only-click", ("only-purchase", "softmax"))
    assert question.title == "purchase as positives against click"
    extract(logs, Split(), tmp_path / "log")
    assert set(pq.read_table(tmp_path / "log/actions.parquet")["target_set"].to_pylist()) == {
        *("clicked", "carted", "purchased"),
    }


def test_events_of_ubi_get_weights_if_there_are_others_than_clicks(tmp_path: Path) -> None:
    queries = [{"query_id": "q1", "user_query": "a", "timestamp": "2020-01-01", "client_id": "c"}]
    texts = {}
    for last in ("impression", "purchase"):
        events = [
            {"action_name": action, "query_id": "q1", "event_attributes": {"object": {"object_id": "shoe"}}}
            for action in ("click", "scroll", last)
        ]
        files = [write_rows(tmp_path / last / "e.ndjson", events), write_rows(tmp_path / last / "q.ndjson", queries)]
        documents = write_text(tmp_path / last, "d.csv", DOCUMENTS)
        texts[last] = write_experiment([*files, documents], tmp_path / last / "mine.yaml", False).read_text()
    assert "actions:" not in texts["impression"]
    assert "only-" not in texts["impression"]
    assert "actions: {click: 1, purchase: 5}" in texts["purchase"]
    assert "left out: scroll" in texts["purchase"]


def test_a_file_is_not_replaced_by_accident(tmp_path: Path) -> None:
    files = [write_rows(tmp_path / "log.csv", log_rows()), write_rows(tmp_path / "c.csv", catalogue_rows())]
    path = write_experiment(files, tmp_path / "mine.yaml", False)
    first = path.read_text()
    path.write_text("mine")
    with pytest.raises(InputError, match=r"mine.yaml exists. Give another file with --out, or replace it"):
        write_experiment(files, path, False)
    assert path.read_text() == "mine"
    write_experiment(files, path, True)
    assert path.read_text() == first


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for name, words in (("none.csv", "there is no file .*none.csv. Give files, or globs in quotes"),
                        ("a.txt", "a.txt ends in none of .parquet")):  # fmt: skip
        write_text(tmp_path, "a.txt", "x")
        with pytest.raises(InputError, match=words):
            write_experiment([str(tmp_path / name)], tmp_path / "mine.yaml", False)


@pytest.mark.parametrize("values", [("shown", "bought"), (0, 3)])
def test_a_column_of_clicks_with_other_values_is_refused(tmp_path: Path, values: tuple[Any, Any]) -> None:
    """Otherwise each row, or the only other column of two values, would count as the clicks."""
    shown = [row | {"is_click": values[row["is_click"]], "in_app": row["rank"] % 2} for row in log_rows()]
    files = [
        write_rows(tmp_path / "log.parquet", shown),
        write_rows(tmp_path / "catalogue.parquet", catalogue_rows()),
    ]
    with pytest.raises(InputError, match=r"column 'is_click' of .*log\.parquet is named as clicks, and its values are"):
        write_experiment(files, tmp_path / "mine.yaml", overwrite=False)
    assert not (tmp_path / "mine.yaml").exists()


def test_clicks_may_be_yes_and_no(tmp_path: Path) -> None:
    rows = [row | {"is_click": "Yes" if row["is_click"] else "no"} for row in log_rows()]
    log = write_rows(tmp_path / "log.csv", rows)
    catalogue = write_rows(tmp_path / "catalogue.csv", catalogue_rows())
    spec = load_experiment(write_experiment([log, catalogue], tmp_path / "my.yaml", False))
    assert isinstance(spec.logs, Impressions)
    assert spec.logs.columns["clicked"] == "is_click"
    extract(spec.logs, spec.split, tmp_path / "out")
    assert sum(pq.read_table(tmp_path / "out/results.parquet")["clicked"].to_pylist()) == 60


@pytest.mark.parametrize("in_log", [True, False])
def test_identities_of_one_file_may_be_floats(tmp_path: Path, in_log: bool) -> None:
    number = {f"p{i}": 1000 + i for i in range(40)}
    rows = [row | {"sku": f"{number[row['sku']]}{'.0' * in_log}"} for row in log_rows()]
    documents = [row | {"sku": f"{number[row['sku']]}{'.0' * (not in_log)}"} for row in catalogue_rows()]
    files = [write_rows(tmp_path / "log.csv", rows), write_rows(tmp_path / "catalogue.csv", documents)]
    spec = load_experiment(write_experiment(files, tmp_path / "my.yaml", False))
    assert isinstance(spec.logs, Impressions)
    assert spec.logs.columns["document_id"] == "sku"
    extract(spec.logs, spec.split, tmp_path / "out")
    assert pq.read_metadata(tmp_path / "out/results.parquet").num_rows == 180


def test_times_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    rows = [row | {"ts": "31.01.2020 10:00"} for row in log_rows()]
    files = [write_rows(tmp_path / "log.csv", rows), write_rows(tmp_path / "catalogue.csv", catalogue_rows())]
    with pytest.raises(InputError) as caught:
        write_experiment(files, tmp_path / "my.yaml", False)
    assert "Column 'ts' of " in str(caught.value)
    assert "is named as a time and holds '31.01.2020 10:00'. Expected a timestamp such as" in str(caught.value)
    assert "strptime(ts, " in str(caught.value)
    slashes = [row | {"ts": row["ts"].replace("-", "/")} for row in log_rows()]
    files[0] = write_rows(tmp_path / "log.csv", slashes)
    assert "searched_at: ts" in write_experiment(files, tmp_path / "my.yaml", False).read_text()


def acted_rows(column: str, seconds: int) -> list[dict[str, Any]]:
    """The flat log with a time of each click, so many seconds after the search."""
    rows = log_rows()
    for row in rows:
        at = datetime.fromisoformat(row["ts"]).replace(tzinfo=UTC) + timedelta(seconds=seconds)
        row[column] = f"{at:%Y-%m-%d %H:%M:%S}" if row["is_click"] else None
    return rows


@pytest.mark.parametrize("column", ["clicked_at", "event_time", "purchasedAt"])
def test_a_time_of_actions_is_found_by_its_name_and_its_values(tmp_path: Path, column: str) -> None:
    file = written(tmp_path, acted_rows(column, 90))
    text = file.read_text()
    assert f"acted_at: {column}  # its name, and 100% of its times are later than the search" in text
    assert "searched_at: ts" in text


def test_a_time_before_the_search_is_not_that_of_an_action(tmp_path: Path) -> None:
    text = written(tmp_path, acted_rows("clicked_at", -3600)).read_text()
    assert "acted_at:" not in text
    assert "clicked_at is named as the time of an action, and 100% of its values are more than 10 minutes" in text


def test_a_time_that_is_always_that_of_the_search_says_nothing(tmp_path: Path) -> None:
    assert "acted_at" not in written(tmp_path, acted_rows("clicked_at", 0)).read_text()


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """The experiment file for a flat log of these rows, and the catalogue."""
    for name, table in (("log", rows), ("products", catalogue_rows())):
        pq.write_table(pa.Table.from_pylist(table), folder / f"{name}.parquet")
    paths = [str(folder / "log.parquet"), str(folder / "products.parquet")]
    return write_experiment(paths, folder / "mine.yaml", False)


def test_a_time_in_the_table_of_results_is_compared_with_its_search(tmp_path: Path) -> None:
    head, *lines = RESULTS.splitlines()
    at = ["2020-01-06 10:00:00" if line.endswith("true") else "" for line in lines]
    results = [f"{head},clicked_at", *(f"{line},{time}" for line, time in zip(lines, at, strict=True))]
    texts = {
        "searches": SEARCHES,
        "results": "\n".join(results) + "\n",
        "documents": DOCUMENTS.replace("hat,", "hat,Hat"),
    }
    paths = [write_text(tmp_path, f"{name}.csv", text) for name, text in texts.items()]
    text = write_experiment(paths, tmp_path / "mine.yaml", False).read_text()
    assert "acted_at: clicked_at  # its name, and 100% of its times are later than the search" in text


def test_the_time_of_ubi_events_may_have_another_name(tmp_path: Path) -> None:
    query = {"query_id": "1", "user_query": "shoes", "timestamp": "2020-01-01 10:00:00"}
    event = {"action_name": "click", "query_id": "1", "event_attributes": {"object": {"object_id": "shoe"}},
             "event_time": "2020-01-01 10:00:05"}  # fmt: skip
    texts = {"queries.ndjson": json.dumps(query), "events.ndjson": json.dumps(event), "documents.csv": DOCUMENTS}
    paths = [write_text(tmp_path, name, text) for name, text in texts.items()]
    text = write_experiment(paths, tmp_path / "mine.yaml", False).read_text()
    assert "timestamp: event_time" in text


@pytest.mark.parametrize("name", ["visitor", "member", "shopper_id", "fullVisitorId"])
def test_searchers_have_many_names(tmp_path: Path, name: str) -> None:
    files = [
        write_rows(tmp_path / "log.parquet", renamed(log_rows(), {"user": name})),
        write_rows(tmp_path / "catalogue.parquet", catalogue_rows()),
    ]
    spec, text = guess(tmp_path, *files)
    assert isinstance(spec.logs, Impressions)
    assert spec.logs.columns["searcher_id"] == name
    assert "no column is named as a search" not in text


def test_a_log_without_a_searcher_is_a_doubt(tmp_path: Path) -> None:
    files = [
        write_rows(tmp_path / "log.parquet", renamed(log_rows(), {"user": "whoever"})),
        write_rows(tmp_path / "catalogue.parquet", catalogue_rows()),
    ]
    _, text = guess(tmp_path, *files)
    assert (
        "no column is named as a search, a searcher or a session, so only rows of the same time are one search" in text
    )
