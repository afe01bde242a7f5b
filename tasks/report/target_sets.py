"""Target sets in words, and in the order in which tables show them."""

from __future__ import annotations

from collections.abc import Iterable

from data.experiment.action_weights import CLICKED

# The set that answers is the first that the rows have. Sets of single actions follow clicks.
MAIN = ("truth", CLICKED, "judged", "recovered", "randomised")
_WORDS = {
    CLICKED: "what was clicked",
    "judged": "what was judged relevant",
    "recovered": "what a failed search's session clicked later",
    "randomised": "what was clicked in lists shown in random order",
    "truth": "what the searcher wanted",
    "carted": "what was put into the cart",
    "purchased": "what was purchased",
}
_FOUND = {
    "recovered": "what failed searches led to later",
    "truth": "what searchers wanted",
}
_TITLES = {
    CLICKED: "clicked documents (or what stands in for clicks)",
    "judged": "judged documents",
    "truth": "what the searcher wanted, clicked or not",
}


def in_order(names: Iterable[str]) -> list[str]:
    """The distinct target sets, the main one first.

    >>> in_order(["purchased", "judged", "clicked", "carted"])
    ['clicked', 'carted', 'purchased', 'judged']
    """
    place = {name: at for at, name in enumerate(MAIN)}
    return sorted(set(names), key=lambda name: (place.get(name, place[CLICKED] + 0.5), name))


def set_words(name: str) -> str:
    """What a target set holds.

    >>> set_words("add_to_list")
    'what has the action add_to_list'
    """
    return _WORDS.get(name, f"what has the action {name}")


def found_words(name: str) -> str:
    """What a target set holds, of many searches together."""
    return _FOUND.get(name, set_words(name))


def set_title(name: str) -> str:
    """The title of a table on a target set."""
    return f"targets: {_TITLES.get(name, set_words(name))}"
