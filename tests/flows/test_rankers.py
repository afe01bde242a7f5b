"""Rankers end to end: rows like those of arms, no test search in training, the report and MLflow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow.tracking import MlflowClient

from data.experiment.experiment_file import load_experiment
from ebr_core.errors import InputError
from ebr_core.measure.metrics import hits, recall_at_k
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.search.index_specs import Exact
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.text.bm25_config import Bm25
from flows.app.audit import run_audit
from flows.app.check import describe_experiment
from flows.app.explain import explain_arms, open_arms
from flows.app.negatives import inspect_negatives
from flows.app.ratings import export_ratings
from flows.ebr import ebr
from flows.served import refusals
from tasks.artifacts import Artifact, artifacts
from tasks.bm25_stages import tune_bm25
from tasks.eval_sets import read_sample
from tasks.kinds import BuiltIndex, ModelBundle, TrainedRanker
from tasks.log_stages import sample
from tasks.ranker_stages import estimate_examination, read_examination, train_ranker
from tasks.report.served_row import describe_served
from tasks.reranked_bundles import bundle_ranker
from tasks.retrieval_stages import build_index
from tasks.served_models import bundle_of, models_of
from tasks.tracking.runs import Outcome
from tests.flows.served_answers import check_answers

TEST = [("split", "=", "test")]
pytestmark = pytest.mark.more
SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
RANKERS: dict[str, Any] = {
    "plain": {"of": "random", "depth": 50, "trees": 30, "leaf_rows": 20},
    "cosine": {"of": "random", "depth": 50, "trees": 30, "embedding": "cosine", "index": "tuned", "debias": "none"},
    "hadamard": {"of": "random", "depth": 50, "trees": 5, "embedding": "hadamard", "debias": "position"},
    "raw": {"of": "both", "index": "lent", "depth": 50, "trees": 5, "embedding": "raw"},
    "one": {"of": "random", "depth": 1, "trees": 5},
}
CHANGES: dict[str, Any] = {
    "logs": {"layout": "simulated", "world": {"searches": 3000, "documents": 600, "days": 6, "shuffled": 0.3}},
    "ensembles": {"both": {"parts": ["random", "random"], "weights": [1, 1]}},
    "indexes": {
        "tuned": {"kind": "ivf", "code": "pq8", "refine": True, "target": 0.9},
        "lent": {"kind": "ivf", "code": "pq8", "refine": True, "target": 0.9, "parameters_of": "random"},
    },
    "retrievals": {},
    "rankers": RANKERS,
    "audit": {"arms": ["random"], "splits": [], "shares": [1]},
    "questions": {"P34": {"baseline": "cosine", "arms": ["plain", "hadamard", "raw", "random"], "metric": "ndcg@10"}},
}


def _write(folder: Path, **changes: Any) -> Path:
    content = yaml.safe_load(SMOKE.read_text()) | CHANGES | changes
    content["arms"].pop("impressions", None)
    (folder / "ranking.yaml").write_text(yaml.safe_dump(content))
    return folder / "ranking.yaml"


@pytest.fixture(scope="module")
def outcome(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The smoke experiment with rankers, run once."""
    state = ebr(str(_write(tmp_path_factory.mktemp("ranking"))), return_state=True)
    assert state.is_completed(), state.message
    result = state.result()
    assert isinstance(result, Outcome)
    return result


def _ranker_summaries(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {summary["arm"]: summary for summary in json.loads((outcome.report.folder / "rankers.json").read_text())}


def _validation_samples(outcome: Outcome, folder: Path) -> tuple[Artifact, Artifact]:
    """The samples of the validation's halves that the run made, the earlier first."""
    spec, folders = load_experiment(_write(folder)), set(artifacts().glob("sample-*"))
    evaluation, judged_from = spec.evaluation, spec.logs.judged_from
    earlier = sample.fn(outcome.log, "validation", evaluation.validation_searches, judged_from, halved=True)
    later = sample.fn(outcome.log, "ranking", evaluation.searches, judged_from, halved=True)
    assert {earlier.folder, later.folder, outcome.sample.folder} <= folders
    return earlier, later


def _level(outcome: Outcome, arm: str, metric: str, k: int | None) -> float:
    key = (None, arm, "clicked", "all", metric, k)
    names = ("question", "arm", "targets", "slice", "metric", "k")
    rows = pq.read_table(outcome.results.folder / "results.parquet", filters=TEST).to_pylist()
    matches = [row for row in rows if tuple(row[name] for name in names) == key]
    return float(min(matches, key=lambda row: row["index"] != "exact")["value"])


def test_rankers_have_rows_and_questions_like_arms(outcome: Outcome) -> None:
    rows = pq.read_table(outcome.results.folder / "results.parquet", filters=TEST).to_pylist()
    assert {row["arm"] for row in rows if row["question"] == "P34" and row["baseline"]} == {
        *("plain", "hadamard", "raw", "random")
    }
    for name in RANKERS:
        assert 0 < _level(outcome, name, "ndcg", 10) <= 1
        # Below its depth, a ranker keeps the list of the arm.
        assert _level(outcome, name, "recall", 100) == pytest.approx(
            _level(outcome, RANKERS[name]["of"], "recall", 100), abs=0.05
        )
    scanned = {row["arm"]: row["value"] for row in rows if row["metric"] == "scanned" and row["slice"] == "all"}
    assert scanned["plain"] == scanned["one"] + 49


@pytest.mark.parametrize("name", RANKERS)
def test_the_bundle_of_a_ranker_answers_with_the_list_of_its_row(outcome: Outcome, name: str) -> None:
    """With the place and the time of each search, through the index of the ranker, ties included."""
    bundle = open_bundle(bundle_of(models_of("ranking"), name))
    assert (bundle.name, bundle.mode) == (name, "reranked")
    check_answers(outcome, bundle, None, name, RANKERS[name].get("index", "exact"))


def test_a_ranker_that_reads_what_nobody_can_know_is_refused_with_the_reason(outcome: Outcome, tmp_path: Path) -> None:
    """Its bundle is none, so it is neither published nor chosen; the others are as they were."""
    trained = next(artifacts().glob("train_ranker-*"))
    peeking = TrainedRanker(Artifact(stage="train_ranker", digest="peeking"))
    shutil.copytree(trained, peeking.folder)
    summary = json.loads((trained / "ranker.json").read_text())
    (peeking.folder / "ranker.json").write_text(
        json.dumps(summary | {"features": [*summary["features"], "dwell_time"]})
    )
    listing, ranker = models_of("ranking"), Ranker.model_validate(RANKERS["plain"])
    bundled = Artifact(stage="bundle", digest=bundle_of(listing, "random").name.removeprefix("bundle-"))
    base, index = ModelBundle(bundled), BuiltIndex(bundled)
    made = bundle_ranker.fn(base, peeking, index, ranker, "peeking", outcome.log, outcome.sample)
    spec = load_experiment(_write(tmp_path))
    reason = "it reads dwell_time, which a bundle cannot know when a query comes"
    assert refusals(spec, {"random": base, "peeking": made}) == {"peeking": reason}
    with_refit = spec.model_copy(update={"refit": True})
    assert set(refusals(with_refit, {})) == set(RANKERS)
    assert outcome.served is not None
    served = outcome.served.model_copy(update={"refused": {"peeking": reason}})
    assert f"Not served: `peeking` because {reason}." in describe_served(served, [], 10, [*RANKERS, "peeking"])


def test_modes_are_compared_on_the_same_searches(outcome: Outcome, tmp_path: Path) -> None:
    """The validation recall of every model is measured on the earlier half, by exact search."""
    searches, targets = read_sample(_validation_samples(outcome, tmp_path)[0]).for_targets("clicked")
    lists = [np.load(path) for path in artifacts().glob("retrieve*/retrieved.npy")]
    n = len(read_sample(_validation_samples(outcome, tmp_path)[0]).searches["search_row"])
    recalls = {
        round(float(recall_at_k(hits(rows[searches["at"]], targets), targets, 10).mean()), 9)
        for rows in lists
        if len(rows) == n
    }
    listing = models_of("ranking")
    assert set(listing["models"]) == {"random", "both", *RANKERS}
    for model in listing["models"].values():
        assert round(model["validation_recall"], 9) in recalls
    best = max(model["validation_recall"] for model in listing["models"].values())
    assert listing["models"][listing["champion"]]["validation_recall"] == best
    assert outcome.served is not None
    assert (outcome.served.arm, outcome.served.recall) == (listing["champion"], best)


def test_a_depth_of_1_orders_nothing(outcome: Outcome) -> None:
    for metric, k in (("recall", 1), ("recall", 10), ("mrr", None), ("ndcg", 10)):
        assert _level(outcome, "one", metric, k) == _level(outcome, "random", metric, k)


def test_the_validation_is_halved_and_no_search_of_the_test_trains(outcome: Outcome, tmp_path: Path) -> None:
    log = pq.read_table(outcome.log.folder / "searches.parquet", columns=["split", "searched_at"])
    split, searched_at = (log[name].to_numpy() for name in ("split", "searched_at"))
    samples = *_validation_samples(outcome, tmp_path), outcome.sample
    earlier, later, test = (read_sample(artifact).searches["search_row"] for artifact in samples)
    assert set(split[earlier]) == set(split[later]) == {"validation"}
    assert set(split[test]) == {"test"}
    assert searched_at[earlier].max() < searched_at[later].min()
    assert searched_at[later].max() < searched_at[split == "test"].min()


def test_a_ranker_trained_twice_has_the_same_bytes(outcome: Outcome, tmp_path: Path) -> None:
    validation, ranking = _validation_samples(outcome, tmp_path)
    bm25 = tune_bm25.fn(outcome.log, validation, Bm25(), 10)
    n = len(read_sample(ranking).searches["search_row"])
    documents = pq.read_metadata(outcome.log.folder / "documents.parquet").num_rows
    vectors_of_parts = [  # random with both its seeds
        Artifact(stage="embed_texts", digest=folder.name.partition("-")[2])
        for folder in artifacts().glob("embed_texts-*")
        if np.load(folder / "queries.npy").shape[0] == n and len(np.load(folder / "documents.npy")) == documents
    ]
    settings, examination = Ranker.model_validate(RANKERS["plain"]), estimate_examination.fn(outcome.log)
    trained_bytes = {path.read_bytes() for path in artifacts().glob("train_ranker-*/ranker.txt")}
    repeated_bytes = set()
    for vectors in vectors_of_parts:
        index, folder = build_index.fn(vectors, ranking, Exact(), 1), tmp_path / vectors.digest
        folder.mkdir()
        train_ranker.fn.__wrapped__(  # type: ignore[attr-defined] # the stage itself, past its artifact
            folder, outcome.log, ranking, bm25, settings, 0, 1, vectors, index, examination
        )
        repeated_bytes.add((folder / "ranker.txt").read_bytes())
    assert len(vectors_of_parts) >= 2
    assert repeated_bytes & trained_bytes


def test_bias_is_treated_as_configured_and_reported(outcome: Outcome) -> None:
    summaries = _ranker_summaries(outcome)
    assert {name: summary["bias"] for name, summary in summaries.items()} == {
        **{"plain": "propensities", "raw": "propensities", "one": "propensities"},
        **{"cosine": "none", "hadamard": "position"},
    }
    assert "position" in summaries["hadamard"]["features"]
    assert "cosine" not in summaries["plain"]["gains"]
    assert set(summaries["raw"]["gains"]) >= {
        "query vector",
        "document vector",
        "bm25",
        "same_city",
        "age_days",
        "kind",
    }
    examination = read_examination(estimate_examination.fn(outcome.log))
    assert (np.diff(examination.rates) <= 1e-12).all()
    assert abs(examination.rates[1] - 0.5) < 4 * examination.errors[1]  # the world's: 1 / position
    page = (outcome.report.folder / "report.md").read_text()
    for text in (
        "## Rankers",
        "rankers.svg",
        "some position bias remains",
        "cosine: nothing is done about",
        "nDCG@10",
    ):
        assert text in page


def test_mlflow_has_a_run_of_each_ranker_with_its_importances(outcome: Outcome) -> None:
    client = MlflowClient()
    runs = client.search_runs([outcome.mlflow_experiment_id], "tags.kind = 'ranker'")
    by_name = {run.data.tags["arm"]: run for run in runs}
    assert set(by_name) == set(RANKERS)
    cosine = by_name["cosine"]
    assert cosine.data.params["embedding"] == "cosine"
    assert cosine.data.tags["bias"] == "none"
    assert cosine.data.metrics["recall_at_10"] == pytest.approx(_level(outcome, "cosine", "recall", 10))
    files = {file.path for folder in ("plots", "model") for file in client.list_artifacts(cosine.info.run_id, folder)}
    assert files == {"plots/importance.png", "model/ranker.txt"}


def test_too_large_a_depth_is_reported_before_anything_is_trained(outcome: Outcome, tmp_path: Path) -> None:
    state = ebr(
        str(_write(tmp_path, rankers={"deep": {"of": "random", "depth": 5000}}, questions={})), return_state=True
    )
    with pytest.raises(InputError, match=r"rankers\.deep\.depth: got 5000, but \d+ documents are alive"):
        state.result()


def test_a_ranker_without_its_arm_is_reported_and_the_others_finish(outcome: Outcome, tmp_path: Path) -> None:
    broken = {"positives": {"source": "impressions"}, "negatives": {"random": 0, "impressions": 2}}
    rankers = {"plain": RANKERS["plain"], "lame": {"of": "broken", "depth": 50}}
    path = _write(tmp_path, rankers=rankers, ensembles={}, questions={}, indexes={})
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {"arms": content["arms"] | {"broken": broken}}))
    state = ebr(str(path), return_state=True)
    assert state.is_failed()
    result = state.result(raise_on_failure=False)
    assert set(result.failures) >= {"lame", "broken, seed 0"}
    assert not any(name.startswith(("plain", "random")) for name in result.failures)
    assert set(_ranker_summaries(result)) == {"plain"}


def test_check_accepts_a_question_about_rankers(tmp_path: Path) -> None:
    described = describe_experiment(_write(tmp_path))
    assert "P34 (no title): can be answered." in described
    unserved = [line for line in described.splitlines() if "measured, not served" in line]
    assert not any(name in line.partition(":")[0] for line in unserved for name in RANKERS)


def test_commands_about_an_arm_use_the_towers_of_the_run(outcome: Outcome, tmp_path: Path) -> None:
    """Rankers halve the validation: a command that sampled all of it would train the arms of the run again."""
    path, towers = _write(tmp_path), sorted(artifacts().glob("train_arm-*"))
    document = pq.read_table(outcome.log.folder / "documents.parquet")["document_id"][0].as_py()
    assert explain_arms(open_arms([f"{path}/random"]), "a query", None, document)
    assert inspect_negatives(str(path), "random", 2)
    assert export_ratings(path, "random", tmp_path / "ratings.csv")
    assert run_audit(path).is_dir()
    assert sorted(artifacts().glob("train_arm-*")) == towers
