"""Doubts about the evaluation itself, raised on every run: leaks, and what sampled negatives would have said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from data import extracted_log
from data.experiment.experiment_spec import Evaluation
from ebr_core.frozen import Frozen
from ebr_core.measure.metrics import Targets
from ebr_core.measure.sampled_recall import agreement, exact_ranks, sampled_recall
from ebr_core.text.ngram_hashing import hash_texts
from tasks.artifacts import stage
from tasks.eval_sets import read_sample
from tasks.feature_stages import read_fitted, texts_of
from tasks.kinds import EvalSet, FeatureSet, Log, RunAudit, TargetRanks, Vectors
from tasks.progress import showing

MOST_SEARCHES = 2_000  # of a target set, for the order of the arms needs no more
NEGATIVES = 100


class Ranked(Frozen):
    """The exact ranks of the targets under one arm and seed."""

    arm: str
    seed: int
    ranks: TargetRanks


@stage(TargetRanks)
def rank_targets(folder: Path, vectors: Vectors, evaluated: EvalSet, threads: int) -> None:
    """ranks.parquet (targets, search_row, rank, others): each target's exact rank among all documents alive."""
    sample = read_sample(evaluated)
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")[sample.candidates]
    queries = np.load(vectors.folder / "queries.npy", mmap_mode="r")
    place = np.full(int(sample.candidates.max(initial=0)) + 1, -1)
    place[sample.candidates] = np.arange(len(sample.candidates))
    tables = []
    with threadpool_limits(threads), showing("audit", len(sample.names)):
        for name in sample.names:
            searches, targets = sample.for_targets(name)
            kept, own = _thin(targets)
            rows = place[own.documents].astype(np.int32)
            ranks = exact_ranks(documents, queries[..., searches["at"][kept], :], own._replace(documents=rows))
            owners = np.repeat(searches["search_row"][kept], own.counts)
            names = pa.repeat(name, len(ranks))
            tables.append(pa.table({"targets": names, "search_row": owners, "rank": ranks}))
    pq.write_table(pa.concat_tables(tables), folder / "ranks.parquet")


def _thin(targets: Targets) -> tuple[Any, Targets]:
    """Every so many-th search, at most MOST_SEARCHES, and their targets."""
    kept = np.arange(0, len(targets.counts), -(-len(targets.counts) // MOST_SEARCHES))
    inside = np.isin(np.repeat(np.arange(len(targets.counts)), targets.counts), kept)
    return kept, Targets(np.concatenate([[0], np.cumsum(targets.counts[kept])]), targets.documents[inside])


@stage(RunAudit)
def audit(
    folder: Path,
    log: Log,
    evaluated: EvalSet,
    features: list[FeatureSet],
    ranked: list[Ranked],
    evaluation: Evaluation,
) -> None:
    """audit.json: `leaks`, a list of checks with a status (clean, leak, note) and a sentence; `sampled`, the arms'
    recall over the whole corpus and beside 100 sampled negatives, for each target set. [Krichene & Rendle 2020]"""
    sample = read_sample(evaluated)
    rules, repeats = extracted_log.find_leaks(log.folder, sample.targets)
    found = [_told(rule) for rule in rules] + [_vocabulary(log, each) for each in features]
    k = min(evaluation.ks, key=lambda k: abs(k - 10))
    content = {
        "leaks": [*found, *_notes(repeats)],
        "sampled": {name: _sampled(name, ranked, len(sample.candidates), k) for name in sample.names if ranked},
    }
    (folder / "audit.json").write_text(json.dumps(content, indent=1))


def leaks(audited: RunAudit) -> list[str]:
    """The leaks that were found, in words."""
    content = json.loads((audited.folder / "audit.json").read_text())
    return [check["says"] for check in content["leaks"] if check["status"] == "leak"]


WORDS = {
    "labels": "searches whose labels training is given, {broken:,} from after the cut-off",
    "documents": "documents that training knows, {broken:,} born after the cut-off",
    "queries": "queries that training knows, {broken:,} never asked before the cut-off",
    "edges": "edges that a graph may be made of, {broken:,} from after the cut-off",
    "sessions": "sessions, {broken:,} with searches used in more than one part",
}


def _told(rule: dict[str, Any]) -> dict[str, str]:
    says = f"{rule['looked_at']:,} {WORDS[rule['what']].format(broken=rule['broken'])}"
    return {"check": rule["what"], "status": "leak" if rule["broken"] else "clean", "says": says}


def _vocabulary(log: Log, features: FeatureSet) -> dict[str, str]:
    """Every n-gram that has a row of the table has to occur in a text of the training window."""
    fitted = read_fitted(features)
    known = fitted.vocabulary
    seen = np.zeros(int(known.max(initial=-1)) + 1, bool)
    given = (("training_queries", "query_row"), ("trainable", "document_row"))
    for texts, (question, column) in zip(texts_of(log, fitted.features), given, strict=True):
        trained_on = extracted_log.rows(extracted_log.read(log.folder, question), column)
        rows = known[hash_texts(texts.take(trained_on), fitted.features.text).ids]
        seen[rows[rows >= 0]] = True
    broken = int((~seen).sum())
    says = f"{len(seen):,} n-grams with a vector, {broken:,} of them in no text of the training window"
    return {"check": "vocabulary", "status": "leak" if broken else "clean", "says": says}


def _notes(repeats: dict[str, int]) -> list[dict[str, str]]:
    """What is no leak, but makes a test easier than the future."""
    n = max(repeats["searches"], 1)

    def share(key: str) -> str:
        return f"{repeats[key] / n:.1%}"

    said = {
        "repeated queries": f"{share('same_query')} of the test searches with a click ask what training asked, and "
        f"{share('near_query')} the same words in another order, case or punctuation",
        "repeated answers": f"{share('same_answer')} want what training already clicked for that query, "
        f"{share('same_searcher_and_answer')} what the same searcher clicked for it",
    }
    if repeats["undated_edges"]:
        said["edges"] = (
            f"{repeats['undated_edges']:,} of {repeats['edges']:,} edges have no date: they cannot be kept out"
        )
    return [{"check": check, "status": "note", "says": says} for check, says in said.items()]


def _sampled(name: str, ranked: list[Ranked], candidates: int, k: int) -> dict[str, Any]:
    """Each arm's recall both ways (seeds meaned), how far the orders agree, and the pairs that change places."""
    by_arm: dict[str, list[tuple[float, float]]] = {}
    for run in ranked:
        table = pq.read_table(run.ranks.folder / "ranks.parquet", filters=[("targets", "=", name)])
        _, counts = np.unique(table["search_row"].to_numpy(), return_counts=True)
        targets = Targets(np.concatenate([[0], np.cumsum(counts)]), np.zeros(len(table), np.int32))
        ranks = table["rank"].to_numpy()
        whole, few = (sampled_recall(ranks, targets, candidates, n, k).mean() for n in (candidates, NEGATIVES))
        by_arm.setdefault(run.arm, []).append((float(whole), float(few)))
    arms = {arm: np.mean(both, axis=0).tolist() for arm, both in sorted(by_arm.items())}
    changed = [
        [better, worse]
        for better in arms
        for worse in arms
        if arms[better][0] > arms[worse][0] and arms[better][1] < arms[worse][1]
    ]
    return {
        "k": k,
        "negatives": NEGATIVES,
        "arms": {arm: {"whole": both[0], "sampled": both[1]} for arm, both in arms.items()},
        "agreement": None if len(arms) < 2 else agreement(*np.array(list(arms.values())).T),
        "changed": changed,
    }
