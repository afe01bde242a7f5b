"""Ensembles and cascades end to end: reused parts, rows, report, MLflow run, bundle."""

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

from data import extracted_log
from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import REFIT, Experiment
from ebr_core.errors import InputError
from ebr_core.search.ensemble_vectors import concat_queries
from ebr_core.search.nearest import search_index
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.query_towers import EnsembleParts, embed_query_table
from ebr_core.serving.search_query import SearchQuery
from flows.app.check import describe_experiment
from flows.arms import refit_runs, train_run
from flows.ebr import ebr
from flows.sources import extract_log, featurize, sample_searches
from tasks.artifacts import Artifact, artifacts
from tasks.eval_sets import read_sample
from tasks.kinds import Log
from tasks.log_stages import join_validation
from tasks.served_models import bundle_of, models_of
from tasks.tracking.runs import Outcome

pytestmark = pytest.mark.more

SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
CHANGES: dict[str, Any] = {
    "refit": True,
    "ensembles": {
        "both": {"parts": ["random", "impressions"]},
        "again": {"parts": ["random", "random"]},
        "pinned": {"parts": ["random", "random", "impressions"], "weights": [1, 3, 0.25]},
        "one": {"parts": ["random", "impressions"], "weights": [1, 0]},
    },
    "indexes": {"tuned": {"kind": "ivf", "code": "pq8", "refine": True, "target": 0.9}},
    "retrievals": {"quantised": {"arm": "both", "index": "tuned"}},
    "cascades": {
        "deep": {"first": "random", "index": "tuned", "then": "both", "depth": 50},
        "all": {"first": "impressions", "then": "random", "depth": 1000},
        "shallow": {"first": "random", "then": "impressions", "depth": 5},
    },
    "questions": {
        "P21": {"title": "ensemble", "baseline": "random", "arms": ["both", "again", "one", "deep"], "claim": "gain"},
        "P22": {"title": "quantised", "baseline": "both", "arms": ["quantised", "both@tuned"], "claim": "worse"},
    },
}


def _write(folder: Path, **changes: Any) -> Path:
    path = folder / "ensembles.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | CHANGES | changes))
    return path


@pytest.fixture(scope="module")
def outcome(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The smoke experiment with ensembles and cascades, run once."""
    state = ebr(str(_write(tmp_path_factory.mktemp("ensembles"))), return_state=True)
    assert state.is_completed(), state.message
    result = state.result()
    assert isinstance(result, Outcome)
    return result


def _rows(outcome: Outcome) -> list[dict[str, Any]]:
    return pq.read_table(outcome.results.folder / "results.parquet", filters=[("split", "=", "test")]).to_pylist()


def _level(rows: list[dict[str, Any]], arm: str, index: str = "exact", metric: str = "recall", k: int = 10) -> float:
    key = (None, arm, index, "clicked", "all", metric, k)
    names = ("question", "arm", "index", "targets", "slice", "metric", "k")
    return float(next(row["value"] for row in rows if tuple(row[name] for name in names) == key))


def _ensemble_summaries(outcome: Outcome) -> dict[str, dict[str, Any]]:
    return {summary["arm"]: summary for summary in json.loads((outcome.report.folder / "ensembles.json").read_text())}


def test_ensembles_and_cascades_have_rows_as_arms_have(outcome: Outcome) -> None:
    rows = _rows(outcome)
    for name in ("both", "again", "pinned", "one"):
        assert 0 < _level(rows, name) <= 1
        assert 0.7 < _level(rows, name, "tuned", "index_recall") <= 1
    assert {row["arm"] for row in rows if row["question"] == "P21" and row["baseline"]} >= {"both", "again", "deep"}
    assert {row["seed"] for row in rows if row["arm"] == "random" and row["question"] is None} == {0}
    assert _level(rows, "quantised", "tuned") == _level(rows, "both", "tuned")


def test_a_weight_of_0_leaves_the_part_out(outcome: Outcome) -> None:
    rows = _rows(outcome)
    for metric, k in (("recall", 1), ("recall", 10), ("recall", 100), ("ndcg", 10)):
        assert _level(rows, "one", "exact", metric, k) == _level(rows, "random", "exact", metric, k)


def test_a_cascade_is_the_second_model_down_to_its_depth_and_the_first_below_it(outcome: Outcome) -> None:
    rows = _rows(outcome)
    assert _level(rows, "all", "exact", "recall", 10) == _level(rows, "random", "exact", "recall", 10)
    assert _level(rows, "shallow", "exact", "recall", 10) == _level(rows, "random", "exact", "recall", 10)
    assert _level(rows, "shallow", "exact", "recall", 1) != _level(rows, "random", "exact", "recall", 1)
    scanned = {row["arm"]: row["value"] for row in rows if row["metric"] == "scanned" and row["index"] != "exact"}
    assert scanned["deep"] > 50


def test_parts_are_trained_once_and_again_only_with_another_seed(outcome: Outcome) -> None:
    costs = pq.read_table(outcome.report.folder / "costs.parquet").to_pylist()
    train_seconds = {(row["arm"], row["seed"]): row["value"] for row in costs if row["cost"] == "train_s"}
    assert {run for run in train_seconds if run[0] in ("random", "impressions")} == {
        *(("random", 0), ("random", 1), ("impressions", 0))
    }
    assert train_seconds["pinned", 0] == pytest.approx(
        train_seconds["random", 0] + train_seconds["random", 1] + train_seconds["impressions", 0]
    )


def test_validation_chooses_weights_and_the_report_shows_how_flat_it_is(outcome: Outcome) -> None:
    summaries = _ensemble_summaries(outcome)
    assert set(summaries) == {"both", "again", "pinned", "one"}
    assert (summaries["pinned"]["weights"], summaries["pinned"]["chosen"]) == ([1, 3, 0.25], False)
    both = summaries["both"]
    assert both["chosen"]
    assert both["recall"] >= max(both["equal"], *both["alone"][:1], *(value for _, value in both["lines"][0]))
    epochs = [json.loads(path.read_text()) for path in artifacts().glob("train_arm-*/epochs.json")]
    first_trainings = [run for run in epochs if run[0]["validation_recall"] is not None]
    best = {round(max(epoch["validation_recall"] for epoch in run), 9) for run in first_trainings}
    # The recalls that training measured, measured in another way.
    assert {round(value, 9) for value in both["alone"]} <= best
    page = (outcome.report.folder / "report.md").read_text()
    for text in ("## Ensembles", "random 1, random 3, impressions 0.25", "96", "over its best part", "weights.svg"):
        assert text in page


def test_the_champion_is_trained_again_on_the_validation_too(outcome: Outcome) -> None:
    rows, listing = _rows(outcome), models_of("ensembles")
    champion = listing["champion"]
    name = champion + REFIT
    levels = [row for row in rows if row["arm"].endswith(REFIT)]
    assert {(row["arm"], row["index"]) for row in levels} == {
        *((name, "exact"), (name, "tuned"), ("memory+refit", "none"), ("popularity+refit", "none"))
    }
    assert {row["question"] for row in levels} == {None}
    refits = json.loads((outcome.report.folder / "checks.json").read_text())["refits"]
    for refit in refits:
        if refit["targets"] == "clicked" and refit["arm"] == name:
            assert refit["difference"] == pytest.approx(_level(rows, name) - _level(rows, champion))
    assert {refit["of"] for refit in refits} == {champion, "memory", "popularity"}
    assert f"{name} − {champion}" in (outcome.report.folder / "report.md").read_text()
    bundle = open_bundle(bundle_of(listing, None))
    assert bundle.name == name
    if isinstance(bundle.towers, EnsembleParts):
        assert list(bundle.towers.weights) == _ensemble_summaries(outcome)[champion]["weights"]
    (run,) = MlflowClient().search_runs([outcome.mlflow_experiment_id], "tags.kind = 'refit'")
    assert run.data.tags["refit_of"] == champion
    assert run.data.metrics["recall_at_10"] == pytest.approx(_level(rows, name))


def test_a_refit_takes_the_epochs_that_validation_chose_on_both_parts_and_nothing_later(outcome: Outcome) -> None:
    logs = [Log(Artifact(stage="join_validation", digest=_digest(path))) for path in _folders("join_validation")]
    searches = [id for _, id in _columns(outcome.log, "search_row", "search_id")]
    (joined,) = (log for log in logs if [id for _, id in _columns(log, "search_row", "search_id")] == searches)
    split = dict(_columns(outcome.log, "search_row", "split"))
    for log, parts in ((outcome.log, {"train"}), (joined, {"train", "validation"})):
        assert {split[row] for row in extracted_log.read_shown(log.folder).search_rows.tolist()} == parts
    assert [row for row, part in split.items() if part == "test"] == [
        row for row, part in _columns(joined, "search_row", "split") if part == "test"
    ]
    checks = json.loads((outcome.report.folder / "audit.json").read_text())["leaks"]
    statuses = {check["status"] for check in checks if check["check"].endswith("of the refit")}
    assert statuses == {"clean"}
    lengths = set()
    for folder in _folders("train_arm"):
        epochs = json.loads((folder / "epochs.json").read_text())
        if epochs[-1]["validation_recall"] is None:
            lengths.add((len(epochs), json.loads((folder / "trials.json").read_text())["validation_recall"]["0"]))
    first = [json.loads((folder / "epochs.json").read_text()) for folder in _folders("train_arm")]
    best = {
        (max(run, key=lambda epoch: epoch["validation_recall"])["epoch"], max(e["validation_recall"] for e in run))
        for run in first
        if run[-1]["validation_recall"] is not None
    }
    assert lengths
    assert lengths <= best


def test_a_refit_makes_the_arms_again_that_an_arm_starts_from_and_mines(outcome: Outcome, tmp_path: Path) -> None:
    small = {"towers": {"dimensions": 8}, "training": {"epochs": 2, "batch_size": 512}, "mining": {"keep": 2}}
    mined = {"mine_from": "plain", "start_from": "plain", "negatives": {"random": 2, "offline_hard": 1}}
    path = tmp_path / "chain.yaml"
    content = {"logs": yaml.safe_load(SMOKE.read_text())["logs"], "evaluation": {"validation_searches": 50}}
    path.write_text(yaml.safe_dump(content | {"arms": {"base": small, "plain": {}, "chain": mined}}))
    spec = load_experiment(path)
    source = extract_log(spec)
    features, validation = featurize(spec, source), sample_searches(spec, source).validation
    first = train_run(spec, source, features, validation, ("chain", 0)).towers
    joined = source._replace(log=join_validation.fn(source.log))
    arms = refit_runs(spec, joined, featurize(spec, joined), [("chain", 0)], first)
    assert set(arms.towers) == set(first) == {("plain", 0), ("chain", 0)}
    assert not set(arms.towers.values()) & set(first.values())
    split = dict(_columns(source.log, "search_row", "split"))
    mined_rows = pq.read_table(arms.mined_negatives["chain", 0].folder / "mined.parquet")["search_row"].to_pylist()
    assert {split[row] for row in mined_rows} == {"train", "validation"}


def _folders(stage: str) -> list[Path]:
    return list(artifacts().glob(f"{stage}-*"))


def _digest(folder: Path) -> str:
    return folder.name.partition("-")[2]


def _columns(log: Artifact, *names: str) -> list[tuple[Any, ...]]:
    table = pq.read_table(log.folder / "searches.parquet", columns=list(names))
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_mlflow_has_a_run_of_each_ensemble_and_cascade(outcome: Outcome) -> None:
    client, experiment_ids = MlflowClient(), [outcome.mlflow_experiment_id]
    runs = [
        run for kind in ("ensemble", "cascade") for run in client.search_runs(experiment_ids, f"tags.kind = '{kind}'")
    ]
    by_name = {run.data.tags["arm"]: run for run in runs}
    assert set(by_name) == {"both", "again", "pinned", "one", "deep", "all", "shallow"}
    assert by_name["pinned"].data.params["towers.dimensions"] == "96"
    assert by_name["pinned"].data.metrics["weight.2.impressions"] == 0.25
    assert by_name["both"].data.metrics["recall_at_10"] == pytest.approx(_level(_rows(outcome), "both"))


def test_a_bundle_of_an_ensemble_answers_by_all_its_parts(outcome: Outcome) -> None:
    listing = models_of("ensembles")
    assert set(listing["models"]) == {"random", "impressions", "both", "again", "pinned", "one"}
    best = max(listing["models"].values(), key=lambda model: model["validation_recall"])
    assert listing["models"][listing["champion"]]["validation_recall"] == best["validation_recall"]
    folder = bundle_of(listing, "pinned")
    bundle = open_bundle(folder)
    assert isinstance(bundle.towers, EnsembleParts)
    assert bundle.towers.weights == (1, 3, 0.25)
    canaries = pq.read_table(folder / "canaries.parquet")
    vectors = np.stack(canaries["vector"].to_pylist()).astype(np.float32)
    parts = [embed_query_table(model, canaries.drop_columns("vector")) for model in bundle.towers.models]
    np.testing.assert_allclose(concat_queries(parts, (1, 3, 0.25)), vectors, atol=1e-5)
    nearest, _ = search_index(bundle.built_index, vectors, 3)
    for i, row in enumerate(canaries.drop_columns("vector").to_pylist()[:5]):
        hits = answer(bundle, SearchQuery.model_validate({**row, "k": 3, "mode": "ebr"}))
        assert [hit.document_id for hit in hits] == bundle.documents["document_id"].take(nearest[i]).to_pylist()


@pytest.mark.parametrize("file", ["towers/ensemble.json", "towers/1/towers.safetensors"])
def test_a_bundle_with_another_weight_or_part_does_not_open(outcome: Outcome, tmp_path: Path, file: str) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(bundle_of(models_of("ensembles"), "pinned"), folder)
    path = folder / file
    path.write_bytes(path.read_bytes().replace(b"0.25", b"0.75") + (b"" if path.suffix == ".json" else b" "))
    with pytest.raises(InputError, match="the index belongs to towers"):
        open_bundle(folder)


def test_a_part_that_cannot_be_trained_is_reported_and_the_others_finish(outcome: Outcome, tmp_path: Path) -> None:
    content = yaml.safe_load(SMOKE.read_text()) | CHANGES
    broken = {"positives": {"source": "impressions"}, "negatives": {"random": 0, "impressions": 2}}
    arms = content["arms"] | {"broken": broken}
    ensembles = CHANGES["ensembles"] | {"lame": {"parts": ["random", "broken"]}}
    path = _write(tmp_path, arms=arms, ensembles=ensembles)
    state = ebr(str(path), return_state=True)
    assert state.is_failed()
    failures = state.result(raise_on_failure=False).failures
    assert "its part broken, seed 0, could not be trained" in failures["lame, seed 0"]
    assert "negatives.impressions" in failures["lame, seed 0"]
    assert not any(name.startswith(("both", "random")) for name in failures)


def test_check_names_the_runs_that_ensembles_add(outcome: Outcome, tmp_path: Path) -> None:
    assert "and again for ensembles: random, seed 1." in describe_experiment(_write(tmp_path))


def test_an_index_must_fit_the_dimensions_of_all_arms(tmp_path: Path) -> None:
    path = _write(tmp_path, indexes={"tuned": {"kind": "ivf", "code": "pq64", "target": 0.9}})
    with pytest.raises(InputError, match="code pq64 does not divide the 32 dimensions"):
        load_experiment(path)
    experiment: Experiment = load_experiment(_write(tmp_path))
    assert experiment.dimensions == [32, 64, 96]


def test_ensemble_vectors_have_unit_length_and_all_dimensions(outcome: Outcome) -> None:
    alive = len(read_sample(outcome.sample).candidates)
    shapes = set()
    for folder in artifacts().glob("concat_vectors-*"):
        vectors = Artifact(stage="concat_vectors", digest=folder.name.partition("-")[2])
        documents, queries = (np.load(vectors.folder / f"{side}.npy") for side in ("documents", "queries"))
        np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-5)
        assert documents.shape[1] == queries.shape[1]
        assert len(documents) >= alive
        shapes.add(documents.shape[1])
    assert shapes == {64, 96}
