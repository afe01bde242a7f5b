"""Arms that read histories, end to end: rows with the latest clicks, audit, refit, bundles that answer as evaluated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data.experiment.experiment_file import load_experiment
from ebr_core.errors import InputError
from ebr_core.serving.known_context import unknown_context
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.search_query import SearchQuery
from flows.ebr import ebr
from tasks.served_models import bundle_of, models_of
from tasks.tracking.runs import Outcome

TOPICS, DOCUMENTS, PEOPLE = 4, 40, 30
ARMS = {
    "base": {"loss": {"kind": "softmax"}, "towers": {"dimensions": 16}, "training": {"patience": 2, "batch_size": 64}},
    "text": {},
    "clicked": {"groups": {"before": {"kind": "history", "half_life_days": 7}}},
    "listed": {"groups": {"owned": {"kind": "history", "column": "owned"}}},
}
QUESTIONS = {"latest": {"title": "what the latest clicks add", "baseline": "clicked", "arms": ["clicked+latest"]}}


def _searches() -> Iterator[tuple[dict[str, Any], str]]:
    """Searches of people with one topic each, and the document of their topic that they click."""
    rng = np.random.default_rng(0)
    for number in range(600):
        person = int(rng.integers(PEOPLE))
        document = int(rng.integers(DOCUMENTS // TOPICS)) * TOPICS + person % TOPICS
        owned = [f"d{other}" for other in range(person % TOPICS, DOCUMENTS, TOPICS)]
        search = {"search_id": f"s{number}", "searched_at": datetime(2026, 1, 1) + timedelta(hours=number)}
        search |= {"query": f"word{rng.integers(3)}", "searcher_id": f"p{person}", "owned": owned}
        yield search, f"d{document}"


def _write(folder: Path, **changes: Any) -> Path:
    searches, clicked = zip(*_searches(), strict=True)
    tables = {
        "searches": pa.Table.from_pylist(list(searches)),
        "results": pa.table(
            {
                "search_id": [search["search_id"] for search in searches],
                "document_id": list(clicked),
                "clicked": [True] * len(searches),
            }
        ),
        "documents": pa.table(
            {
                "document_id": [f"d{number}" for number in range(DOCUMENTS)],
                "title": [f"word{number % 3} title{number}" for number in range(DOCUMENTS)],
            }
        ),
    }
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet")
    content = {
        "logs": {"layout": "tables"} | {name: f"{name}.parquet" for name in tables},
        "evaluation": {"resamples": 100, "ks": [1, 10]},
        "arms": ARMS,
        "questions": QUESTIONS,
        "refit": True,
    }
    path = folder / "histories.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


@pytest.mark.parametrize(
    ("label", "arms"), [("text+latest", "clicked"), ("clicked+latest@fast", "clicked"), ("bm25+latest", "clicked")]
)
def test_a_question_on_the_latest_clicks_needs_an_arm_that_reads_clicks(tmp_path: Path, label: str, arms: str) -> None:
    question = {"title": "none", "baseline": "text", "arms": [label]}
    path = _write(tmp_path, questions={"q": question}, indexes={"fast": {"kind": "ivf", "code": "pq8"}})
    with pytest.raises(InputError) as error:
        load_experiment(path)
    assert f"questions.q: {label} needs an arm" in str(error.value) or "no arm 'bm25'" in str(error.value)
    assert load_experiment(_write(tmp_path)).questions["latest"].arms == ("clicked+latest",)


def test_a_column_cannot_be_named_like_the_field_of_clicks(tmp_path: Path) -> None:
    groups = {"before": {"kind": "history"}, "column": {"kind": "values", "searches": ["history"]}}
    with pytest.raises(InputError, match="before: a request names the clicks of its searcher history, and a column"):
        load_experiment(_write(tmp_path, arms={"clicked": {"groups": groups}}, questions={}))


@pytest.fixture(scope="module")
def outcome(own_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    state = ebr(str(_write(tmp_path_factory.mktemp("histories"))), return_state=True)
    assert state.is_completed(), state.message
    result = state.result()
    assert isinstance(result, Outcome)
    return result


def _recalls(outcome: Outcome, split: str) -> dict[str, float]:
    rows = pq.read_table(outcome.results.folder / "results.parquet", filters=[("split", "=", split)]).to_pylist()
    key = (None, "clicked", "all", "recall", 10)
    names = ("question", "targets", "slice", "metric", "k")
    return {row["arm"]: row["value"] for row in rows if tuple(row[name] for name in names) == key}


@pytest.mark.more
def test_rows_with_the_latest_clicks_stand_beside_those_of_the_training_window(outcome: Outcome) -> None:
    for split in ("validation", "test"):
        recalls = _recalls(outcome, split)
        assert "clicked+latest" in recalls
        assert not {"listed+latest", "text+latest", "clicked+latest+bm25"} & set(recalls)
        assert min(recalls[arm] for arm in ("clicked", "clicked+latest", "listed")) > recalls["text"]
    rows = pq.read_table(outcome.results.folder / "results.parquet", filters=[("question", "=", "latest")]).to_pylist()
    assert any(row["arm"] == "clicked+latest" and row["difference"] is not None for row in rows)
    report = (outcome.report.folder / "report.html").read_text()
    assert "+latest: histories up to each search" in report


@pytest.mark.more
def test_the_audit_finds_no_leak_and_counts_what_was_left_out(outcome: Outcome) -> None:
    (file,) = outcome.log.folder.parent.glob("audit-*/audit.json")
    checks = {check["check"]: check for check in json.loads(file.read_text())["leaks"]}
    for check in ("history before", "listed owned"):
        assert checks[check]["status"] == "clean"
    assert checks["lists of owned"]["says"].startswith(("1", "2", "3", "4", "5", "6", "7", "8", "9"))
    refit = checks.get("history before of the refit") or checks["listed owned of the refit"]
    assert refit["status"] == "clean"


@pytest.mark.more
def test_a_bundle_answers_as_the_run_did(outcome: Outcome) -> None:
    listing = models_of("histories")
    assert {"clicked", "listed"} <= {name.partition("+")[0] for name in listing["models"]}
    bundle = open_bundle(bundle_of(listing, "text"))
    assert bundle.fields == ()
    bundle = next(
        opened for arm in listing["models"] if (opened := open_bundle(bundle_of(listing, arm))).fields == ("history",)
    )
    known = answer(bundle, SearchQuery(query="word1", searcher_id="p1", mode="ebr"))
    assert all(int(hit.document_id[1:]) % TOPICS == 1 for hit in known[:5])
    given = SearchQuery(query="word1", searcher_id="p1", mode="ebr", fields={"history": ["d2", "d6"]})
    assert all(int(hit.document_id[1:]) % TOPICS == 2 for hit in answer(bundle, given)[:5])
    assert unknown_context(bundle, given) == []
    given = SearchQuery(query="word1", fields={"history": ["nowhere", "d2"]})
    assert unknown_context(bundle, given) == ["history: the training window did not know nowhere, so they do not count"]
