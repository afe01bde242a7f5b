"""Searches that the champion wins and loses against BM25, and queries that the engine of the log did not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Int32, Int64
from ebr_core.search.index_specs import OWN_INDEXES
from tasks.eval_sets import read_sample
from tasks.evaluation_stage import EvaluatedList
from tasks.finished_run import FinishedRun
from tasks.kinds import Log, RunResults
from tasks.report.result import REFERENCE, main_targets, read_rows
from tasks.retrieved import Retrieved, load_retrieved

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 20  # searches in a list, and queries
DOCUMENTS = 5  # retrieved documents of a search, beside the targets among the first K


def find_examples(run: FinishedRun, results: RunResults) -> dict[str, Any]:
    """The content of examples.json: searches won and lost, and unanswered queries, with texts of the log.

    Nothing is won or lost without a champion, or without BM25 to compare it with. Of several seeds the first is shown.
    """
    unanswered = extracted_log.read(run.log.folder, "unanswered", {"split": "test", "most": EXAMPLES}).to_pylist()
    champion = _first_list(run, run.champion, run.served.index if run.served else None)
    reference = _first_list(run, REFERENCE)
    if champion is None or reference is None or champion == reference:
        return {"unanswered": unanswered}
    targets = main_targets(read_rows(results.folder / "results.parquet", with_slices=False))
    paired = _paired(run, (champion, reference), targets, results)
    drawn = _draw(paired)
    shown = _describe(run, (champion, reference), targets, np.unique(np.concatenate(list(drawn.values()))))
    recalls = dict(zip(paired.index.tolist(), paired[["recall 0", "recall 1"]].to_numpy().tolist(), strict=True))
    lists = {name: [shown[row] | {"recall": recalls[row]} for row in rows.tolist()] for name, rows in drawn.items()}
    return {
        "arms": [champion.arm, reference.arm],
        "seed": champion.seed,
        "targets": targets,
        "searches": len(paired),
        "won": int((paired["difference"] > 0).sum()),
        "lost": int((paired["difference"] < 0).sum()),
        "lists": lists,
        "unanswered": unanswered,
    }


def _first_list(run: FinishedRun, name: str | None, index: str | None = None) -> EvaluatedList | None:
    """The list of a row with the first seed: through this index, or else by exact search. None if it has none."""
    lists = [listed for listed in run.lists if listed.arm == name]
    lists = [listed for listed in lists if isinstance(load_retrieved(listed.rows), Retrieved)]
    preferred = [listed for listed in lists if listed.index == index] or lists
    return min(preferred, key=lambda listed: (listed.index not in OWN_INDEXES, listed.seed or 0), default=None)


def _paired(
    run: FinishedRun, pair: tuple[EvaluatedList, EvaluatedList], targets: str, results: RunResults
) -> pd.DataFrame:
    """The searches of a target set, by row: the recall of both lists, the differences of recall and of reciprocal rank,
    the query."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for at, listed in enumerate(pair):
        condition = (pc.field("arm") == listed.arm) & (pc.field("index") == listed.index)
        condition &= (pc.field("targets") == targets) & pc.field("metric").isin(["recall", "mrr"])
        table = pq.read_table(results.folder / "per_search.parquet", filters=condition).to_pandas()
        table = table[table["seed"].isna() if listed.seed is None else table["seed"] == listed.seed]
        of_search = table[(table["metric"] == "mrr") | (table["k"] == run.spec.evaluation.main_k)]
        values = of_search.pivot_table("value", "search_row", "metric")
        columns |= {f"recall {at}": values["recall"], f"mrr {at}": values["mrr"]}
    paired = pd.DataFrame(columns)
    paired["difference"] = paired["recall 0"] - paired["recall 1"]
    paired["rank difference"] = paired["mrr 0"] - paired["mrr 1"]
    searches = read_sample(run.searches).searches
    paired["query"] = pd.Series(searches["query_row"], searches["search_row"])
    return paired


def _draw(paired: pd.DataFrame) -> dict[str, Int64]:
    """The rows of searches won and lost: those of the largest differences, ties by rank, and some at random. A query
    occurs once in a list."""
    shuffled = paired.sample(frac=1, random_state=0)
    drawn = {}
    for name, sign in (("won", 1), ("lost", -1)):
        decided = shuffled[sign * shuffled["difference"] > 0]
        by_size = decided.sort_values(["difference", "rank difference"], ascending=sign < 0, kind="stable")
        for way, rows in (("largest difference", by_size), ("at random", decided)):
            drawn[f"{name}, {way}"] = rows.drop_duplicates("query").index.to_numpy()[:EXAMPLES]
    return drawn


def _describe(
    run: FinishedRun, pair: tuple[EvaluatedList, EvaluatedList], targets: str, search_rows: Int64
) -> dict[int, dict[str, Any]]:
    """By search: its query, titles of its targets, and of each list the first documents and the targets among the first
    K: (rank, title, whether it is a target)."""
    sample = read_sample(run.searches)
    searches, wanted = sample.for_targets(targets)
    places = np.searchsorted(searches["search_row"], search_rows)
    of_search = [wanted.documents[wanted.offsets[at] : wanted.offsets[at + 1]] for at in places]
    lists = [_documents(listed)[searches["at"][places], : run.spec.evaluation.main_k] for listed in pair]
    queries = pq.read_table(run.log.folder / "queries.parquet")["query"].take(searches["query_row"][places]).to_pylist()
    titles = _titles(run.log, np.unique(np.concatenate([*of_search, *(rows.ravel() for rows in lists)])))
    return {
        row: {
            "query": queries[at],
            "targets": [titles[document] for document in of_search[at].tolist()[:DOCUMENTS]],
            "more_targets": max(0, len(of_search[at]) - DOCUMENTS),
            "retrieved": [
                [
                    [rank, titles[document], document in of_search[at]]
                    for rank, document in enumerate(rows[at].tolist(), 1)
                    if document >= 0 and (rank <= DOCUMENTS or document in of_search[at])
                ]
                for rows in lists
            ],
        }
        for at, row in enumerate(search_rows.tolist())
    }


def _documents(listed: EvaluatedList) -> Int32:
    retrieved = load_retrieved(listed.rows)
    assert isinstance(retrieved, Retrieved), "it was among the lists with documents"
    return retrieved.rows


def _titles(log: Log, document_rows: Int32) -> dict[int, str]:
    """The title of each document, or its identity where it has none."""
    rows = document_rows[document_rows >= 0]
    documents = pq.read_table(log.folder / "documents.parquet", columns=["document_id", "title"]).take(rows)
    return {
        row: title or identity
        for row, title, identity in zip(
            rows.tolist(), documents["title"].to_pylist(), documents["document_id"].to_pylist(), strict=True
        )
    }
