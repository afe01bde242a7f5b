"""Checks of the evaluation itself, made on every run: leaks, and the effect that sampled negatives would have."""

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
from tasks.history_checks import history_checks
from tasks.kinds import EvalSet, FeatureSet, Log, RunAudit, TargetRanks, Vectors
from tasks.progress import show_progress

MOST_SEARCHES = 2_000  # of a target set: enough for the order of the arms
NEGATIVES = 100


class RankedArm(Frozen):
    """The exact ranks of the targets under one arm and seed."""

    arm: str
    seed: int
    ranks: TargetRanks


@stage(TargetRanks)
def rank_targets(folder: Path, vectors: Vectors, eval_set: EvalSet, threads: int) -> None:
    """Write ranks.parquet (targets, search_row, rank): each target's exact rank among all documents alive."""
    sample = read_sample(eval_set)
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")[sample.candidates]
    queries = np.load(vectors.folder / "queries.npy", mmap_mode="r")
    pos = np.full(int(sample.candidates.max(initial=0)) + 1, -1)
    pos[sample.candidates] = np.arange(len(sample.candidates))
    tables = []
    with threadpool_limits(threads), show_progress("audit", len(sample.names)):
        for name in sample.names:
            searches, targets = sample.for_targets(name)
            chosen, chosen_targets = _thin(targets)
            rows = pos[chosen_targets.documents].astype(np.int32)
            at = searches["at"][chosen]
            ranks = exact_ranks(
                documents,
                queries[..., at, :],
                chosen_targets._replace(documents=rows),
                excluded=sample.excluded.take(at),
            )
            owners = np.repeat(searches["search_row"][chosen], chosen_targets.counts)
            names = pa.repeat(name, len(ranks))
            tables.append(pa.table({"targets": names, "search_row": owners, "rank": ranks}))
    pq.write_table(pa.concat_tables(tables), folder / "ranks.parquet")


def _thin(targets: Targets) -> tuple[Any, Targets]:
    """((M,) searches at equal steps, at most MOST_SEARCHES; their targets)."""
    chosen = np.arange(0, len(targets.counts), -(-len(targets.counts) // MOST_SEARCHES))
    inside = np.isin(np.repeat(np.arange(len(targets.counts)), targets.counts), chosen)
    return chosen, Targets(np.concatenate([[0], np.cumsum(targets.counts[chosen])]), targets.documents[inside])


@stage(RunAudit)
def audit(
    folder: Path,
    log: Log,
    eval_set: EvalSet,
    features: list[FeatureSet],
    ranked: list[RankedArm],
    evaluation: Evaluation,
    refit_log: Log | None = None,
    refit_features: list[FeatureSet] | None = None,
) -> None:
    """Write audit.json: `leaks`, a list of checks, each with a status (clean, leak, note) and a sentence; `sampled`,
    for each target set the arms' recall over the whole corpus and among 100 sampled negatives.
    [Krichene & Rendle 2020]

    refit_log and refit_features: what a refit was trained on, which may hold the validation and nothing later.
    """
    sample = read_sample(eval_set)
    checks = [_rule_check(rule) for rule in extracted_log.find_leaks(log.folder)]
    checks += [_vocabulary_check(log, feature_set) for feature_set in features]
    checks += [check for feature_set in features for check in history_checks(log, feature_set, ("train",))]
    if refit_log is not None:
        checks += [
            _rule_check(rule, " of the refit") for rule in extracted_log.find_leaks(log.folder, refit_log.folder)
        ]
        for features_of in refit_features or []:
            checks.append(_vocabulary_check(refit_log, features_of, " of the refit"))
            checks += history_checks(log, features_of, ("train", "validation"), " of the refit")
    repeats = extracted_log.count_repeats(log.folder, sample.targets)
    k = evaluation.main_k
    content = {
        "leaks": [*checks, *_notes(repeats)],
        "sampled": {name: _sampled(name, ranked, len(sample.candidates), k) for name in sample.names if ranked},
    }
    (folder / "audit.json").write_text(json.dumps(content, indent=1))


def leaks(run_audit: RunAudit) -> list[str]:
    """A sentence for each leak found."""
    content = json.loads((run_audit.folder / "audit.json").read_text())
    return [check["says"] for check in content["leaks"] if check["status"] == "leak"]


CHECK_SENTENCES = {
    "labels": "searches whose labels training uses, {broken:,} from after the cut-off",
    "actions": "actions whose labels training uses, {broken:,} with a weight from after the cut-off",
    "documents": "documents in training, {broken:,} created after the cut-off",
    "queries": "queries in training, {broken:,} without a search before the cut-off",
    "edges": "edges that a graph may use, {broken:,} from after the cut-off",
    "sessions": "sessions, {broken:,} with searches used in more than one part",
}


def _rule_check(rule: dict[str, Any], whose: str = "") -> dict[str, str]:
    says = f"{rule['looked_at']:,} {CHECK_SENTENCES[rule['what']].format(broken=rule['broken'])}"
    return {"check": rule["what"] + whose, "status": "leak" if rule["broken"] else "clean", "says": says}


def _vocabulary_check(log: Log, features: FeatureSet, whose: str = "") -> dict[str, str]:
    """The check that every n-gram with a row in the table occurs in a text of the training window."""
    fitted = read_fitted(features)
    if fitted.features.tokens is not None:
        says = "the tokens are those of a pretrained encoder; what it was trained on is not known here"
        return {"check": f"vocabulary{whose}", "status": "clean", "says": says}
    vocabulary = fitted.vocabulary
    occurs = np.zeros(int(vocabulary.max(initial=-1)) + 1, bool)
    sources = (("training_queries", "query_row"), ("trainable", "document_row"))
    for texts, (sql, column) in zip(texts_of(log, fitted.features), sources, strict=True):
        trained_on = extracted_log.row_numbers(extracted_log.read(log.folder, sql), column)
        rows = vocabulary[hash_texts(texts.take(trained_on), fitted.features.text).ids]
        occurs[rows[rows >= 0]] = True
    broken = int((~occurs).sum())
    says = f"{len(occurs):,} n-grams with a vector, {broken:,} of them in no text of the training window"
    return {"check": f"vocabulary{whose}", "status": "leak" if broken else "clean", "says": says}


def _notes(repeats: dict[str, int]) -> list[dict[str, str]]:
    """The remarks on repeats, which are no leaks but make the test easier than the future."""
    n = max(repeats["searches"], 1)

    def share(key: str) -> str:
        return f"{repeats[key] / n:.1%}"

    sentences = {
        "repeated queries": f"{share('same_query')} of the test searches with a click repeat a query of training, and "
        f"{share('near_query')} repeat one in another order",
        "repeated answers": f"{share('same_answer')} have a target that was clicked for that query in training, "
        f"{share('same_searcher_and_answer')} one that the same searcher clicked for it",
    }
    if repeats["undated_edges"]:
        sentences["edges"] = (
            f"{repeats['undated_edges']:,} of {repeats['edges']:,} edges have no date and cannot be kept out"
        )
    return [{"check": check, "status": "note", "says": says} for check, says in sentences.items()]


def _sampled(name: str, ranked: list[RankedArm], candidates: int, k: int) -> dict[str, Any]:
    """Each arm's recall both ways (the mean over seeds), the agreement of the two orders, and the pairs that swap."""
    by_arm: dict[str, list[tuple[float, float]]] = {}
    searches = 0
    for run in ranked:
        table = pq.read_table(run.ranks.folder / "ranks.parquet", filters=[("targets", "=", name)])
        _, counts = np.unique(table["search_row"].to_numpy(), return_counts=True)
        targets = Targets(np.concatenate([[0], np.cumsum(counts)]), np.zeros(len(table), np.int32))
        ranks, searches = table["rank"].to_numpy(), len(counts)
        whole_recall, sampled_recalls = (
            sampled_recall(ranks, targets, candidates, n, k).mean() for n in (candidates, NEGATIVES)
        )
        by_arm.setdefault(run.arm, []).append((float(whole_recall), float(sampled_recalls)))
    arms = {arm: np.mean(recalls, axis=0).tolist() for arm, recalls in sorted(by_arm.items())}
    changed = [
        [better, worse]
        for better in arms
        for worse in arms
        if arms[better][0] > arms[worse][0] and arms[better][1] < arms[worse][1]
    ]
    return {
        "k": k,
        "negatives": NEGATIVES,
        "searches": searches,
        "arms": {arm: {"whole": recalls[0], "sampled": recalls[1]} for arm, recalls in arms.items()},
        "agreement": None if len(arms) < 2 else agreement(*np.array(list(arms.values())).T),
        "changed": changed,
    }
