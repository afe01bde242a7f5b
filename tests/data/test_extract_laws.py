"""Properties of any log: the same bytes for the same rows, counts that add up, names that cannot break the SQL."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from small_logs import SEARCHES, SPLIT, extract_rows, small_log, write_text

from data.experiment.log_config import Split, Tables
from data.extract import extract
from data.log_fingerprint import fingerprint
from ebr_core.errors import InputError


def digests_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def write_random_log(folder: Path, order: int, files: int) -> dict[str, str]:
    """Paths of a log with repeats and faults in every table. order: a seed that shuffles its rows."""
    rng = random.Random(7)
    searches: list[dict[str, Any]] = [
        {
            "search_id": str(rng.randrange(2500)),
            "searched_at": f"2020-01-{rng.randrange(1, 29):02} {rng.randrange(24):02}:{rng.randrange(60):02}:00",
            "query": f"q{rng.randrange(300)}",
            "searcher_id": rng.choice([None, *(f"u{i}" for i in range(99))]),
        }
        for _ in range(3000)
    ]
    results: list[dict[str, Any]] = [
        {
            "search_id": str(rng.randrange(2500)),
            "document_id": f"d{rng.randrange(500)}",
            "position": rng.randrange(0, 30),
            "clicked": rng.random() < 0.3,
        }
        for _ in range(20_000)
    ]
    documents = [{"document_id": f"d{rng.randrange(500)}", "title": f"t{rng.randrange(9)}"} for _ in range(2000)]
    edges = [
        {"source_id": f"u{rng.randrange(99)}", "target_id": f"d{rng.randrange(500)}", "weight": rng.random()}
        for _ in range(999)
    ]
    paths = {}
    tables = {"searches": searches, "results": results, "documents": documents, "edges": edges}
    for name, rows in tables.items():
        random.Random(order).shuffle(rows)
        folder.mkdir(parents=True, exist_ok=True)
        for part in range(files):
            pq.write_table(
                pa.Table.from_pylist(rows[part::files]), folder / f"{name}-{(part * 7 + order) % 10}.parquet"
            )
        paths[name] = str(folder / f"{name}-*.parquet")
    return paths


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    """In two equal runs, and with other orders of rows, files, numbers of threads, and little memory."""
    runs = [(1, 1, 1, "4GB"), (1, 1, 1, "4GB"), (2, 3, 2, "4GB"), (3, 2, 4, "150MB")]
    outputs = []
    for run, (order, files, threads, memory) in enumerate(runs):
        paths = write_random_log(tmp_path / f"in{run}", order, files)
        logs = Tables(layout="tables", **paths, max_dropped=1, threads=threads, memory_limit=memory)
        extract(logs, Split(), tmp_path / f"out{run}")
        outputs.append(digests_of(tmp_path / f"out{run}"))
    assert outputs[1:] == outputs[:1] * 3


def test_a_long_table_has_the_same_bytes_for_any_number_of_threads(tmp_path: Path) -> None:
    """DuckDB cuts its tables after 122,880 rows, and with several threads what it returns, too."""
    searches, shown = 13_000, 10
    start = datetime(2020, 1, 1)
    tables = {
        "searches": {
            "search_id": range(searches),
            "searched_at": [start + timedelta(minutes=i) for i in range(searches)],
            "query": [f"q{i % 99}" for i in range(searches)],
        },
        "results": {
            "search_id": [i // shown for i in range(searches * shown)],
            "document_id": [f"d{(i // shown + i % shown) % 50}" for i in range(searches * shown)],
            "clicked": [i % shown == 0 for i in range(searches * shown)],
        },
        "documents": {"document_id": [f"d{i}" for i in range(50)], "title": ["t"] * 50},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    paths = {name: str(tmp_path / f"{name}.parquet") for name in tables}
    for threads in (1, 2, 4):
        extract(Tables(layout="tables", **paths, threads=threads), Split(), tmp_path / f"out{threads}")
    assert digests_of(tmp_path / "out1") == digests_of(tmp_path / "out2") == digests_of(tmp_path / "out4")
    groups = pq.read_metadata(tmp_path / "out2" / "results.parquet")
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [32_768] * 3 + [31_696]


ids = st.sampled_from(["", "1", "2", "3", "4", "5", "6", "99"])
early = st.sampled_from(["", "1", "2", "3", "7", "99"])  # 4, 5 and 6 keep a click in every part
documents = st.sampled_from(["", "shoe", "boot", "hat", "glove"])
dated = st.sampled_from(["", "shoe", "boot", "glove"])  # the hat always exists, so every part has a document to find
days = st.sampled_from(["", "2020-01-01", "2020-01-04 12:00:00", "2020-01-05 12:00:00"])


# No shrinking, which would repeat an extraction hundreds of times.
@settings(max_examples=12, deadline=None, phases=[Phase.generate])
@given(
    searches=st.lists(st.tuples(early, days, st.sampled_from(["", " ", "hat"])), max_size=6),
    results=st.lists(
        st.tuples(ids, documents, st.sampled_from(["", "-1", "0", "3"]), st.sampled_from(["", "0", "1"])), max_size=9
    ),
    more_documents=st.lists(st.tuples(dated, days, days), max_size=4),
    edges=st.lists(
        st.tuples(st.sampled_from(["", "ann", "hat", "x"]), ids, st.sampled_from(["", "-1", "0", "2"])), max_size=6
    ),
    judgements=st.lists(st.tuples(ids, documents, st.sampled_from(["", "-1", "1", "2"])), max_size=6),
)
def test_rows_read_are_kept_or_dropped_for_a_reason(tmp_path_factory: Any, **mutations: Any) -> None:
    folder = tmp_path_factory.mktemp("counts")
    lines = {name: "".join(",".join(row) + "\n" for row in rows) for name, rows in mutations.items()}
    logs = small_log(
        folder / "in",
        searches=SEARCHES + "".join(f"{line},\n" for line in lines["searches"].splitlines()),
        documents="document_id,created_at,removed_at,title\nshoe,,,Shoe\nboot,,,Boot\nhat,,,Hat\n"
        + "".join(f"{line},again\n" for line in lines["more_documents"].splitlines()),
        results="search_id,document_id,position,clicked\n"
        + "".join(f"{i},hat,1,1\n{i},shoe,2,0\n" for i in range(1, 7))
        + lines["results"],
        edges="source_id,target_id,weight\nann,hat,1\n" + lines["edges"],
        judgements="search_id,document_id,grade\n4,hat,1\n"  # no other search has this identity
        + lines["judgements"],
        max_dropped=1,
    )
    tables = extract_rows(logs, folder / "out")
    report = json.loads((folder / "out" / "report.json").read_text())
    written_rows = {"searches": 6, "results": 12, "documents": 3, "edges": 1, "judgements": 1}
    mutated = {"documents": "more_documents"}
    for name, table in report["tables"].items():
        assert table["read"] == written_rows[name] + len(mutations[mutated.get(name, name)]), name
        assert table["read"] == table["kept"] + sum(d["rows"] for d in table["dropped"]), name
        assert all(d["rows"] > 0 and len(d["examples"]) <= 3 for d in table["dropped"])
        if name != "judgements":
            assert table["kept"] == len(tables[name]), name
    assert sum(part["impressions"] for part in report["splits"].values()) == len(tables["results"])


HOSTILE = ["it's", 'a "quote"', "x'); DROP TABLE settings; --", "$table $files", "a[1]*", "né 靴", "semi;colon", "100%"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_and_values(tmp_path: Path, name: str) -> None:
    head, *rows = csv.reader(SEARCHES.replace("blue hat", "%").replace("bob", "&").splitlines())
    cells = [[*head, name], *([*(name if cell in "%&" and cell else cell for cell in row), "extra"] for row in rows)]
    text = io.StringIO()
    csv.writer(text).writerows(cells)
    tables = extract_rows(small_log(tmp_path / name / "in", searches=text.getvalue()), tmp_path / name / "out")
    assert name in {q["query"] for q in tables["queries"]}
    assert name in {s["searcher_id"] for s in tables["searchers"]}


def test_fingerprints_follow_the_contents(tmp_path: Path) -> None:
    logs = small_log(tmp_path / "a")
    first = fingerprint(logs)
    assert list(first) == ["searches", "results", "documents"]
    assert list(fingerprint(small_log(tmp_path / "moved")).values()) == list(first.values())
    write_text(tmp_path / "a", "documents.csv", "document_id,title\nother,Other\n")
    assert [old == new for old, new in zip(first.values(), fingerprint(logs).values(), strict=True)] == [
        True,
        True,
        False,
    ]


def test_a_fingerprint_of_a_glob_sees_every_file(tmp_path: Path) -> None:
    logs = small_log(tmp_path).model_copy(update={"results": str(tmp_path / "r-*.csv")})
    with pytest.raises(InputError, match="no file matches the glob"):
        fingerprint(logs)
    write_text(tmp_path, "r-1.csv", "a\n")
    first = fingerprint(logs)["results"]
    write_text(tmp_path, "r-2.csv", "b\n")
    second = fingerprint(logs)["results"]
    (tmp_path / "r-2.csv").rename(tmp_path / "r-3.csv")
    assert len({first, second, fingerprint(logs)["results"]}) == 3


def test_nothing_but_the_outputs_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        extract(small_log(tmp_path / "in", searches="search_id\n1\n"), SPLIT, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
