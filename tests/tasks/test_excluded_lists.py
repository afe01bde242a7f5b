"""evaluation.exclude: every list is the one that a corpus without the excluded documents gives, by plain loops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Evaluation
from data.experiment.log_config import Simulated
from ebr_core.rerank.cascade import Cascade
from ebr_core.search.hybrid_search import Retrieval, fuse
from ebr_core.search.index_specs import Exact, Ivf
from ebr_core.text.bm25_config import Bm25
from ebr_core.training.arm_config import Arm
from tasks.artifacts import Artifact
from tasks.audit_stage import rank_targets
from tasks.bm25_stages import retrieve_bm25, tune_bm25
from tasks.ensemble_stages import choose_weights, retrieve_cascade
from tasks.eval_sets import SampledSearches, read_sample
from tasks.evaluation_stage import EvaluatedList, evaluate
from tasks.feature_stages import featurise
from tasks.hybrid_stages import retrieve_hybrid
from tasks.kinds import EvalSet, Log, RetrievedList, SimulatedLog, TrainedTowers, TunedBm25, Vectors
from tasks.log_stages import contents_of, extract, sample, simulate_log
from tasks.nights.day_checks import measure
from tasks.retrieval_stages import build_index, embed_texts, retrieve, retrieve_baseline, retrieve_oracle
from tasks.retrieved import load_retrieved
from tasks.training_stages import best_recall, train_arm

SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
K = 10


class SmallRun(NamedTuple):
    logs: Simulated
    simulated: SimulatedLog
    log: Log
    towers: TrainedTowers
    validation: EvalSet
    test: EvalSet  # with exclusions
    whole: EvalSet  # the same searches and targets, without
    vectors: Vectors
    bm25: TunedBm25
    has: dict[int, set[int]]  # search → the documents that its searcher clicked before


@pytest.fixture(scope="module")
def world() -> SmallRun:
    logs = load_experiment(SMOKE).logs
    assert isinstance(logs, Simulated)
    simulated = simulate_log.fn(logs.world)
    files = logs.tables(simulated.folder)
    log = extract.fn(files, load_experiment(SMOKE).split, contents_of(files))
    arm = Arm.model_validate({"towers": {"dimensions": 16}, "training": {"epochs": 2, "batch_size": 256}})
    validation = sample.fn(log, "validation", 200, 1, exclude="clicked")
    test = sample.fn(log, "test", 300, 1, simulated, exclude="clicked")
    whole = EvalSet(Artifact(stage=test.stage, digest=f"{test.digest}-whole"))
    shutil.copytree(test.folder, whole.folder, ignore=lambda *_: ["excluded.parquet"], dirs_exist_ok=True)
    features = featurise.fn(log, arm.features)
    towers = train_arm.fn(log, features, validation, arm, 0)
    vectors = embed_texts.fn(features, towers, test, 1)
    bm25 = tune_bm25.fn(log, None, Bm25(k1=1.2, b=0.75), K)
    return SmallRun(logs, simulated, log, towers, validation, test, whole, vectors, bm25, _clicked_before(log, test))


def _clicked_before(log: Log, eval_set: EvalSet) -> dict[int, set[int]]:
    searches = {row["search_row"]: row for row in pq.read_table(log.folder / "searches.parquet").to_pylist()}
    sampled = pq.read_table(eval_set.folder / "searches.parquet")["search_row"].to_pylist()
    split = searches[sampled[0]]["split"]
    begins = min(row["searched_at"] for row in searches.values() if row["split"] == split)
    clicked: dict[int, set[int]] = {}
    for row in pq.read_table(log.folder / "results.parquet").to_pylist():
        search = searches[row["search_row"]]
        if row["clicked"] and search["searched_at"] < begins:
            clicked.setdefault(search["searcher_row"], set()).add(row["document_row"])
    return {row: clicked.get(searches[row]["searcher_row"], set()) for row in sampled}


def _rows(artifact: RetrievedList) -> Any:
    retrieved = load_retrieved(artifact)
    assert not isinstance(retrieved, str)
    return retrieved.rows


def _without(world: SmallRun, lists: Any, k: int = K) -> list[list[int]]:
    """The lists without excluded documents, cut after K and filled with −1."""
    kept = []
    for has, rows in zip(world.has.values(), lists.tolist(), strict=True):
        left = [row for row in rows if row >= 0 and row not in has][:k]
        kept.append(left + [-1] * (k - len(left)))
    return kept


def test_targets_that_the_searcher_has_are_left_out(world: SmallRun) -> None:
    assert sum(map(bool, world.has.values())) > 20
    targets = pq.read_table(world.test.folder / "targets.parquet").to_pylist()
    assert not any(row["document_row"] in world.has[row["search_row"]] for row in targets)
    counts = json.loads((world.test.folder / "counts.json").read_text())
    assert all(row["targets_excluded"] > 0 for row in counts)


@pytest.mark.parametrize("name", ["popularity", "bm25", "memory", "logged", "oracle", "exact", "ivf"])
def test_a_list_is_the_whole_list_without_them(world: SmallRun, name: str) -> None:
    n = len(read_sample(world.test).candidates)

    def listed(eval_set: EvalSet, k: int) -> Any:
        if name == "oracle":
            return retrieve_oracle.fn(world.logs.world, world.simulated, world.log, eval_set, "everything", k)
        if name in ("exact", "ivf"):
            index = build_index.fn(
                world.vectors, eval_set, Exact() if name == "exact" else Ivf(code="flat", nlist=8, nprobe=4), 1
            )
            return retrieve.fn(world.vectors, index, eval_set, k, 1)
        if name == "bm25":
            return retrieve_bm25.fn(world.log, eval_set, world.bm25, k)
        return retrieve_baseline.fn(world.log, eval_set, name, k)

    rows, whole = _rows(listed(world.test, K)), _rows(listed(world.whole, n))
    assert rows.tolist() == _without(world, whole)
    assert rows.tolist() != whole[:, :K].tolist()


def test_lists_are_cut_before_they_are_fused_or_reordered(world: SmallRun) -> None:
    searched, n = read_sample(world.test), len(read_sample(world.test).candidates)
    index, whole_index = (build_index.fn(world.vectors, part, Exact(), 1) for part in (world.test, world.whole))
    whole = _rows(retrieve.fn(world.vectors, whole_index, world.whole, n, 1))
    terms = Retrieval(terms="any")
    by_terms = _rows(retrieve_hybrid.fn(world.log, world.whole, world.bm25, terms, n, 1))
    both = Retrieval(terms="any", arm="a", near="radius", radius=0.9)
    fused = _rows(retrieve_hybrid.fn(world.log, world.test, world.bm25, both, K, 1, world.vectors, index))
    near = np.array(_without(world, whole))
    documents, queries = (np.load(world.vectors.folder / f"{side}.npy") for side in ("documents", "queries"))
    near[(queries[:, None] * documents[near]).sum(2) < 0.1 - 1e-6] = -1
    expected = fuse([np.array(_without(world, by_terms), np.int32), near.astype(np.int32)], "rrf", K)
    assert fused.tolist() == expected.tolist()
    cascade = Cascade(first="a", then="b", depth=4)
    flipped = Vectors(Artifact(stage="embed_texts", digest=f"{world.vectors.digest}-flipped"))
    flipped.folder.mkdir(exist_ok=True)
    np.save(flipped.folder / "documents.npy", -documents)
    np.save(flipped.folder / "queries.npy", queries)
    reordered = _rows(retrieve_cascade.fn(world.test, cascade, K, 1, world.vectors, index, flipped))
    first = _without(world, whole)
    for s, rows in enumerate(first):
        head = sorted(rows[:4], key=lambda row: -float(queries[s] @ -documents[row]) if row >= 0 else np.inf)
        cosines = [float(queries[s] @ documents[row]) for row in reordered[s, :4]]
        assert sorted(reordered[s, :4]) == sorted(head)
        assert cosines == sorted(cosines)
        assert reordered[s, 4:].tolist() == rows[4:]
    assert len(searched.searches["search_row"]) == len(reordered)


def test_validation_ensembles_ranks_and_nights_leave_the_same_documents_out(world: SmallRun) -> None:
    arm = Arm.model_validate({"towers": {"dimensions": 16}, "training": {"epochs": 2, "batch_size": 256}})
    vectors = embed_texts.fn(featurise.fn(world.log, arm.features), world.towers, world.validation, 1)
    expected = _recall(vectors, world.validation, _clicked_before(world.log, world.validation))
    assert best_recall(world.towers) == pytest.approx(expected)
    weights = choose_weights.fn([world.towers] * 2, [vectors] * 2, world.validation, (1.0, 1.0), 1)
    assert json.loads((weights.folder / "ensemble.json").read_text())["recall"] == pytest.approx(expected)
    recalls = np.load(measure.fn(vectors, world.validation, K, 1).folder / "recall.npy")
    assert recalls.mean() == pytest.approx(expected)
    ranks = pq.read_table(rank_targets.fn(world.vectors, world.test, 1).folder / "ranks.parquet").to_pylist()
    alone = {row["search_row"]: row["rank"] for row in ranks if row["targets"] == "truth"}
    found = _found(world.vectors, read_sample(world.test), "truth", world.has)
    for search, (targets, positions) in found.items():
        if len(targets) == 1:
            assert (alone[search] <= K) == (len(positions) == 1)


def _recall(vectors: Vectors, eval_set: EvalSet, has: dict[int, set[int]]) -> float:
    found = _found(vectors, read_sample(eval_set), "clicked", has)
    return float(np.mean([len(hits) / len(targets) for targets, hits in found.values()]))


def _found(
    vectors: Vectors, sampled: SampledSearches, name: str, has: dict[int, set[int]]
) -> dict[int, tuple[set[int], set[int]]]:
    """Search → (its targets, those among its first K candidates that it may retrieve)."""
    documents, queries = (np.load(vectors.folder / f"{side}.npy") for side in ("documents", "queries"))
    found = {}
    searches, targets = sampled.for_targets(name)
    for i, (at, search) in enumerate(zip(searches["at"], searches["search_row"].tolist(), strict=True)):
        wanted = set(targets.documents[targets.offsets[i] : targets.offsets[i + 1]].tolist())
        allowed = [row for row in sampled.candidates.tolist() if row not in has[search]]
        order = sorted(allowed, key=lambda row, at=at: -round(float(queries[at] @ documents[row]), 6))  # type: ignore[misc]
        found[search] = wanted, wanted & set(order[:K])
    return found


def test_a_stage_that_forgets_them_is_refused(world: SmallRun) -> None:
    rows = retrieve_baseline.fn(world.log, world.whole, "popularity", K)
    forgetful = EvaluatedList(arm="popularity", seed=None, index="none", rows=rows)
    with pytest.raises(ValueError, match="popularity retrieves excluded documents"):
        evaluate.fn(world.test, [forgetful], {}, Evaluation(ks=(K,), resamples=100))
