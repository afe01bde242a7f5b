"""The inputs of training: the corpus of an arm, its pairs, rated results, misspelt copies of queries."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Int32
from ebr_core.errors import InputError
from ebr_core.scratch import IN_RAM, Scratch
from ebr_core.text.ngram_bags import Bags
from ebr_core.text.shortening import shorten
from ebr_core.text.typos import Typos, misspell
from ebr_core.towers.fitted_features import table_bags, text_bags
from ebr_core.towers.tower_inputs import with_copies
from ebr_core.training.arm_config import Arm
from ebr_core.training.own_pairs import OwnPairs, OwnQueries
from ebr_core.training.pair_config import Positives, Ratings, TypoCopies
from ebr_core.training.positives import KnownPositives, Pairs, RatedPairs, hard_count, select_pairs
from ebr_core.training.rated_results import shuffle_ratings
from ebr_core.training.title_pairs import TitlePairs
from ebr_core.training.training_corpus import Corpus, MisspeltCopies
from tasks.feature_stages import read_fitted, read_inputs
from tasks.graph_stage import read_graph_artifacts, read_own_edges
from tasks.kinds import FeatureSet, Log, RatedResults


def read_corpus(log: Log, features: FeatureSet, arm: Arm, scratch: Scratch = IN_RAM) -> Corpus:
    """The searches and documents that an arm reads; arrays that grow with the log lie in scratch."""
    inputs = read_inputs(features, arm.towers, scratch)
    trainable = extracted_log.row_numbers(extracted_log.read(log.folder, "trainable"), "document_row")
    clicks = extracted_log.read_clicks(log.folder, inputs.documents)
    return Corpus(inputs, trainable, clicks, scratch=scratch)


def with_misspelt(corpus: Corpus, pairs: Pairs, log: Log, features: FeatureSet, typos: TypoCopies, seed: int) -> Corpus:
    """The corpus with misspelt copies of the searches of the pairs, over the n-grams of the training vocabulary."""
    searches = np.unique(pairs.search_rows)
    query_rows = pq.read_table(log.folder / "searches.parquet", columns=["query_row"])["query_row"].take(searches)
    queries, inverse = np.unique(query_rows.to_numpy(), return_inverse=True)
    texts = pq.read_table(log.folder / "queries.parquet", columns=["query"])["query"].take(queries).combine_chunks()
    fitted = read_fitted(features)
    copies = [
        table_bags(text_bags(misspell(texts, typos.mix, seed * 1000 + copy), fitted), fitted)
        for copy in range(typos.copies)
    ]
    inputs, first = with_copies(corpus.inputs, copies, inverse.astype(np.int32), searches)
    return corpus._replace(inputs=inputs, copies=MisspeltCopies(first, typos.copies, searches))


def with_titles(corpus: Corpus, log: Log, features: FeatureSet) -> Corpus:
    """The corpus with the titles of the documents of the training window, to be taken for queries.

    Titles are the same if they differ in case and outer blanks alone. Documents without a known n-gram are left out.
    """
    fitted = read_fitted(features)
    titles = pq.read_table(log.folder / "documents.parquet", columns=["title"])["title"].take(corpus.trainable)
    titles = titles.combine_chunks()
    known = np.diff(text_bags(titles, fitted).offsets) > 0
    titles = titles.filter(pa.array(known))
    if not len(titles):
        raise InputError("positives.titles: no document of the training window has a title; set it to 0")
    same = pc.utf8_lower(pc.utf8_trim_whitespace(titles)).dictionary_encode().indices.to_numpy()

    def queries(positions: Int32, seed: int) -> Bags:
        texts = misspell(shorten(titles.take(pa.array(positions)), seed), Typos(), seed)
        return table_bags(text_bags(texts, fitted), fitted)

    return corpus._replace(titles=TitlePairs(corpus.trainable[known], same.astype(np.int32), queries))


def with_own_pairs(corpus: Corpus, log: Log, features: FeatureSet) -> Corpus:
    """The corpus with all that the pairs' own sessions gave to documents and searchers: queries, edges of graphs, and
    the groups whose searches list documents."""
    fitted = read_fitted(features).features
    edges = {
        name: read_own_edges(graph)
        for name, graph in read_graph_artifacts(features).items()
        if fitted.graphs[name].clicks
    }
    listed = tuple(name for name, history in fitted.histories.items() if history.column is not None)
    if not edges and not fitted.text.clicked_queries and not listed:
        return corpus
    searches = pq.read_table(log.folder / "searches.parquet", columns=["session_row"])
    sessions, people = (
        extracted_log.row_numbers(searches, "session_row"),
        np.load(features.folder / "searcher_of.npy", mmap_mode="r"),
    )
    queries = _own_queries(log, corpus.inputs.documents) if fitted.text.clicked_queries else None
    return corpus._replace(own=OwnPairs(sessions, people, corpus.inputs.documents, queries, edges, listed))


def _own_queries(log: Log, documents: int) -> OwnQueries:
    own, clicked = (extracted_log.read(log.folder, name) for name in ("own_queries", "clicked_queries"))
    keys = extracted_log.row_numbers(own, "session_row") * np.int64(documents)
    counts = np.bincount(extracted_log.row_numbers(clicked, "document_row"), minlength=documents)
    return OwnQueries(
        keys + extracted_log.row_numbers(own, "document_row"),
        extracted_log.row_numbers(own, "query_row"),
        np.concatenate([[0], np.cumsum(counts)]),
        extracted_log.row_numbers(clicked, "query_row"),
    )


def read_pairs(
    log: Log,
    positives: Positives,
    mask: str,
    seed: int,
    rated: RatedPairs | None = None,
    ratings: Ratings | None = None,
    scratch: Scratch = IN_RAM,
) -> tuple[Pairs, KnownPositives]:
    """(the training pairs, the documents that must not be their negatives); both lie in scratch."""
    weights = extracted_log.read_weights(log.folder, positives.actions, scratch)
    shown = extracted_log.read_shown(log.folder, scratch)._replace(weights=weights)
    recovered = extracted_log.read_recovered(log.folder, positives.actions)
    return select_pairs(shown, recovered, positives, mask, seed, rated, ratings is None or ratings.positives, scratch)


def refuse_few_hard(log: Log, positives: Positives) -> None:
    """Raise InputError if the training window has fewer hard positives than positives.hard_share sets."""
    if not positives.hard_share:
        return
    recovered = extracted_log.read_recovered(log.folder, positives.actions)
    available = len(recovered.search_rows) if recovered.weights is None else int((recovered.weights > 0).sum())
    clicks = pc.sum(extracted_log.read(log.folder, "clicks")["clicks"]).as_py() or 0
    hard_count(positives.hard_share, clicks, available)


def read_rated(log: Log, rated: list[RatedResults], ratings: Ratings | None, seed: int) -> RatedPairs | None:
    """The ratings of all rounds, each pair once, as the arm uses them; None if it uses none."""
    if ratings is None:
        return None
    table = pa.concat_tables([pq.read_table(ratings_of_round.folder / "rated.parquet") for ratings_of_round in rated])
    searches, documents = (
        extracted_log.row_numbers(table, "search_row"),
        extracted_log.row_numbers(table, "document_row"),
    )
    first = np.unique(searches.astype(np.int64) << 32 | documents, return_index=True)[1]
    searches, documents, good = searches[first], documents[first], table["good"].to_numpy()[first]
    search_columns = pq.read_table(log.folder / "searches.parquet", columns=["query_row", "searcher_row"]).take(
        searches
    )
    people = pc.fill_null(search_columns["searcher_row"], -1).to_numpy().astype(np.int32)
    result = RatedPairs(searches, documents, extracted_log.row_numbers(search_columns, "query_row"), people, good)
    return shuffle_ratings(result, seed) if ratings.shuffled else result
