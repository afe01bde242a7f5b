"""The flow end to end on a real Prefect server, real MLflow on SQLite, real files."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow.tracking import MlflowClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.client.schemas.sorting import TaskRunSort
from rich.console import Console

from data.experiment.experiment_file import load_experiment
from ebr_core.errors import InputError
from ebr_core.measure.intervals import FEW_CLUSTERS
from ebr_core.measure.verdicts import verdict
from ebr_core.search.modes import MODES, Mode, arm_of_row, row_of
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.search_query import SearchQuery
from flows.app.json_output import without_nan
from flows.app.results_table import show, show_tuning
from flows.app.run_document import describe_run
from flows.ebr import ebr
from flows.tune import tune
from tasks.artifacts import Artifact
from tasks.eval_sets import read_sample
from tasks.home import home
from tasks.kinds import EvalSet, Log, RunResults
from tasks.looks import count_look
from tasks.report.recommendation import champion_difference, served_levels
from tasks.report.result import read
from tasks.retrieval_stages import retrieve_baseline
from tasks.retrieved import Retrieved, load_retrieved
from tasks.served_models import bundle_of, models_of
from tasks.tracking.runs import Outcome
from tests.documented_keys import refuse_undocumented
from tests.flows.served_answers import check_answers

SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"


def _write(folder: Path, **changes: Any) -> Path:
    content = yaml.safe_load(SMOKE.read_text())
    content["arms"] |= changes.pop("arms", {})
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def _rows(outcome: Outcome, split: str = "test") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(outcome.results.folder / "results.parquet").to_pylist()
    return [row for row in rows if row["split"] == split]


def _run(path: Path) -> tuple[Any, list[TaskRun]]:
    """The state of a run and its task runs, as stored by the server."""
    from prefect import get_client

    state = ebr(str(path), return_state=True)
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id])),
            sort=TaskRunSort.NAME_ASC,
            limit=200,
        )
    return state, runs


def _write_production(path: Path) -> None:
    """A TREC run of the engine of the smoke experiment's world: what its log shows, in the order of the positions."""
    from data.experiment.experiment_file import load_experiment
    from tasks.log_stages import simulate_log

    world = simulate_log.fn(load_experiment(SMOKE).logs.world)
    shown = pq.read_table(world.folder / "results").to_pylist()
    lines = [f"{row['search_id']} Q0 {row['document_id']} {row['position']} 0 production\n" for row in shown]
    path.write_text("".join(lines))


@pytest.fixture(scope="module")
def first(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """The smoke experiment with a ranked list of the engine, run once."""
    folder, smoke = tmp_path_factory.mktemp("smoke"), yaml.safe_load(SMOKE.read_text())
    _write_production(folder / "production.run")
    engine = {"title": "the engine of today", "baseline": "popularity", "claim": "gain"}
    path = _write(
        folder,
        lists={"production": "production.run"},
        cascades={"second-look": {"first": "random", "then": "impressions", "index": "tuned", "depth": 6}},
        retrievals=smoke["retrievals"] | {"both": {"arm": "random", "lists": ["logged", "production"]}},
        questions=smoke["questions"] | {"E1": engine | {"arms": ["logged", "production", "both", "bm25"]}},
    )
    state, _ = _run(path)
    assert state.is_completed()
    return path, state.result()


def test_the_run_as_json_has_the_figures_of_the_files_and_documented_keys(first: tuple[Path, Outcome]) -> None:
    found = json.loads(json.dumps(without_nan(describe_run(first[1], None))))
    refuse_undocumented(found)
    served = first[1].served
    assert served is not None
    assert found["champion"]["model"] == f"{first[1].experiment}/{served.arm}"
    wanted = (None, found["targets"], "all", "recall", 10)
    keys = ("question", "targets", "slice", "metric", "k")
    rows = {(row["arm"], row["index"]): row for row in _rows(first[1]) if tuple(row[key] for key in keys) == wanted}
    assert found["bm25"] == rows["bm25", "none"]["value"]
    for row in found["rows"]:
        assert row["value"] == rows[row["row"], row["index"]]["value"]
    assert {"random", "impressions"} <= {row["row"] for row in found["rows"] if row["validation"] is not None}
    assert {answer["question"] for answer in found["questions"]} >= {"P31", "P02", "bm25"}


def test_the_table_holds_every_arm_and_baseline(first: tuple[Path, Outcome]) -> None:
    rows = _rows(first[1])
    plain = [row for row in rows if row["question"] is None and row["targets"] == "clicked" and row["slice"] == "all"]
    oracles = {"oracle-text", "oracle-place", "oracle-everything"}
    lists = {"boolean", "ebr", "hybrid", "pages", "recent", "triggered", "both", "second-look"}
    hybrids = {row_of(arm, mode) for arm in ("random", "impressions") for mode in MODES}
    assert {row["arm"] for row in plain} == {
        "popularity",
        "bm25",
        "memory",
        "logged",
        "production",
    } | oracles | lists | hybrids
    exact, tuned = (
        next(row for row in plain if (row["arm"], row["index"], row["metric"]) == ("random", index, "scanned"))
        for index in ("exact", "tuned")
    )
    assert tuned["value"] < exact["value"]
    for row in plain:
        if row["metric"] == "coverage":  # of all searches together: it has no interval
            assert np.isnan(row["low"])
            assert 0 < row["value"] <= 1
        else:
            assert -1 <= row["low"] <= row["value"] <= row["high"]
            assert row["high"] <= 1 or row["metric"] in ("scanned", "returned")
    for arm in ("random", "popularity"):  # recall never falls as K grows
        values = [
            row["value"]
            for row in plain
            if (row["arm"], row["index"], row["metric"]) == (arm, row["index"], "recall")
            and row["index"] in ("exact", "none")
        ]
        assert values == sorted(values)
    for question, metric in (("P26", "index_recall"), ("P28", "scanned")):  # of one arm through two indexes
        level = {
            row["index"]: row["value"]
            for row in plain
            if (row["arm"], row["metric"]) == ("random", metric) and row["k"] in (10, None)
        }
        key = (question, "random@tuned", "all", "clicked")
        comparison = next(r for r in rows if (r["question"], r["arm"], r["slice"], r["targets"]) == key)
        assert (comparison["index"], comparison["baseline"]) == ("tuned", "random@ivfpq")
        assert comparison["difference"] == pytest.approx(level["tuned"] - level["ivfpq"])
    answers = [row for row in rows if row["question"] == "P02" and row["baseline"] and row["slice"] == "all"]
    by_arm = {
        row["arm"]: row["value"]
        for row in plain
        if row["metric"] == "recall" and row["k"] == 10 and row["index"] == "exact"
    }
    for row in answers:
        if row["targets"] == "clicked":
            assert row["difference"] == pytest.approx(by_arm["impressions"] - by_arm["random"])
        if row["clusters"] < FEW_CLUSTERS:
            assert (row["verdict"], row["small"]) == ("too few", True)
            assert np.isnan([row["low"], row["high"], row["difference_low"], row["family_high"]]).all()
            continue
        assert row["family_low"] <= row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert (row["claim"], row["training_noise"], row["seeds"]) == ("worse", False, 1)
        assert row["open_because"] is None  # both arms have converged
        assert row["verdict"] == verdict("worse", row["family_low"], row["family_high"], row["margin"])


def test_nothing_is_decided_about_the_engine_on_clicks_that_it_caused(first: tuple[Path, Outcome]) -> None:
    """The engine is better than popularity by any measure; clicks must not say so, truth must."""
    rows = _rows(first[1])
    answers = {
        (row["targets"], row["arm"]): row
        for row in rows
        if row["question"] == "E1" and row["baseline"] and row["slice"] == "all"
    }
    for arm in ("logged", "production", "both"):
        clicked, truth = answers["clicked", arm], answers["truth", arm]
        assert clicked["family_low"] > 0
        assert (clicked["verdict"], clicked["finding"]) == ("undecided", "unclear")
        assert "by construction" in clicked["open_because"]
        if arm != "both":  # whose arm ended by the cap
            assert (truth["verdict"], truth["open_because"]) == ("holds", None)
    assert answers["clicked", "bm25"]["verdict"] == "holds"
    checks = json.loads((first[1].results.folder / "checks.json").read_text())
    match = checks["lists"]["production"]
    assert (match["shown"], match["not_alive"], match["file"]["left_out"]) == (1, 0, [])
    assert checks["lists"]["logged"]["file"] is None
    page = (first[1].report.folder / "report.md").read_text()
    assert "favours the engine that showed the results" in page
    assert answers["clicked", "logged"]["open_because"] in checks["undecidable"]["logged"].values()


def test_the_unseen_share_is_that_of_the_log(first: tuple[Path, Outcome]) -> None:
    """unseen@10 of popularity in a loop over the extracted tables; what the engine showed was seen."""
    outcome = first[1]
    tables = {
        name: pq.read_table(outcome.log.folder / f"{name}.parquet").to_pylist() for name in ("searches", "results")
    }
    query_of = [row["query_row"] for row in tables["searches"]]
    seen = {(query_of[row["search_row"]], row["document_row"]) for row in tables["results"]}
    sample = read_sample(outcome.sample)
    at = sample.for_targets("clicked")[0]["at"]
    retrieved = load_retrieved(retrieve_baseline.fn(outcome.log, outcome.sample, "popularity", 100))
    assert isinstance(retrieved, Retrieved)
    shares = [
        np.mean(
            [(sample.searches["query_row"][search], row) not in seen for row in retrieved.rows[search, :10].tolist()]
        )
        for search in at.tolist()
    ]
    unseen = {
        row["arm"]: row["value"]
        for row in _rows(outcome)
        if (row["question"], row["metric"], row["targets"], row["slice"]) == (None, "unseen", "clicked", "all")
    }
    assert unseen["popularity"] == pytest.approx(np.mean(shares))
    assert unseen["logged"] == unseen["production"] == 0


def test_every_row_but_the_oracles_has_its_validation_recall(first: tuple[Path, Outcome]) -> None:
    validation = _rows(first[1], "validation")
    assert {row["arm"] for row in validation} == {
        row["arm"] for row in _rows(first[1]) if row["question"] is None and not row["arm"].startswith("oracle")
    }
    assert {row["slice"] for row in validation} == {"all"}
    recalls = {
        row["arm"]: row["value"]
        for row in validation
        if (row["metric"], row["k"], row["targets"], row["index"]) == ("recall", 10, "clicked", "exact")
    }
    folders = first[1].log.folder.parent.glob("train_arm-*")  # other tests train in this home, too
    epochs = [json.loads((folder / "epochs.json").read_text()) for folder in folders]
    best = {round(max(epoch["validation_recall"] for epoch in run), 9) for run in epochs}
    assert {round(recalls["random"], 9), round(recalls["impressions"], 9)} <= best


@pytest.mark.parametrize("arm", ["random", "impressions"])
@pytest.mark.parametrize("mode", MODES)
def test_a_bundle_answers_with_the_list_of_its_row(first: tuple[Path, Outcome], arm: str, mode: Mode) -> None:
    """Through the served index, ties included: the recall of its answers is that of the row, and so are the hits."""
    bundle = open_bundle(bundle_of(models_of("experiment"), arm))
    check_answers(first[1], bundle, mode, row_of(arm, mode), "tuned")


def test_the_bundle_of_a_cascade_answers_with_the_list_of_its_row(first: tuple[Path, Outcome]) -> None:
    """Behind its depth, too: it reorders fewer documents than are compared."""
    bundle = open_bundle(bundle_of(models_of("experiment"), "second-look"))
    assert (bundle.mode, bundle.modes) == ("reranked", (*MODES, "reranked", "boolean", "bm25", "logged"))
    check_answers(first[1], bundle, None, "second-look", "tuned")
    check_answers(first[1], bundle, "ebr", "random", "tuned")  # the list that it reorders
    hits = answer(bundle, SearchQuery(query="walks", k=20))
    scores = [hit.score for hit in hits]
    assert scores[:6] == sorted(scores[:6], reverse=True)
    assert scores[6:] == pytest.approx([hit.cosine for hit in hits[6:]], abs=1e-6)
    with pytest.raises(InputError, match="mode: random has no reranked; its modes are ebr, hybrid, weighted, boolean"):
        answer(open_bundle(bundle_of(models_of("experiment"), "random")), SearchQuery(query="walks", mode="reranked"))


def test_the_row_with_the_best_validation_recall_is_served(first: tuple[Path, Outcome]) -> None:
    outcome, listing = first[1], models_of("experiment")
    recalls = {
        row["arm"]: row["value"]
        for row in _rows(outcome, "validation")
        if (row["metric"], row["k"], row["targets"]) == ("recall", 10, "clicked")
        if arm_of_row(row["arm"])[0] in ("random", "impressions", "second-look")
    }
    assert outcome.served is not None
    assert recalls[outcome.served.row] == pytest.approx(max(recalls.values()))
    assert outcome.served.recall == pytest.approx(recalls[outcome.served.row])
    assert (listing["champion"], listing["models"][listing["champion"]]["mode"]) == (
        outcome.served.arm,
        outcome.served.mode,
    )
    assert open_bundle(bundle_of(listing, None)).mode == outcome.served.mode
    page = (outcome.report.folder / "report.md").read_text()
    assert f"answer with `{outcome.served.row}` through the index tuned" in page
    assert f"{outcome.served.row} (served)" in page
    assert "validation recall@10" in page
    assert "has been looked at once" in page
    console = Console(width=200, record=True, file=io.StringIO())
    show(outcome, load_experiment(first[0]), console)
    text = console.export_text()
    assert "validation recall@10" in text
    assert "(served)" in text


def test_looks_at_the_test_are_counted_by_their_results(first: tuple[Path, Outcome]) -> None:
    outcome = first[1]
    other = RunResults(Artifact(stage="evaluate", digest="other"))
    log, sample = Log(Artifact(stage="extract", digest="l")), EvalSet(Artifact(stage="sample", digest="s"))
    looks = [count_look(log, sample, results) for results in (outcome.results, other, outcome.results, other)]
    assert looks == [1, 2, 1, 2]
    assert count_look(log, outcome.sample, other) == 1


def test_tuning_shows_nothing_of_the_test(first: tuple[Path, Outcome]) -> None:
    """The same validation figures as the run, no test list, no look at the test."""
    looks = {path: path.read_text() for path in (home() / "test-looks").iterdir()}
    state = tune(str(first[0]), return_state=True)
    assert state.is_completed(), state.message
    tuning = state.result()
    rows = pq.read_table(tuning.results.folder / "results.parquet").to_pylist()
    assert str(rows) == str(_rows(first[1], "validation"))  # as text, in which NaN equals NaN
    assert {path: path.read_text() for path in (home() / "test-looks").iterdir()} == looks
    console = Console(width=200, record=True, file=io.StringIO())
    show_tuning(tuning, load_experiment(first[0]), console)
    text = console.export_text()
    assert "validation searches" in text
    assert "random+bm25-weighted" in text
    for word in ("test", "oracle", "ceiling", "truth", "holds", "undecided"):
        assert word not in text


def test_per_search_means_are_the_results(first: tuple[Path, Outcome]) -> None:
    folder = first[1].results.folder
    per_search = pq.read_table(folder / "per_search.parquet").to_pandas()
    rows = _rows(first[1])
    for row in rows:
        if row["question"] is None and row["slice"] == "all" and row["metric"] == "mrr":
            values = per_search.query(
                "arm == @row['arm'] and index == @row['index'] and targets == @row['targets'] and metric == 'mrr'"
            )
            assert values["value"].mean() == pytest.approx(row["value"])
            assert len(values) == row["n"]


def test_mlflow_mirrors_the_files(first: tuple[Path, Outcome]) -> None:
    outcome = first[1]
    client = MlflowClient()
    runs = client.search_runs(
        [outcome.mlflow_experiment_id], "metrics.recall_at_10 > 0 and tags.`question.P02` = 'arm'"
    )
    assert [run.data.tags["arm"] for run in runs] == ["impressions"]
    run = runs[0]
    assert run.data.params["negatives.impressions"] == "2"
    assert run.data.tags["mlflow.parentRunId"] == outcome.mlflow_run_id
    rows = _rows(outcome)
    recall = next(
        row["value"]
        for row in rows
        if (row["question"], row["arm"], row["index"], row["targets"], row["slice"], row["metric"], row["k"])
        == (None, "impressions", "exact", "clicked", "all", "recall", 10)
    )
    assert run.data.metrics["recall_at_10"] == pytest.approx(recall)
    course = client.get_metric_history(run.info.run_id, "epoch/validation_recall")
    assert [metric.step for metric in course] == list(range(1, len(course) + 1))
    assert max(metric.value for metric in course) == max(metric.value for metric in course[:-2])  # patience is 2
    assert run.data.tags["training_ended"] == "patience"
    verdicts = {row["targets"]: row["verdict"] for row in rows if row["question"] and row["verdict"]}
    assert run.data.tags["verdict.P02"] == verdicts["truth"]
    assert run.data.tags["verdict.P02.clicked"] == verdicts["clicked"]
    assert (run.data.tags["kind"], run.data.tags["seed"]) == ("arm", "0")
    arm = load_experiment(first[0]).arms["impressions"]
    params = run.data.params
    assert params["negatives.random"] == str(arm.negatives.random)
    assert params["training.epochs"] == str(arm.training.epochs)  # which the file does not name
    assert params["loss.kind"] == arm.loss.kind
    assert {"positives.source", "text.buckets", "towers.dimensions", "training.patience", "seed"} <= set(params)
    assert run.data.metrics["Answer/recall_at_10"] == run.data.metrics["truth/recall_at_10"]
    sections = sorted({name.partition("/")[0] for name in run.data.metrics if "/" in name})
    assert sections[0] == "Answer"  # which MLflow shows first, because it sorts them so
    parent = client.get_run(outcome.mlflow_run_id)
    assert parent.data.tags["verdict.P02"] == verdicts["truth"]
    assert "P02" in parent.data.tags["mlflow.note.content"]
    page = Path(mlflow.artifacts.download_artifacts(f"runs:/{outcome.mlflow_run_id}/report/report.html"))
    assert page.read_bytes() == (outcome.report.folder / "report.html").read_bytes()
    assert parent.inputs.dataset_inputs[0].dataset.digest == outcome.log.digest


def test_the_run_itself_says_what_the_report_begins_with(first: tuple[Path, Outcome]) -> None:
    outcome, client = first[1], MlflowClient()
    result = read(outcome.report.folder)
    difference, bm25 = champion_difference(result, "bm25"), served_levels(result)["bm25"]
    assert difference is not None
    run = client.get_run(outcome.mlflow_run_id)
    metrics = run.data.metrics
    assert metrics["Answer/recall_at_10"] == pytest.approx(served_levels(result)[str(result.champion)])
    assert metrics["Answer/bm25_recall_at_10"] == pytest.approx(bm25)
    gain = metrics["Answer/difference_to_bm25"]
    assert gain == pytest.approx(difference.difference)
    assert metrics["Answer/difference_to_bm25_low"] < gain < metrics["Answer/difference_to_bm25_high"]
    assert run.data.tags["verdict"] in ("better", "worse", "tie", "unclear", "not decided")
    assert run.data.tags["answer"].startswith(("Use ", "**Use"))


def test_the_champion_of_a_run_is_registered_once_with_its_description(first: tuple[Path, Outcome]) -> None:
    outcome, client = first[1], MlflowClient()
    listing = models_of(outcome.experiment)
    versions = client.search_model_versions(f"name = '{outcome.experiment}'")
    of_champion = [v for v in versions if v.tags["bundle"] == bundle_of(listing, None).name]
    assert len(of_champion) == 1  # however often the experiment has run here
    assert "Use `" in str(of_champion[0].description)
    assert f"by `{outcome.experiment}`" in str(of_champion[0].description)
    aliases = client.get_registered_model(outcome.experiment).aliases
    assert set(aliases) == {"champion", "last_run"}
    model = client.get_model_version_by_alias(outcome.experiment, "champion")
    assert client.get_logged_model(str(model.source).removeprefix("models:/")).tags["bundle"] == model.tags["bundle"]
    assert model.tags["arm"] == listing["champion"]


def test_the_report_is_read_on_prefects_page_from_any_machine(first: tuple[Path, Outcome]) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    outcome = first[1]
    with get_client(sync_client=True) as client:
        by_key = {
            key: client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
            for key in ("report", "report-page")
        }
    texts = [str(artifact.data) for artifact in by_key["report"] if outcome.mlflow_run_id in str(artifact.data)]
    assert len(texts) == 1
    assert "## Versions" in texts[0]  # the last section
    assert ".svg" not in texts[0]  # which Prefect does not have
    links = [str(artifact.data) for artifact in by_key["report-page"] if outcome.mlflow_run_id in str(artifact.data)]
    assert len(links) == 1
    assert "](http://127.0.0.1:5000/#/experiments/" in links[0]
    assert "file://" not in texts[0] + links[0]


def test_runs_of_one_file_have_different_names(first: tuple[Path, Outcome]) -> None:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        names = [run.name for run in client.read_flow_runs(limit=200) if run.name.startswith("experiment ")]
    assert names
    assert len(set(names)) == len(names)


def test_a_hybrid_has_its_figures_in_a_run_inside_that_of_its_arm(first: tuple[Path, Outcome]) -> None:
    outcome, client = first[1], MlflowClient()
    runs = client.search_runs([outcome.mlflow_experiment_id], "tags.kind = 'hybrid'")
    inside = f"tags.kind = 'arm' and tags.`mlflow.parentRunId` = '{outcome.mlflow_run_id}'"
    arms = {run.info.run_id: run for run in client.search_runs([outcome.mlflow_experiment_id], inside)}
    hybrids = [run for run in runs if run.data.tags["mlflow.parentRunId"] in arms]  # of this run of the flow
    assert sorted(run.data.tags["arm"] for run in hybrids) == sorted(
        row_of(arm, mode) for arm in ("random", "impressions") for mode in MODES if mode != "ebr"
    )
    recalls = {
        row["arm"]: row["value"]
        for row in _rows(outcome)
        if (row["question"], row["targets"], row["slice"], row["metric"], row["k"], row["index"])
        == (None, "clicked", "all", "recall", 10, "exact")
    }
    for run in hybrids:
        arm, mode = arm_of_row(run.data.tags["arm"])
        assert arms[run.data.tags["mlflow.parentRunId"]].data.tags["arm"] == run.data.tags["of"] == arm
        assert run.data.params == {"mode": mode, "seed": "0"}
        assert run.data.metrics["recall_at_10"] == pytest.approx(recalls[run.data.tags["arm"]])
        assert client.list_artifacts(run.info.run_id) == []
    note = client.get_run(outcome.mlflow_run_id).data.tags["mlflow.note.content"]
    assert "searchFilter=tags.kind%20%3D%20%27arm%27" in note


def test_the_report_shows_searches_that_the_champion_won_and_lost(first: tuple[Path, Outcome]) -> None:
    outcome = first[1]
    examples = json.loads((outcome.report.folder / "examples.json").read_text())
    run = json.loads((outcome.report.folder / "run.json").read_text())
    per_search = pq.read_table(outcome.results.folder / "per_search.parquet").to_pandas()
    recall = per_search.query("targets == 'truth' and metric == 'recall' and k == 10 and index in ['tuned', 'none']")
    recalls = recall.pivot_table("value", "search_row", "arm")  # through the index that answers
    difference = recalls[run["champion"]] - recalls["bm25"]
    assert examples["arms"] == [run["champion"], "bm25"]
    assert (examples["won"], examples["lost"]) == ((difference > 0).sum(), (difference < 0).sum())
    assert len(examples["lists"]["won, at random"]) == min(20, examples["won"]) > 0  # each query once
    titles = pq.read_table(outcome.log.folder / "documents.parquet")["title"].to_pylist()
    for name, searches in examples["lists"].items():
        for search in searches:
            won = search["recall"][0] > search["recall"][1]
            assert won == name.startswith("won")
            assert {*search["targets"]} <= {*titles}
            for recall_of_list, documents in zip(search["recall"], search["retrieved"], strict=True):
                hits = [title for _, title, is_hit in documents if is_hit]
                assert bool(hits) == (recall_of_list > 0)
                assert all(title in search["targets"] for title in hits) or search["more_targets"]
    page = (outcome.report.folder / "report.html").read_text()
    assert f"<strong>Use <code>{run['champion']}</code> through the index <code>tuned</code>: it finds" in page
    client = MlflowClient()
    note = client.get_run(outcome.mlflow_run_id).data.tags["mlflow.note.content"]
    assert "Searches to look at" not in note  # the words of searchers are in the report alone


def test_the_logged_model_embeds_queries_as_the_run_did(first: tuple[Path, Outcome]) -> None:
    outcome = first[1]
    models = mlflow.search_logged_models([outcome.mlflow_experiment_id], output_format="list")
    model = mlflow.pyfunc.load_model(models[0].model_uri)
    searches = pq.read_table(outcome.sample.folder / "searches.parquet")
    queries = pq.read_table(outcome.log.folder / "queries.parquet")["query"].take(searches["query_row"]).to_pylist()
    frame = pd.DataFrame({"query": queries[:20]})
    vectors = np.stack(model.predict(frame, params={"output": "vector"})["vector"])
    candidates = [np.load(path)[:20] for path in outcome.log.folder.parent.glob("embed_texts-*/queries.npy")]
    # Other tests train in this home, too.
    same_shape = [candidate for candidate in candidates if candidate.shape == vectors.shape]
    assert any(np.allclose(vectors, candidate, atol=1e-6) for candidate in same_shape)
    answers = model.predict(frame, params={"k": 3, "mode": "ebr"})
    champion = open_bundle(bundle_of(models_of("experiment"), None))
    for query, ids in zip(queries[:20], answers["document_ids"], strict=True):
        assert [hit.document_id for hit in answer(champion, SearchQuery(query=query, k=3, mode="ebr"))] == list(ids)


def test_an_added_arm_trains_alone(first: tuple[Path, Outcome], tmp_path: Path) -> None:
    path = _write(tmp_path, arms={"more": {"negatives": {"random": 7}}})
    state, runs = _run(path)
    assert state.is_completed()
    states = {run.name: run.state_name for run in runs}
    assert {name: state for name, state in states.items() if name.startswith("train ")} == {
        "train impressions, seed 0": "Cached", "train more, seed 0": "Completed", "train random, seed 0": "Cached"
    }  # fmt: skip
    earlier_stages = (
        "simulate log",
        "extract log",
        "turn texts and columns into features",
        "sample searches for the test",
    )
    assert {states[name] for name in earlier_stages} == {"Cached"}
    assert not [name for name in states if "_" in name]  # words, and nothing that Prefect made up


def test_a_second_run_gives_the_same_bytes(first: tuple[Path, Outcome]) -> None:
    from tasks.artifacts import artifacts

    contents = {
        name: (first[1].results.folder / name).read_bytes() for name in ("results.parquet", "per_search.parquet")
    }
    moved_folder = artifacts().with_name("set-aside")
    artifacts().rename(moved_folder)
    try:
        state, _ = _run(first[0])
        folder = state.result().results.folder
        assert {name: (folder / name).read_bytes() for name in contents} == contents
    finally:
        shutil.rmtree(artifacts())
        moved_folder.rename(artifacts())


def test_a_failing_arm_is_reported_and_the_others_finish(first: tuple[Path, Outcome], tmp_path: Path) -> None:
    # If every impression is a positive, none is left as a negative.
    broken = {"positives": {"source": "impressions"}, "negatives": {"random": 0, "impressions": 2}}
    path = _write(tmp_path, arms={"broken": broken})
    state, _ = _run(path)
    assert state.is_failed()
    outcome = state.result(raise_on_failure=False)
    assert "negatives.impressions" in outcome.failures["broken, seed 0"]
    rows = _rows(outcome)
    assert "impressions" in {row["arm"] for row in rows}
    failed = MlflowClient().search_runs([outcome.mlflow_experiment_id], "attributes.status = 'FAILED'")
    assert {run.data.tags.get("arm", run.data.tags["kind"]) for run in failed} == {"broken", "experiment"}


def test_no_arms_is_a_valid_experiment(first: tuple[Path, Outcome], tmp_path: Path) -> None:
    content = yaml.safe_load(SMOKE.read_text()) | {"arms": {}, "questions": {}, "indexes": {}, "retrievals": {}}
    path = tmp_path / "baselines.yaml"
    path.write_text(yaml.safe_dump(content))
    state, _ = _run(path)
    assert state.is_completed()
    rows = _rows(state.result())
    assert {"popularity", "bm25", "memory"} <= {row["arm"] for row in rows}


def test_nothing_of_later_periods_reaches_training(first: tuple[Path, Outcome]) -> None:
    from data import extracted_log
    from tasks.feature_stages import featurise, read_bags

    log = first[1].log.folder
    split = {row["search_row"]: row["split"] for row in pq.read_table(log / "searches.parquet").to_pylist()}
    shown = extracted_log.read_shown(log)
    assert {split[row] for row in shown.search_rows.tolist()} == {"train"}
    cut = json.loads((log / "report.json").read_text())["cuts"]["validation_from"]
    documents = pq.read_table(log / "documents.parquet").to_pylist()
    trainable = set(extracted_log.row_numbers(extracted_log.read(log, "trainable"), "document_row").tolist())
    assert trainable
    for document in documents:
        if document["created_at"] is not None and document["created_at"].isoformat() >= cut.rstrip("Z"):
            assert document["document_row"] not in trainable
    # An n-gram that only later texts hold has no row in the vocabulary.
    features = featurise.fn(first[1].log, load_experiment(first[0]).arms["random"].features)
    queries = read_bags(features, "text", "searches")
    training_queries = extracted_log.row_numbers(extracted_log.read(log, "training_queries"), "query_row")
    document_bags = read_bags(features, "text", "documents")
    ids = set()
    for bags, rows in ((queries, training_queries), (document_bags, sorted(trainable))):
        for row in rows:
            ids |= set(bags.ids[bags.offsets[row] : bags.offsets[row + 1]].tolist())
    vocabulary = np.load(features.folder / "vocabulary.npy")
    assert ids == set(range(int(vocabulary.max()) + 1))


def test_no_training_stage_reads_the_truth(first: tuple[Path, Outcome], tmp_path: Path) -> None:
    """Without the world's truth, everything up to the towers is the same, byte for byte."""
    from tasks.feature_stages import featurise
    from tasks.log_stages import contents_of, extract, sample, simulate_log
    from tasks.training_stages import train_arm

    experiment = load_experiment(first[0])
    world = simulate_log.fn(experiment.logs.world)
    arm = experiment.arms["random"]

    def train() -> bytes:
        tables = experiment.logs.tables(world.folder)
        log = extract.fn(tables, experiment.split, contents_of(tables))
        validation = sample.fn(log, "validation", 200, 1)
        towers = train_arm.fn(log, featurise.fn(log, arm.features), validation, arm, 0)
        names = {path.name for stage in (log, validation, towers) for path in stage.folder.iterdir()}
        assert "truth" not in names
        checkpoint = (towers.folder / "towers.safetensors").read_bytes()
        for stage in (log, validation, towers):
            shutil.rmtree(stage.folder)
        return checkpoint

    with_truth = train()
    (world.folder / "truth").rename(tmp_path / "truth")
    try:
        assert train() == with_truth
    finally:
        (tmp_path / "truth").rename(world.folder / "truth")


def test_the_oracle_is_above_every_arm(first: tuple[Path, Outcome]) -> None:
    rows = _rows(first[1])
    best = {
        row["arm"]: row["value"]
        for row in rows
        if row["question"] is None
        and (row["targets"], row["slice"], row["metric"], row["k"]) == ("truth", "all", "recall", 10)
    }
    assert best["oracle-everything"] == max(best.values())
    assert best["oracle-everything"] >= best["oracle-text"]
    checks = json.loads((first[1].results.folder / "checks.json").read_text())
    assert checks["above_oracle"] == []
    page = (first[1].report.folder / "report.md").read_text()
    section = page[page.index("## What is attainable") :].split("\n## ")[0]
    line = next(line for line in section.splitlines() if line.startswith("| bm25 |"))
    assert f"{best['bm25'] / best['oracle-everything']:.0%}" in line.split("|")[2]


def test_an_arm_that_knows_the_truth_fails_the_run(first: tuple[Path, Outcome]) -> None:
    """The check against the oracle receives an arm that cheats: it retrieves the truth itself."""
    from data.experiment.experiment_spec import Evaluation
    from tasks.artifacts import Artifact
    from tasks.evaluation_stage import EvaluatedList, above_oracle, evaluate

    sample = read_sample(first[1].sample)
    searches, targets = sample.for_targets("truth")
    cheat = np.full((len(sample.searches["search_row"]), 100), -1, np.int32)
    for row, begin, end in zip(searches["at"], targets.offsets, targets.offsets[1:], strict=False):
        cheat[row, : end - begin] = targets.documents[begin:end]
    cheat_list = Artifact(stage="cheat", digest="0")
    cheat_list.folder.mkdir()
    np.save(cheat_list.folder / "retrieved.npy", cheat)
    oracle = Artifact(stage="blind", digest="0")  # an oracle on a hard day: its first document is not always the truth
    oracle.folder.mkdir()
    np.save(oracle.folder / "retrieved.npy", np.where(np.arange(len(cheat))[:, None] % 3, cheat, -1).astype(np.int32))
    runs = [
        EvaluatedList(arm="cheat", seed=0, index="exact", rows=cheat_list),
        EvaluatedList(arm="oracle-everything", seed=None, index="none", rows=oracle),
    ]
    results = evaluate.fn(first[1].sample, runs, {}, Evaluation(resamples=200))
    assert any("cheat" in message and "leaks" in message for message in above_oracle(results))
