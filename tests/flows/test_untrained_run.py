"""A run over a judged collection without a training part: vectors as they come, beside BM25."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tasks.report.result import read_rows

pytestmark = pytest.mark.more
DOCUMENTS = 12


def _write_collection(folder: Path) -> None:
    """Queries whose vector is that of the one relevant document, and whose words are in no document."""
    corpus = [{"_id": f"d{i}", "title": f"title{i}", "text": f"body{i}"} for i in range(DOCUMENTS)]
    queries = [{"_id": f"q{i}", "text": f"question{i}"} for i in range(DOCUMENTS)]
    for name, rows in {"corpus": corpus, "queries": queries}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = "".join(f"q{i}\td{i}\t1\n" for i in range(DOCUMENTS))
    (folder / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{pairs}")
    vectors = [row.tolist() for row in np.eye(DOCUMENTS, dtype=np.float32)]
    pq.write_table(pa.table({"document_id": [row["_id"] for row in corpus], "v": vectors}), folder / "d.parquet")
    pq.write_table(pa.table({"query": [row["text"] for row in queries], "v": vectors}), folder / "q.parquet")


def test_an_arm_without_training_is_measured_where_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    _write_collection(tmp_path)
    files = {side: {"path": f"{file}.parquet", "column": "v"} for side, file in (("documents", "d"), ("searches", "q"))}
    as_it_comes = {
        "text": {"read": "none"},
        "towers": {"dimensions": DOCUMENTS},
        "training": {"epochs": 0},
        "groups": {"meaning": {"kind": "vectors", "adapt": "none", **files}},
    }
    logs = {"layout": "beir", "corpus": "corpus.jsonl", "queries": "queries.jsonl", "test_qrels": "test.tsv"}
    content = {"logs": logs, "evaluation": {"ks": [1, 10]}, "arms": {"as-it-comes": as_it_comes}}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [sys.executable, "-m", "flows.app.cli", "run", str(tmp_path / "my.yaml")],
        env=os.environ | {"EBR_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert "this log has no validation part" in done.stdout + done.stderr
    (folder,) = (tmp_path / "home" / "artifacts").glob("evaluate-*")
    rows = read_rows(folder / "results.parquet", with_slices=False)
    recall = {row.arm: row.value for row in rows if row.metric == "recall" and row.k == 1}
    assert recall["as-it-comes"] == 1
    assert recall["bm25"] == 0
