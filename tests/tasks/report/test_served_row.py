"""The sentence that says what is served, and why something better is not."""

from __future__ import annotations

from small_results import a_level

from tasks.finished_run import ServedRow
from tasks.report.served_row import describe_served, is_served

VALIDATION = [a_level("soft", 0.8), a_level("ranked", 0.85), a_level("within", 0.9), a_level("worse", 0.7)]
LISTS = ["within", "worse"]


def test_what_is_better_but_not_served_is_named_with_the_reason() -> None:
    served = ServedRow(arm="soft", mode="hybrid", index="tuned", recall=0.8, refused={"ranked": "it reads minds"})
    assert describe_served(served, VALIDATION, 10, LISTS) == (
        "search, serve, batch, export and nights answer with `soft+bm25` through the index tuned: of all that a bundle "
        "can serve it has the highest recall@10 on the validation, .800 by exact search. Higher there, but not served, "
        "because bundles hold no such list: `within` .900. Not served: `ranked`, .850 there, because it reads minds."
    )


def test_a_ranker_that_is_served_is_not_called_better() -> None:
    served = ServedRow(arm="ranked", mode="reranked", index="tuned", recall=0.84)  # by exact search
    assert describe_served(served, VALIDATION, 10, LISTS) == (
        "search, serve, batch, export and nights answer with `ranked` through the index tuned: of all that a bundle "
        "can serve it has the highest recall@10 on the validation, .840 by exact search. Higher there, but not served, "
        "because bundles hold no such list: `within` .900."
    )
    assert is_served(served, "ranked", "tuned")
    assert not is_served(served, "ranked", "exact")


def test_a_ranker_with_a_bundle_is_not_called_a_list_that_no_bundle_holds() -> None:
    """Through its index it has more than what is served, by exact search, by which is chosen, less."""
    served = ServedRow(arm="soft", mode="ebr", index="tuned", recall=0.8)
    assert "ranked" not in describe_served(served, VALIDATION, 10, LISTS)
