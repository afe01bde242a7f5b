"""The stages of the feedback loop: results to rate, ratings, the relevance filter and the lists that it shortens."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log, rating_files
from data.schemas import IMPORTED, RATED, TO_RATE
from ebr_core.arrays import Bool, Int32, Int64
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.parallel import use_threads
from ebr_core.rerank.pair_features import feature_matrix
from ebr_core.rerank.relevance_filter import fit, held_out_mask, probabilities
from ebr_core.search.exclusions import first_allowed
from ebr_core.search.nearest import search_cost, search_exact, search_index
from ebr_core.towers.checkpoint import load_towers
from ebr_core.towers.tower import query_vectors
from ebr_core.training.arm_config import Arm
from ebr_core.training.rated_results import Feedback, Filter, Rater, add_noise, first_valid, pack_left, pair_keys
from ebr_core.training.training_corpus import Corpus
from tasks.artifacts import Artifact, stage
from tasks.built_indexes import load_index
from tasks.eval_sets import SampledSearches
from tasks.imported_ratings import imported_folder
from tasks.kinds import (
    BuiltIndex,
    EvalSet,
    FeatureSet,
    FittedFilter,
    Log,
    Places,
    RatedResults,
    RetrievedList,
    SimulatedLog,
    TrainedTowers,
    TunedBm25,
    UnratedResults,
    Vectors,
)
from tasks.progress import show_progress
from tasks.ranker_inputs import lists_of, read_lists
from tasks.retrieved import Retrieved, as_document_rows, count_returned, save_retrieved
from tasks.training_inputs import read_corpus

SLACK = 3  # lists are retrieved three times as long as needed; the first documents that existed then are kept


class FeedbackResult(Frozen):
    """Ratings, or a filter, of an arm with a seed."""

    arm: str
    seed: int
    artifact: Artifact


def read_summary(result: FeedbackResult) -> dict[str, Any]:
    """The content of ratings.json or filter.json (see _write and fit_filter), with the arm and the seed."""
    file = "filter.json" if result.artifact.stage == fit_filter.name else "ratings.json"
    summary: dict[str, Any] = json.loads((result.artifact.folder / file).read_text())
    return {"arm": result.arm, "seed": result.seed} | summary


@stage(UnratedResults)
def list_unrated(
    folder: Path,
    log: Log,
    features: FeatureSet,
    towers: TrainedTowers,
    source: Arm,
    earlier_rounds: list[RatedResults],
    feedback: Feedback,
) -> None:
    """Write to_rate.parquet: the results of the towers of the arm source for searches of the training window.

    They are retrieved among the documents that existed at that moment, without results that the log judged or that
    earlier rounds rated.
    """
    use_threads(source.training.threads)
    corpus = read_corpus(log, features, source)
    searches = extracted_log.row_numbers(
        extracted_log.read(log.folder, "rateable", {"most": feedback.searches}), "search_row"
    )
    tower = load_towers(towers.folder).tower.over(corpus.inputs)
    depth = min(SLACK * feedback.k, len(corpus.trainable))
    with show_progress("to rate", 1):
        documents = tower.encode(corpus.inputs.rows_of(corpus.trainable))
        rows, near = search_exact(documents, query_vectors(tower, corpus.inputs, searches), depth)
    rows = np.where(rows >= 0, corpus.trainable[rows], -1).astype(np.int32)
    rows, near = first_valid(rows, near, _existed(log, searches, rows), feedback.k)
    query, position = np.nonzero(rows >= 0)
    pairs = searches[query], rows[query, position]
    is_unrated = ~np.isin(pair_keys(*pairs), _judged_pairs(log, earlier_rounds, feedback.judged))
    columns = [*pairs, (position + 1).astype(np.int32), near[query, position]]
    pq.write_table(pa.table([column[is_unrated] for column in columns], schema=TO_RATE), folder / "to_rate.parquet")


def _existed(log: Log, searches: Int32, rows: Int32) -> Bool:
    """(Q, K) True where a document existed when its search was made; False for row −1."""
    searched_at = pq.read_table(log.folder / "searches.parquet", columns=["searched_at"])["searched_at"].take(searches)
    lifetimes = pq.read_table(log.folder / "documents.parquet", columns=["created_at", "removed_at"])
    ends = np.iinfo(np.int64)
    at = searched_at.cast(pa.int64()).to_numpy()[:, None]
    created = pc.fill_null(lifetimes["created_at"].cast(pa.int64()), ends.min).to_numpy()
    removed = pc.fill_null(lifetimes["removed_at"].cast(pa.int64()), ends.max).to_numpy()
    existed: Bool = (rows >= 0) & (created[rows] <= at) & (removed[rows] > at)
    return existed


def _judged_pairs(log: Log, earlier_rounds: list[RatedResults], judged: str) -> Int64:
    """(P,) keys of the pairs that the log or an earlier round judged."""
    shown = extracted_log.read_shown(log.folder)
    judged_rows = shown.clicked if judged == "clicked" else np.ones(len(shown.clicked), bool)
    tables = [pq.read_table(ratings.folder / "rated.parquet") for ratings in earlier_rounds]
    pairs = [
        pair_keys(extracted_log.row_numbers(table, "search_row"), extracted_log.row_numbers(table, "document_row"))
        for table in tables
    ]
    return np.concatenate([pair_keys(shown.search_rows[judged_rows], shown.document_rows[judged_rows]), *pairs])


@stage(RatedResults)
def rate(folder: Path, log: Log, world: SimulatedLog, unrated: UnratedResults, rater: Rater, good_from: int) -> None:
    """Write rated.parquet: the simulated world's truth about the results to rate, with the rater's noise.

    The truth is read for searches of the training window only. ratings.json: the number of ratings and of good ones.
    """
    table = pq.read_table(unrated.folder / "to_rate.parquet", columns=["search_row", "document_row"])
    truth = rating_files.true_grades(log.folder, world.folder / "truth", table)
    searches, documents = (
        extracted_log.row_numbers(truth, "search_row"),
        extracted_log.row_numbers(truth, "document_row"),
    )
    grades = add_noise(truth["grade"].to_numpy(), pair_keys(searches, documents), good_from, rater)
    _write(folder, pa.table([searches, documents, grades, grades >= good_from], schema=RATED))


@stage(RatedResults)
def take_imported(folder: Path, log: Log, arm: str, files: list[str], good_from: int) -> None:
    """Write rated.parquet and ratings.json from ratings by people. files: imported files, see store_ratings."""
    if not files:
        raise InputError(
            f"nobody has rated what {arm} retrieves: `ebr ratings export EXPERIMENT/{arm} OUT.csv`, fill in the column "
            f"grade, then `ebr ratings import EXPERIMENT/{arm} OUT.csv`"
        )
    tables = [pq.read_table(imported_folder() / name, schema=IMPORTED) for name in files]
    _write(folder, rating_files.to_rated_rows(pa.concat_tables(tables), log.folder, good_from))


def _write(folder: Path, rated: pa.Table) -> None:
    pq.write_table(rated, folder / "rated.parquet")
    summary = {
        "ratings": rated.num_rows,
        "good": pc.sum(rated["good"]).as_py() or 0,
        "searches": pc.count_distinct(rated["search_row"]).as_py(),
    }
    (folder / "ratings.json").write_text(json.dumps(summary, indent=1))


@stage(FittedFilter)
def fit_filter(
    folder: Path,
    log: Log,
    bm25: TunedBm25,
    features: FeatureSet,
    towers: TrainedTowers,
    source: Arm,
    rated: list[RatedResults],
    filter_spec: Filter,
    seed: int,
    places: Places | None = None,
) -> None:
    """Write filter.txt, a LightGBM model of which retrieved results are good, and filter.json: its threshold, the
    effect of the threshold on held-out ratings, the gain of each feature.

    It is trained on the ratings and, as good results, on the clicks of the same searches. Only results without a click
    are rated, so without those clicks the results that are clicked most would look like exceptions.
    """
    threads = source.training.threads
    use_threads(threads)
    corpus = read_corpus(log, features, source)
    searches, documents, good, is_click = _examples(log, rated, corpus.trainable)
    tower = load_towers(towers.folder).tower.over(corpus.inputs)
    unique_searches, search_pos = (part.astype(np.int32) for part in np.unique(searches, return_inverse=True))
    all_documents = np.arange(corpus.inputs.documents, dtype=np.int32)
    vectors = tower.encode(corpus.inputs.rows_of(all_documents))
    lists = lists_of(
        log,
        _training_searches(log, unique_searches, corpus),
        bm25,
        query_vectors(tower, corpus.inputs, unique_searches),
        vectors,
        places,
    )
    names, rows = feature_matrix(lists.pairs, "cosine", "none", search_pos, documents, np.ones_like(search_pos))
    if "popularity" in names:
        popularity = rows[:, names.index("popularity")]
        # An example's own click must not give it away.
        popularity[:] = np.log1p(np.maximum(np.expm1(popularity) - is_click, 0))
    with show_progress("fit filter", 1):
        relevance_filter = fit(names, rows, good, held_out_mask(searches), filter_spec.recall_weight, threads, seed)
    relevance_filter.model.save_model(folder / "filter.txt")
    gains = dict(zip(names, relevance_filter.model.feature_importance("gain").tolist(), strict=True))
    summary = {
        "threshold": relevance_filter.threshold,
        "held_out": relevance_filter.held_out,
        "gain": gains,
        "examples": len(good),
    }
    (folder / "filter.json").write_text(json.dumps(summary, indent=1))


def _training_searches(log: Log, searches: Int32, corpus: Corpus) -> SampledSearches:
    """Searches of the training window in the form of an evaluation, without targets; candidates are the documents that
    existed in that window."""
    queries = pq.read_table(log.folder / "searches.parquet", columns=["query_row"])["query_row"].take(searches)
    columns = {"search_row": searches, "query_row": queries.to_numpy()}
    return SampledSearches(columns, corpus.trainable, pa.table({}), pa.table({}), corpus.clicks[corpus.trainable])


def _examples(log: Log, rated: list[RatedResults], corpus: Int32) -> tuple[Int32, Int32, Bool, Bool]:
    """(searches, documents of the corpus, True if good, True if clicked by the search) of the ratings of all rounds and
    the clicks of their searches."""
    table = pa.concat_tables([pq.read_table(ratings.folder / "rated.parquet") for ratings in rated])
    shown = extracted_log.read_shown(log.folder)
    searches, documents = (
        extracted_log.row_numbers(table, "search_row"),
        extracted_log.row_numbers(table, "document_row"),
    )
    clicked = shown.clicked & np.isin(shown.search_rows, searches)
    is_click = np.concatenate([np.zeros(len(searches), bool), np.ones(clicked.sum(), bool)])
    good = np.concatenate([table["good"].to_numpy(), np.ones(clicked.sum(), bool)])
    searches = np.concatenate([searches, shown.search_rows[clicked]])
    documents = np.concatenate([documents, shown.document_rows[clicked]])
    chosen = np.unique(pair_keys(searches, documents), return_index=True)[1]
    chosen = chosen[np.isin(documents[chosen], corpus)]
    return searches[chosen], documents[chosen], good[chosen], is_click[chosen]


@stage(RetrievedList)
def retrieve_filtered(
    folder: Path,
    log: Log,
    eval_set: EvalSet,
    bm25: TunedBm25,
    vectors: Vectors,
    index: BuiltIndex,
    relevance_filter: FittedFilter,
    k: int,
    threads: int,
    places: Places | None = None,
) -> None:
    """Write a list: the documents that the index retrieves, in its order, without those that the filter rejects."""
    import lightgbm

    use_threads(threads)
    lists, deduped_index = read_lists(log, eval_set, bm25, vectors, places), load_index(index.folder)
    candidates = lists.sample.candidates
    model = lightgbm.Booster(model_file=relevance_filter.folder / "filter.txt")
    threshold = json.loads((relevance_filter.folder / "filter.json").read_text())["threshold"]
    started = time.perf_counter()
    with show_progress("filter", 1):
        nearest, _ = search_index(deduped_index, lists.pairs.queries, lists.sample.depth(k))
        rows = as_document_rows(first_allowed(nearest, lists.sample.excluded, k), candidates)
        search_pos, pos = (part.astype(np.int32) for part in np.nonzero(rows >= 0))
        names, features = feature_matrix(
            lists.pairs, "cosine", "none", search_pos, rows[search_pos, pos], np.ones_like(search_pos)
        )
        assert names == model.feature_name(), "a filter reads the features that it was fitted on"
        is_bad = probabilities(model, features, threads) < threshold
        rows[search_pos[is_bad], pos[is_bad]] = -1
    rows = pack_left(rows)
    seconds = time.perf_counter() - started
    compared = search_cost(deduped_index, lists.pairs.queries, k)[0]
    save_retrieved(Retrieved(rows, compared, count_returned(rows), seconds), folder)
