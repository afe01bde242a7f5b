"""Boolean conditions against a loop over the documents."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.errors import InputError
from ebr_core.search.conditions import (
    AllOf,
    AnyOf,
    Condition,
    Is,
    Mask,
    Near,
    Not,
    Term,
    condition_mask,
    contains_nn,
    parse,
)
from ebr_core.text.terms import index_terms

DOCUMENTS = [
    {"kind": "person", "city": "Lyon", "country": "FR", "created_at": "2024-01-05", "title": "Anna Smith"},
    {"kind": "page", "city": "Bonn", "country": "DE", "created_at": "2024-03-01", "title": "Smiths of Bonn"},
    {"kind": "page", "city": None, "country": None, "created_at": None, "title": "walking club"},
    {"kind": "event", "city": "New York", "country": "US", "created_at": "2024-02-10", "title": "Walks and talks"},
]
TABLE = pa.table(
    {name: pa.array([d.get(name) for d in DOCUMENTS], pa.string()) for name in ("kind", "city", "country", "title")}
    | {
        "created_at": pa.array(
            [d["created_at"] and datetime.datetime.fromisoformat(d["created_at"]) for d in DOCUMENTS],
            pa.timestamp("us"),
        )
    }
)
TERMS = index_terms(TABLE["title"].to_pylist(), "en", 1.2, 0.75)
CLOSENESS = [0.9, 0.5, 0.8, 0.1]  # of the documents to the query


def nearest(near: Near, among: Mask) -> Mask:
    if near.radius is not None:
        return among & (1 - np.array(CLOSENESS) <= near.radius)
    order = [row for row in np.argsort([-c for c in CLOSENESS]) if among[row]]
    return np.isin(np.arange(len(DOCUMENTS)), order[: near.k])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind = page", [1, 2]),
        ("kind != page", [0, 3]),
        ("city != Lyon", [1, 3]),  # a comparison with a missing city is false
        ("NOT city = Lyon", [1, 2, 3]),
        ('city = "New York"', [3]),
        ("country IN (DE, FR)", [0, 1]),
        ("created_at >= 2024-02-01", [1, 3]),
        ('created_at < "2024-02-10T00:00:01"', [0, 3]),
        ('created_at < "2024-02-10T00:00:01+02:00"', [0]),  # two hours earlier in UTC
        ('created_at <= "2024-02-09T22:00:00-02:00"', [0, 3]),
        ("kind = person OR kind = page AND country = DE", [0, 1]),
        ("(kind = person or kind = page) and country = DE", [1]),
        ("term:smith", [0, 1]),  # stemmed
        ('term:"smith bonn"', [1]),
        ("term:nobody", []),
        ("term:walk AND NOT kind = event", [2]),
        ("nn(k=2)", [0, 2]),
        ("nn(radius=0.5)", [0, 1, 2]),
        ("nn(k=1) AND kind = page", [2]),  # the nearest page
        ("kind = event OR nn(k=1)", [0, 3]),
        ("NOT nn(radius=0.2)", [1, 3]),
        ('kind = "AND"', []),
    ],
)
def test_documents_that_meet_a_condition(text: str, expected: list[int]) -> None:
    assert np.flatnonzero(condition_mask(parse(text), TABLE, TERMS, nearest)).tolist() == expected


def _conditions() -> st.SearchStrategy[Condition]:
    leaf = st.one_of(
        st.builds(Is, st.sampled_from(["kind", "city", "country"]), st.sampled_from(["=", "!=", "<"]),
                  st.sampled_from([("page",), ("Lyon",), ("DE",)])),
        st.builds(Term, st.sampled_from(["smith", "walk", "none"])),
        st.builds(Near, st.sampled_from([0.15, 0.5]), st.none()),
    )  # fmt: skip
    several = lambda part: st.lists(part, min_size=1, max_size=3).map(tuple)  # noqa: E731
    return st.recursive(
        leaf,
        lambda part: st.one_of(st.builds(Not, part), st.builds(AllOf, several(part)), st.builds(AnyOf, several(part))),
    )


def _holds(condition: Condition, row: int) -> bool:
    if isinstance(condition, Near):
        return 1 - CLOSENESS[row] <= (condition.radius or 0)
    if isinstance(condition, Not):
        return not _holds(condition.part, row)
    if isinstance(condition, AllOf):
        return all(_holds(part, row) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return any(_holds(part, row) for part in condition.parts)
    if isinstance(condition, Term):
        return any(word.startswith(condition.text) for word in str(DOCUMENTS[row]["title"]).lower().split())
    value, expected = DOCUMENTS[row][condition.attribute], condition.values[0]
    if value is None:
        return False
    return {"=": value == expected, "!=": value != expected, "<": value < expected}[condition.operator]


@settings(max_examples=80, deadline=None)
@given(_conditions())
def test_masks_equal_a_loop_over_the_documents(condition: Condition) -> None:
    mask = condition_mask(condition, TABLE, TERMS, nearest)
    assert mask.tolist() == [_holds(condition, row) for row in range(len(DOCUMENTS))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends where an attribute"),
        ("colour = red", "got 'colour' at 0.*an attribute \\(document_id, kind, city"),
        ("kind", "ends where one of ="),
        ("kind page", "got 'page' at 5.*expected one of"),
        ("kind =", "ends where more"),
        ("kind = )", "expected a value"),
        ("(kind = page", r"ends where \) should follow"),
        ("kind = page kind = event", "expected AND, OR or the end"),
        ("created_at > yesterday", "expected a date such as"),
        ("nn(k=0)", "k of at least 1"),
        ("nn(radius=3)", "between 0 and 2"),
        ("nn(radius=far)", "'far' is not a number"),
        ("nn(size=3)", "expected radius=… or k=…"),
        ("NOT " * 60 + "kind = page", "nested more than 50 deep"),
        ("x" * 2001, "2001 characters; at most 2000"),
        ('kind = "open', "makes no sense"),
    ],
)
def test_a_syntax_error_names_its_position(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


def test_holds_nn_looks_inside_nested_conditions() -> None:
    assert contains_nn(parse("kind = page AND (city = Bonn OR NOT nn(k=3))"))
    assert not contains_nn(parse('kind = page AND term:"nn"'))
