"""Public research logs, if they are available."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from data.experiment.log_config import Beir, Split, Tables, Ubi
from data.extract import extract
from data.report_text import describe

REAL = Path(__file__).parents[2] / ".." / "shared" / "data"
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="needs the research logs in ../shared/data")


def report_of(logs: Tables | Ubi | Beir, folder: Path) -> dict[str, Any]:
    extract(logs, Split(), folder)
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert describe(report)
    return report


def test_lastfm(tmp_path: Path) -> None:
    paths = {name: str(REAL / "lastfm" / f"{name}.parquet") for name in ("searches", "results", "documents", "edges")}
    report = report_of(Tables(layout="tables", **paths), tmp_path)
    kept = {name: table["kept"] for name, table in report["tables"].items()}
    assert kept == {"searches": 77_675, "results": 184_936, "documents": 17_632, "edges": 105_500, "judgements": 0}
    assert sum(part["clicks"] for part in report["splits"].values()) == 184_936
    assert {"results.position", "edges.created_at"} <= {item["needs"] for item in report["cannot"]}
    for part in ("validation", "test"):
        assert abs(report["splits"][part]["searches"] / 77_675 - 0.1) < 0.02
    kinds = pq.read_table(tmp_path / "edges.parquet")["kind"]
    assert pc.sum(pc.equal(kinds, "friend")).as_py() == 12_717 - 1  # one friend is neither searcher nor artist


def test_trec_session(tmp_path: Path) -> None:
    folder = REAL / "trec_session"
    logs = Ubi(
        layout="ubi",
        queries=str(folder / "ubi_queries.ndjson"),
        events=str(folder / "ubi_events.ndjson"),
        documents=str(folder / "documents.ndjson"),
        judgements=str(folder / "qrels_by_topic.tsv"),
    )
    report = report_of(logs, tmp_path)
    assert report["tables"]["searches"]["kept"] == 590
    assert report["tables"]["documents"]["kept"] == 4133
    # 6,606 impressions and 858 clicks, of which 18 and 41 repeat a document
    assert report["tables"]["events"] == {
        "read": 7464,
        "kept": 6588 + 817,
        "dropped": report["tables"]["events"]["dropped"],
    }
    assert report["tables"]["results"]["kept"] == 6588
    assert sum(part["clicks"] for part in report["splits"].values()) == 817
    assert report["tables"]["judgements"] == {
        "read": 4508,
        "kept": 4467,
        "dropped": report["tables"]["judgements"]["dropped"],
    }
    rates = [place["click_rate"] for place in report["positions"]]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("name", "documents", "queries", "judged"), [("cranfield", 1400, 225, 1612), ("npl", 11_429, 93, 2083)]
)
def test_collections(tmp_path: Path, name: str, documents: int, queries: int, judged: int) -> None:
    folder = REAL / name
    logs = Beir(
        layout="beir",
        corpus=str(folder / "corpus.jsonl"),
        queries=str(folder / "queries.jsonl"),
        test_qrels=str(folder / "qrels" / "test.tsv"),
    )
    report = report_of(logs, tmp_path)
    kept = {table: counted["kept"] for table, counted in report["tables"].items()}
    assert kept == {"documents": documents, "searches": queries, "results": judged, "judgements": judged, "edges": 0}
    assert list(report["splits"]) == ["test"]
