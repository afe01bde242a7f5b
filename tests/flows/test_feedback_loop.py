"""The feedback loop end to end: two rounds, the filter, people's ratings, and what must never happen."""

from __future__ import annotations

import csv
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
from flows.app.check import describe_experiment
from flows.app.negatives import inspect_negatives
from flows.app.ratings import export_ratings, import_ratings
from flows.ebr import ebr
from tasks.artifacts import artifacts
from tasks.imported_ratings import imported_folder
from tasks.tracking.runs import Outcome

pytestmark = pytest.mark.more
SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
HARD = {"random": 20, "offline_hard": 2}
CHANGES: dict[str, Any] = {
    "indexes": {},
    "retrievals": {},
    "feedback": {"searches": 300, "rater": {"noise": 0}},
    "filters": {"filtered": {"arm": "random", "of": ["random"]}},
    "questions": {
        "P35": {"baseline": "random", "arms": ["one", "two", "filtered"], "metric": "precision@10", "claim": "gain"}
    },
}
ARMS: dict[str, Any] = {
    "one": {"negatives": HARD, "ratings": {"of": ["random"]}},
    "two": {"negatives": HARD, "ratings": {"of": ["random", "one"]}},
}


def _write(folder: Path, name: str = "loop", arms: dict[str, Any] = ARMS, **changes: Any) -> Path:
    content = yaml.safe_load(SMOKE.read_text()) | CHANGES | changes
    content["evaluation"] = {"ks": [1, 10], "searches": 300, "validation_searches": 200, "resamples": 100}
    base = content["arms"]["base"]
    content["arms"] = {"base": base, "random": {"negatives": {"random": 20}}} | arms
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def done(own_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """Two rounds without noise and a filter, run once."""
    path = _write(tmp_path_factory.mktemp("feedback"))
    state = ebr(str(path), return_state=True)
    assert state.is_completed(), state.message
    return path, state.result()


def _pairs(folder: Path, name: str) -> dict[tuple[int, int], dict[str, Any]]:
    rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
    assert rows
    return {(row["search_row"], row["document_row"]): row for row in rows}


def _rounds() -> list[dict[tuple[int, int], dict[str, Any]]]:
    """The ratings of each round in order: the second round never repeats a rating of the first."""
    rounds = [_pairs(folder, "rated") for folder in artifacts().glob("rate-*")]
    return sorted(rounds, key=len, reverse=True)


def _truth() -> dict[tuple[str, str], float]:
    (world,) = artifacts().glob("simulate_log-*")
    rows = pq.read_table(world / "truth" / "intents").to_pylist()
    return {(str(row["search_id"]), row["document_id"]): row["grade"] for row in rows}


def test_without_noise_good_is_what_the_searcher_wanted_and_bad_is_not(done: tuple[Path, Outcome]) -> None:
    log = done[1].log.folder
    searches = pq.read_table(log / "searches.parquet")["search_id"].to_pylist()
    documents = pq.read_table(log / "documents.parquet")["document_id"].to_pylist()
    truth = _truth()
    for ratings in _rounds():
        for (search, document), row in ratings.items():
            grade = truth.get((searches[search], documents[document]), 0)
            assert (row["grade"], row["good"]) == (grade, grade >= 1)
    assert any(row["good"] for row in _rounds()[0].values())


def test_no_search_of_validation_or_test_is_rated_and_no_clicked_or_rated_result(
    done: tuple[Path, Outcome],
) -> None:
    log = done[1].log.folder
    split = pq.read_table(log / "searches.parquet")["split"].to_pylist()
    evaluated = set(pq.read_table(done[1].sample.folder / "searches.parquet")["search_row"].to_pylist())
    results = pq.read_table(log / "results.parquet").to_pylist()
    clicked = {(row["search_row"], row["document_row"]) for row in results if row["clicked"]}
    first, second = _rounds()
    assert not set(first) & set(second)
    for ratings in (first, second):
        assert {split[search] for search, _ in ratings} == {"train"}
        assert not {search for search, _ in ratings} & evaluated
        assert not set(ratings) & clicked


def test_every_document_to_rate_existed_when_it_was_searched(done: tuple[Path, Outcome]) -> None:
    log = done[1].log.folder
    searched_at = pq.read_table(log / "searches.parquet")["searched_at"].to_pylist()
    lives = pq.read_table(log / "documents.parquet", columns=["created_at", "removed_at"]).to_pylist()
    late = 0
    for folder in artifacts().glob("list_unrated-*"):
        for search, document in _pairs(folder, "to_rate"):
            life = lives[document]
            late += life["created_at"] is not None and life["created_at"] > searched_at[search]
            late += life["removed_at"] is not None and life["removed_at"] <= searched_at[search]
    assert late == 0


def test_the_filter_shortens_lists_and_keeps_their_order(done: tuple[Path, Outcome]) -> None:
    searches = pq.read_metadata(done[1].sample.folder / "searches.parquet").num_rows
    of_test = [folder for folder in artifacts().glob("retrieve*") if len(np.load(folder / "retrieved.npy")) == searches]
    (filtered,) = (folder for folder in of_test if folder.name.startswith("retrieve_filtered-"))
    (fitted,) = artifacts().glob("fit_filter-*")
    summary = json.loads((fitted / "filter.json").read_text())
    page = (done[1].report.folder / "report.md").read_text()
    for text in ("## Feedback", "rated results of", f"| filtered | {summary['examples']:,} |"):
        assert text in page
    assert summary["held_out"]["precision"] > summary["held_out"]["good"]
    retrieved = np.load(filtered / "retrieved.npy")
    returned = np.load(filtered / "returned.npy")
    assert returned.mean() < retrieved.shape[1]
    whole_lists = [np.load(folder / "retrieved.npy") for folder in of_test if folder.name.startswith("retrieve-")]
    assert any(
        all([row for row in line.tolist() if row in set(filtered_line.tolist())]
            == filtered_line[filtered_line >= 0].tolist()
            for line, filtered_line in zip(whole, retrieved, strict=True))
        for whole in whole_lists
    )  # fmt: skip


def test_rows_questions_and_mlflow_have_precision(done: tuple[Path, Outcome]) -> None:
    rows = pq.read_table(done[1].results.folder / "results.parquet", filters=[("split", "=", "test")]).to_pylist()
    answers = [row for row in rows if row["question"] == "P35" and row["slice"] == "all" and row["targets"] == "truth"]
    assert {(row["arm"], row["metric"], row["k"]) for row in answers} == {
        (arm, "precision", 10) for arm in ("random", "one", "two", "filtered")
    }
    client = MlflowClient()
    (run,) = client.search_runs([done[1].mlflow_experiment_id], "tags.kind = 'filter'")
    value = next(
        row["value"]
        for row in rows
        if row["question"] is None
        and (row["arm"], row["targets"], row["slice"], row["metric"], row["k"])
        == ("filtered", "clicked", "all", "precision", 10)
    )
    assert run.data.metrics["precision_at_10"] == pytest.approx(value)


def test_new_ratings_are_the_same_bytes(done: tuple[Path, Outcome]) -> None:
    kinds = ("to_rate", "rate", "train_arm", "fit_filter", "retrieve_filtered", "evaluate")
    names = {"costs.json"}

    def contents() -> dict[str, bytes]:
        folders = [folder for kind in kinds for folder in artifacts().glob(f"{kind}-*")]
        return {
            f"{folder.name}/{file.relative_to(folder)}": file.read_bytes()
            for folder in folders
            for file in folder.rglob("*")
            if file.is_file() and file.name not in names and "prefect" not in file.name
        }

    before = contents()
    for kind in kinds:
        for folder in artifacts().glob(f"{kind}-*"):
            shutil.rmtree(folder)
    assert ebr(str(done[0]), return_state=True).is_completed()
    assert contents() == before


def test_training_pairs_of_an_arm_show_the_documents_rated_bad(done: tuple[Path, Outcome]) -> None:
    pairs = inspect_negatives(str(done[0]), "one", 200)
    kinds = {kind for pair in pairs for kind, _, _ in pair.documents}
    assert "rated bad" in kinds


def _searches_in(out: Path) -> list[str]:
    with out.open(newline="") as file:
        return [row["search_id"] for row in csv.DictReader(file)]


def _fill(out: Path, grades: dict[tuple[str, str], float]) -> int:
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["grade"] == "" for row in rows) or grades == {}
    for row in rows:
        row["grade"] = str(int(grades.get((row["search_id"], row["document_id"]), 0)))
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def test_ratings_of_people_who_know_the_truth_equal_those_of_the_truth(
    done: tuple[Path, Outcome], tmp_path: Path
) -> None:
    """Ratings that are exported, filled in, imported and trained on give the same towers as those from the truth."""
    arms = {"one": ARMS["one"]}
    path = _write(tmp_path, "people", arms, feedback={"searches": 300, "rater": None}, filters={}, questions={})
    out = tmp_path / "out.csv"
    assert "one cannot be trained: nobody has rated what random retrieves" in describe_experiment(path)
    state = ebr(str(path), return_state=True)
    assert state.is_failed()
    assert "nobody has rated what random retrieves" in state.result(raise_on_failure=False).failures["one, seed 0"]
    assert export_ratings(path, "random", out)[0] > 100
    searches = [_searches_in(out)]
    for count in (5, 20):
        part = tmp_path / f"{count}.csv"
        rows, of_searches = export_ratings(path, "random", part, count)
        searches.insert(0, _searches_in(part))
        assert (rows, of_searches, len(set(searches[0]))) == (len(searches[0]), count, count)
    assert set(searches[1]) < set(searches[0]) < set(searches[2])
    with pytest.raises(InputError, match="exists already, perhaps with grades in it"):
        export_ratings(path, "random", out)
    with pytest.raises(InputError, match="no row has a grade"):
        import_ratings(path, "random", out)
    count = _fill(out, _truth())
    ratings = import_ratings(path, "random", out)
    assert (ratings.ratings, ratings.path.parent) == (count, imported_folder() / "people" / "random")
    assert import_ratings(path, "random", out).path == ratings.path  # a second import adds nothing
    state = ebr(str(path), return_state=True)
    assert state.is_completed(), state.message
    towers = {path.read_bytes() for path in artifacts().glob("train_arm-*/towers.safetensors")}
    assert len(towers) == 3  # random, one and two: people's ratings gave the same towers
    _fill(out, {})
    with pytest.raises(
        InputError, match=r"row \d+: search .* is rated 0.0, but [12].0 in row \d+ of the ratings imported"
    ):
        import_ratings(path, "random", out)
    with pytest.raises(InputError, match="no arm 'randm'"):
        import_ratings(path, "randm", out)


def test_an_experiment_names_the_imported_ratings_that_it_uses(tmp_path: Path) -> None:
    assert load_experiment(_write(tmp_path, "mine")).feedback.imported == "mine"
