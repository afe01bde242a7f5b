"""The kinds of queries, by hand; one query alone has the kind that it has among many."""

from __future__ import annotations

import pyarrow as pa

from ebr_core.search.query_kinds import KINDS, query_kinds, training_queries
from ebr_core.text.terms import index_terms

CASES = {
    "chess club": "seen, short",
    "Chess Club ": "seen, short",
    "walking club bonn": "seen, long",
    "bonn": "new, short",
    "chess open bonn": "new, long",
    "chess clbu": "misspelt",
    "opening": "new, short",  # another form of a document's word, in a language that is named
    "CHESS, club!": "seen, short",
}


def test_a_word_of_documents_alone_is_known_whatever_the_order_of_the_words() -> None:
    terms = index_terms(["zebra crossing", "yoga", "alpaca walk", "mule"], None, 1.2, 0.75)
    known = training_queries(pa.array(["chess club"]), None)
    words = ["zebra", "crossing", "yoga", "alpaca", "walk", "mule", "unknown"]
    for query in words:
        expected = "misspelt" if query == "unknown" else "new, short"
        assert KINDS[query_kinds(pa.array([query]), known, terms)[0]] == expected
        assert KINDS[query_kinds(pa.array([query, *words * 3]), known, terms)[0]] == expected


def test_kinds() -> None:
    terms = index_terms(["Bonn Walks", "Chess Open"], "en", 1.2, 0.75)
    known = training_queries(pa.array(["chess club", "walking club bonn", "chess club"]), "en")
    together = query_kinds(pa.array([*CASES] * 5), known, terms)
    assert [KINDS[kind] for kind in together] == [*CASES.values()] * 5
    for query, kind in CASES.items():
        assert KINDS[query_kinds(pa.array([query]), known, terms)[0]] == kind
