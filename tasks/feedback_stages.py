"""The feedback loop's stages: what is to be rated, the ratings, the relevance filter and the lists that it shortens."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log, rating_files
from data.schemas import IMPORTED, RATED, TO_RATE
from ebr_core.arrays import Bool, Int32, Int64
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.rerank.relevance_filter import fit, held_out, probabilities
from ebr_core.search.deduped_index import load
from ebr_core.search.nearest import scanned, search_exact, search_index
from ebr_core.towers.checkpoint import load_towers
from ebr_core.towers.tower import query_vectors
from ebr_core.training.arm_config import Arm
from ebr_core.training.rated_results import Feedback, Filter, Rater, first_there, keys_of, packed, with_noise
from ebr_core.training.train_loop import Corpus, use_threads
from tasks.artifacts import Artifact, stage
from tasks.eval_sets import SampledSearches
from tasks.home import home
from tasks.kinds import (
    BuiltIndex,
    EvalSet,
    FeatureSet,
    FittedFilter,
    Log,
    RatedResults,
    RetrievedList,
    SimulatedLog,
    TrainedTowers,
    UnratedResults,
    Vectors,
)
from tasks.progress import showing
from tasks.ranker_inputs import lists_of, matrix, read_lists
from tasks.retrieved import Retrieved, as_document_rows, count_returned, save_retrieved
from tasks.training_inputs import read_corpus

SLACK = 3  # of a list three times as long as asked for, the first documents that existed are kept


class FeedbackResult(Frozen):
    """Ratings, or a filter, of an arm with a seed."""

    arm: str
    seed: int
    made: Artifact


def read_summary(each: FeedbackResult) -> dict[str, Any]:
    """What the stage told of it, with the arm and the seed: see _write and fit_filter."""
    file = "filter.json" if each.made.stage == fit_filter.name else "ratings.json"
    told: dict[str, Any] = json.loads((each.made.folder / file).read_text())
    return {"arm": each.arm, "seed": each.seed} | told


@stage(UnratedResults)
def list_unrated(
    folder: Path,
    log: Log,
    features: FeatureSet,
    towers: TrainedTowers,
    source: Arm,
    before: list[RatedResults],
    its: Feedback,
) -> None:
    """to_rate.parquet: what the towers of the arm source retrieve for searches of the training window, among the
    documents that existed at that moment, without what the log judged and what earlier rounds (before) rated."""
    use_threads(source.training.threads)
    corpus = read_corpus(log, features, source)
    searches = extracted_log.rows(extracted_log.read(log.folder, "rateable", {"most": its.searches}), "search_row")
    tower = load_towers(towers.folder).tower.over(corpus.inputs)
    deep = min(SLACK * its.k, len(corpus.trainable))
    with showing("to rate", 1):
        documents = tower.encode(corpus.inputs.rows_of(corpus.trainable))
        rows, near = search_exact(documents, query_vectors(tower, corpus.inputs, searches), deep)
    rows = np.where(rows >= 0, corpus.trainable[rows], -1).astype(np.int32)
    rows, near = first_there(rows, near, _existed(log, searches, rows), its.k)
    query, place = np.nonzero(rows >= 0)
    found = searches[query], rows[query, place]
    wanted = ~np.isin(keys_of(*found), _told_already(log, before, its.judged))
    columns = [*found, (place + 1).astype(np.int32), near[query, place]]
    pq.write_table(pa.table([column[wanted] for column in columns], schema=TO_RATE), folder / "to_rate.parquet")


def _existed(log: Log, searches: Int32, rows: Int32) -> Bool:
    """(Q, K) whether each document existed when its search was made; row −1 did not."""
    asked = pq.read_table(log.folder / "searches.parquet", columns=["searched_at"])["searched_at"].take(searches)
    lives = pq.read_table(log.folder / "documents.parquet", columns=["created_at", "removed_at"])
    ends = np.iinfo(np.int64)
    at = asked.cast(pa.int64()).to_numpy()[:, None]
    created = pc.fill_null(lives["created_at"].cast(pa.int64()), ends.min).to_numpy()
    removed = pc.fill_null(lives["removed_at"].cast(pa.int64()), ends.max).to_numpy()
    there: Bool = (rows >= 0) & (created[rows] <= at) & (removed[rows] > at)
    return there


def _told_already(log: Log, before: list[RatedResults], judged: str) -> Int64:
    """The pairs that the log or an earlier round judged."""
    shown = extracted_log.read_shown(log.folder)
    seen = shown.clicked if judged == "clicked" else np.ones(len(shown.clicked), bool)
    rated = [pq.read_table(one.folder / "rated.parquet") for one in before]
    pairs = [
        keys_of(extracted_log.rows(table, "search_row"), extracted_log.rows(table, "document_row")) for table in rated
    ]
    return np.concatenate([keys_of(shown.search_rows[seen], shown.document_rows[seen]), *pairs])


@stage(RatedResults)
def rate(folder: Path, log: Log, world: SimulatedLog, asked: UnratedResults, rater: Rater, good_from: int) -> None:
    """rated.parquet: the simulated world's truth about what was to be rated, with the rater's noise.

    Only searches of the training window are ever looked up. ratings.json: how many, how many of them are good.
    """
    table = pq.read_table(asked.folder / "to_rate.parquet", columns=["search_row", "document_row"])
    found = rating_files.true_grades(log.folder, world.folder / "truth", table)
    searches, documents = extracted_log.rows(found, "search_row"), extracted_log.rows(found, "document_row")
    grades = with_noise(found["grade"].to_numpy(), keys_of(searches, documents), good_from, rater)
    _write(folder, pa.table([searches, documents, grades, grades >= good_from], schema=RATED))


@stage(RatedResults)
def take_imported(folder: Path, log: Log, arm: str, files: list[str], good_from: int) -> None:
    """The same from what people filled in: files are those that were imported, by name (see keep_imported)."""
    if not files:
        raise InputError(
            f"nobody has rated what {arm} retrieves: `ebr ratings export EXPERIMENT --arm {arm} OUT.csv`, fill in the "
            "column grade, then `ebr ratings import EXPERIMENT OUT.csv --arm " + arm + "`"
        )
    tables = [pq.read_table(imported_folder() / name, schema=IMPORTED) for name in files]
    _write(folder, rating_files.as_rated(pa.concat_tables(tables), log.folder, good_from))


def _write(folder: Path, rated: pa.Table) -> None:
    pq.write_table(rated, folder / "rated.parquet")
    told = {
        "ratings": rated.num_rows,
        "good": pc.sum(rated["good"]).as_py() or 0,
        "searches": pc.count_distinct(rated["search_row"]).as_py(),
    }
    (folder / "ratings.json").write_text(json.dumps(told, indent=1))


def imported_folder() -> Path:
    """Where imported ratings lie: no artifacts, for people made them, and nothing can make them again."""
    return home() / "ratings"


def imported_of(name: str, arm: str) -> list[str]:
    """The files of ratings imported under this name of what an arm retrieved, each named by what it holds."""
    folder = imported_folder() / name / arm
    return sorted(f"{name}/{arm}/{path.name}" for path in folder.glob("*.parquet"))


def keep_imported(log: Log, file: Path, name: str, arm: str) -> tuple[Path, pa.Table]:
    """(where they are kept, the ratings): checks a file that people filled in, and keeps it for the arm.

    Errors: what ratings.read_csv refuses, and a pair that was imported before with another grade.
    """
    table = rating_files.read_csv(file, log.folder)
    for before in imported_of(name, arm):
        both = pa.concat_tables([pq.read_table(imported_folder() / before, schema=IMPORTED), table])
        if told := list(
            rating_files.contradictions(both, f"the ratings imported before, {imported_folder() / before}")
        ):
            raise InputError(f"{file}: nothing was imported\n" + "\n".join(f"  {line}" for line in told))
    content = json.dumps(table.select(["search_id", "document_id", "grade"]).to_pydict()).encode()
    kept = imported_folder() / name / arm / f"{hashlib.sha256(content).hexdigest()[:20]}.parquet"
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_suffix(".unfinished")
    pq.write_table(table, unfinished)
    unfinished.rename(kept)
    return kept, table


@stage(FittedFilter)
def fit_filter(
    folder: Path,
    log: Log,
    features: FeatureSet,
    towers: TrainedTowers,
    source: Arm,
    rated: list[RatedResults],
    its: Filter,
    seed: int,
) -> None:
    """filter.txt, a LightGBM model of which retrieved results are good, and filter.json: its threshold, what that does
    to held-out ratings, the gain of each feature.

    It learns from the ratings and, as good, from what the same searches clicked: rated is only what nobody clicked, so
    that without these it would take what is clicked most for the exception.
    """
    threads = source.training.threads
    use_threads(threads)
    corpus = read_corpus(log, features, source)
    searches, documents, good, own = _examples(log, rated, corpus.trainable)
    tower = load_towers(towers.folder).tower.over(corpus.inputs)
    asked, at = (part.astype(np.int32) for part in np.unique(searches, return_inverse=True))
    every = np.arange(corpus.inputs.documents, dtype=np.int32)
    vectors = tower.encode(corpus.inputs.rows_of(every))
    lists = lists_of(log, _asked(log, asked, corpus), query_vectors(tower, corpus.inputs, asked), vectors)
    names, rows = matrix(lists, "cosine", "none", at, documents, np.ones_like(at))
    if "popularity" in names:
        popularity = rows[:, names.index("popularity")]
        popularity[:] = np.log1p(np.maximum(np.expm1(popularity) - own, 0))  # a click is not told by itself
    with showing("fit filter", 1):
        judge = fit(names, rows, good, held_out(searches), its.recall_weight, threads, seed)
    judge.model.save_model(folder / "filter.txt")
    gains = dict(zip(names, judge.model.feature_importance("gain").tolist(), strict=True))
    told = {"threshold": judge.threshold, "held_out": judge.held_out, "gain": gains, "examples": len(good)}
    (folder / "filter.json").write_text(json.dumps(told, indent=1))


def _asked(log: Log, searches: Int32, corpus: Corpus) -> SampledSearches:
    """Searches of the training window as an evaluation has them, without targets: what can be retrieved is what existed
    in that window."""
    queries = pq.read_table(log.folder / "searches.parquet", columns=["query_row"])["query_row"].take(searches)
    columns = {"search_row": searches, "query_row": queries.to_numpy()}
    return SampledSearches(columns, corpus.trainable, pa.table({}), pa.table({}), corpus.clicks[corpus.trainable])


def _examples(log: Log, rated: list[RatedResults], corpus: Int32) -> tuple[Int32, Int32, Bool, Bool]:
    """(searches, documents of the corpus, good, whether the search clicked it) of all rounds' ratings and their
    searches' clicks."""
    table = pa.concat_tables([pq.read_table(one.folder / "rated.parquet") for one in rated])
    shown = extracted_log.read_shown(log.folder)
    searches, documents = extracted_log.rows(table, "search_row"), extracted_log.rows(table, "document_row")
    clicked = shown.clicked & np.isin(shown.search_rows, searches)
    own = np.concatenate([np.zeros(len(searches), bool), np.ones(clicked.sum(), bool)])
    good = np.concatenate([table["good"].to_numpy(), np.ones(clicked.sum(), bool)])
    searches = np.concatenate([searches, shown.search_rows[clicked]])
    documents = np.concatenate([documents, shown.document_rows[clicked]])
    first = np.unique(keys_of(searches, documents), return_index=True)[1]
    first = first[np.isin(documents[first], corpus)]
    return searches[first], documents[first], good[first], own[first]


@stage(RetrievedList)
def retrieve_filtered(
    folder: Path,
    log: Log,
    evaluated: EvalSet,
    vectors: Vectors,
    index: BuiltIndex,
    fitted: FittedFilter,
    k: int,
    threads: int,
) -> None:
    """A list: what the index finds, in its order, without what the filter takes for bad."""
    use_threads(threads)
    lists, searched = read_lists(log, evaluated, vectors), load(index.folder)
    candidates = lists.sample.candidates
    model = lightgbm.Booster(model_file=fitted.folder / "filter.txt")
    threshold = json.loads((fitted.folder / "filter.json").read_text())["threshold"]
    started = time.perf_counter()
    with showing("filter", 1):
        found, _ = search_index(searched, lists.queries, k)
        rows = as_document_rows(found, candidates)
        at, place = (part.astype(np.int32) for part in np.nonzero(rows >= 0))
        names, read = matrix(lists, "cosine", "none", at, rows[at, place], np.ones_like(at))
        assert names == model.feature_name(), "a filter reads what it was fitted on"
        bad = probabilities(model, read, threads) < threshold
        rows[at[bad], place[bad]] = -1
    rows = packed(rows)
    seconds = time.perf_counter() - started
    counted = scanned(searched, lists.queries, k)[0]
    save_retrieved(Retrieved(rows, counted, count_returned(rows), seconds), folder)
