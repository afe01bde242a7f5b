"""Boolean conditions against a loop over the documents."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.errors import InputError
from ebr_core.search.condition_masks import (
    Mask,
    Place,
    SearchedDocuments,
    check_columns,
    condition_mask,
    unknown_values,
)
from ebr_core.search.conditions import (
    AllOf,
    AnyOf,
    Condition,
    Is,
    Near,
    Not,
    Term,
    Within,
    columns_named,
    contains_nn,
    parse,
    reads_place,
)
from ebr_core.text.terms import index_terms

LYON, BONN = (45.75, 4.85), (50.73, 7.1)  # 570 km apart
DOCUMENTS: list[dict[str, Any]] = [
    {"kind": "person", "city": "Lyon", "country": "FR", "created_at": "2024-01-05", "title": "Anna Smith",
     "price": 19.5, "stock": 3, "new": True, "released": "2024-01-01", "Brand": "Acme", "tags": ["red", "big"],
     "place": LYON},
    {"kind": "page", "city": "Bonn", "country": "DE", "created_at": "2024-03-01", "title": "Smiths of Bonn",
     "price": 20.0, "stock": 0, "new": False, "released": "2024-06-01", "Brand": "Acme & Co", "tags": ["red"],
     "place": BONN},
    {"kind": "page", "city": None, "country": None, "created_at": None, "title": "walking club",
     "price": None, "stock": None, "new": None, "released": None, "Brand": None, "tags": None, "place": None},
    {"kind": "event", "city": "New York", "country": "US", "created_at": "2024-02-10", "title": "Walks and talks",
     "price": -5.0, "stock": 10, "new": True, "released": "2023-12-31", "Brand": "zett", "tags": [],
     "place": (45.9, 4.85)},
]  # fmt: skip
TEXTS = ("kind", "city", "country", "title", "Brand")
TYPES = {"price": pa.float64(), "stock": pa.int64(), "new": pa.bool_(), "tags": pa.list_(pa.string())}
TABLE = pa.table(
    {name: pa.array([d[name] for d in DOCUMENTS], pa.string()) for name in TEXTS}
    | {name: pa.array([d[name] for d in DOCUMENTS], type_) for name, type_ in TYPES.items()}
    | {
        name: pa.array([d[name] and datetime.datetime.fromisoformat(d[name]) for d in DOCUMENTS], pa.timestamp("us"))
        for name in ("created_at", "released")
    }
)
TERMS = index_terms(TABLE["title"].to_pylist(), "en", 1.2, 0.75)
PLACES = np.array([d["place"] or (np.nan, np.nan) for d in DOCUMENTS])
SEARCHED = SearchedDocuments(TABLE, TERMS, PLACES, {"story": "it holds texts of up to 4,000 characters"})
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
        ("price < 20", [0, 3]),
        ("price = ''", [2]),  # without a price
        ('price != ""', [0, 1, 3]),
        ("Brand IN ('', zett)", [2, 3]),
        ("NOT Brand IN ('', zett)", [0, 1]),
        ("tags = ''", [2, 3]),
        ("tags IN (big, '')", [0, 2, 3]),
        ("released = ''", [2]),
        ("created_at != ''", [0, 1, 3]),
        ("price <= 2e1", [0, 1, 3]),
        ("price != 20", [0, 3]),  # a document without a price has none that differs
        ("NOT price < 20", [1, 2]),
        ("price IN (-5, 19.50)", [0, 3]),
        ("stock >= 2.5", [0, 3]),
        ("stock = 3", [0]),
        ("new = true", [0, 3]),
        ("new != yes", [1]),
        ("released < 2024-01-01", [3]),
        ('released >= "2024-01-01T00:00:00+01:00"', [0, 1]),
        ("brand = 'Acme'", [0]),  # the case of a column's name does not matter
        ("\"Brand\" = 'Acme & Co'", [1]),
        ("""brand IN ("Acme", 'zett', 'it\\'s', 'it''s')""", [0, 3]),
        ("brand > B", [3]),
        ("tags = red", [0, 1]),
        ("tags IN (big, small)", [0]),
        ("tags != big", [1]),  # a document without tags has none that differ
        ("NOT tags = red", [2, 3]),
        ("price < 20 AND brand = 'Acme' OR new = false", [0, 1]),
        ("within 5 km", [0]),  # of Lyon, where the search is
        ("within 20km", [0, 3]),
        ("NOT within 20 km", [1, 2]),
        ("within 5 km of Bonn", [1]),
        ('within 5 km of "Bonn, DE"', [1]),
        ('within 5 km of "50.73, 7.1"', [1]),
        ("within 600 km AND within 600 km of Bonn", [0, 1, 3]),
    ],
)
def test_documents_that_meet_a_condition(text: str, expected: list[int]) -> None:
    assert np.flatnonzero(condition_mask(parse(text), SEARCHED, nearest, LYON)).tolist() == expected


def test_no_document_is_near_a_search_without_a_place() -> None:
    assert not condition_mask(parse("within 20000 km"), SEARCHED, nearest).any()
    assert condition_mask(parse("within 20000 km of Bonn"), SEARCHED, nearest).tolist() == [True, True, False, True]


def _conditions() -> st.SearchStrategy[Condition]:
    operators, orders = st.sampled_from(["=", "!=", "<", ">="]), st.sampled_from(["=", "!="])
    leaf: st.SearchStrategy[Condition] = st.one_of(
        st.builds(Is, st.sampled_from(["kind", "city", "country", "Brand"]), operators,
                  st.sampled_from([("page",), ("Lyon",), ("DE",), ("Acme",)])),
        st.builds(Is, st.sampled_from(["price", "stock"]), operators, st.sampled_from([("20",), ("3",), ("-5.0",)])),
        st.builds(Is, st.sampled_from(["price", "stock"]), st.just("="), st.just(("20", "0", "7"))),
        st.builds(Is, st.just("new"), orders, st.sampled_from([("true",), ("0",)])),
        st.builds(Is, st.just("tags"), orders, st.sampled_from([("red",), ("big",), ("blue",)])),
        st.builds(Is, st.just("released"), operators, st.sampled_from([("2024-01-01",), ("2024-05-05",)])),
        st.builds(Within, st.sampled_from([1.0, 50.0, 700.0]), st.sampled_from([None, BONN])),
        st.builds(Term, st.sampled_from(["smith", "walk", "none"])),
        st.builds(Near, st.sampled_from([0.15, 0.5]), st.none()),
    )  # fmt: skip
    several = lambda part: st.lists(part, min_size=1, max_size=3).map(tuple)  # noqa: E731
    return st.recursive(
        leaf,
        lambda part: st.one_of(st.builds(Not, part), st.builds(AllOf, several(part)), st.builds(AnyOf, several(part))),
    )


def _holds(condition: Condition, row: int, origin: Place | None) -> bool:
    document = DOCUMENTS[row]
    if isinstance(condition, Near):
        return 1 - CLOSENESS[row] <= (condition.radius or 0)
    if isinstance(condition, Within):
        start = condition.place or origin
        return None not in (start, document["place"]) and _km(start, document["place"]) <= condition.km
    if isinstance(condition, Not):
        return not _holds(condition.part, row, origin)
    if isinstance(condition, AllOf):
        return all(_holds(part, row, origin) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return any(_holds(part, row, origin) for part in condition.parts)
    if isinstance(condition, Term):
        return any(word.startswith(condition.text) for word in document["title"].lower().split())
    value = document[condition.attribute]
    if value is None or value == []:
        return False
    outcomes = []
    for text in condition.values:
        wanted: Any = text
        if isinstance(value, bool):
            wanted = text in ("true", "1")
        elif isinstance(value, int | float):
            wanted = float(text)
        equal = wanted in value if isinstance(value, list) else value == wanted
        order = {} if isinstance(value, bool | list) else {"<": value < wanted, ">=": value >= wanted}
        outcomes.append(({"=": equal, "!=": not equal} | order)[condition.operator])
    return any(outcomes)


def _km(a: Place, b: Place) -> float:
    """By the angle between the two directions from the centre of the globe."""
    (lat, lon), (other_lat, other_lon) = (tuple(map(math.radians, place)) for place in (a, b))
    cosine = math.sin(lat) * math.sin(other_lat) + math.cos(lat) * math.cos(other_lat) * math.cos(lon - other_lon)
    return 6371 * math.acos(max(-1, min(1, cosine)))


@settings(max_examples=200, deadline=None)
@given(_conditions(), st.sampled_from([None, LYON, BONN]))
def test_masks_equal_a_loop_over_the_documents(condition: Condition, origin: Place | None) -> None:
    mask = condition_mask(condition, SEARCHED, nearest, origin)
    assert mask.tolist() == [_holds(condition, row, origin) for row in range(len(DOCUMENTS))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends where an attribute"),
        ("AND kind = page", "got 'AND' at 0.*an attribute of documents"),
        ("= 3", "got '=' at 0.*an attribute of documents"),
        ("price = 'open", "makes no sense"),
        ("within far", r"ends where km should follow"),
        ("within far km", "'far' is no number"),
        ("within 0 km", "a distance above 0"),
        ("within 5 miles", "expected km"),
        ("within 5 km of Lyonn", r"no city 'Lyonn' .*\(similar: .*lyon.*\)\. Write a city"),
        ('within 5 km of "Lyon, Gaul"', "no country 'Gaul'; expected a name"),
        ('within 5 km of "91, 4"', "a latitude from -90 to 90"),
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
        ("price < ''", r"price < '' compares with an empty value.*write price = ''"),
        ("term:''", "term: is empty"),
    ],
)
def test_a_syntax_error_names_its_position(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


def test_holds_nn_looks_inside_nested_conditions() -> None:
    assert contains_nn(parse("kind = page AND (city = Bonn OR NOT nn(k=3))"))
    assert not contains_nn(parse('kind = page AND term:"nn"'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shade = red", "no column 'shade'; there are kind, city, country, Brand, price"),
        ("brant = red", r"no column 'brant' \(did you mean Brand\?\)"),
        ("title = red", "'title' is a text that searches read, and is not compared; ask for a word of it: term:WORD"),
        ("story = red", "'story' of the documents cannot be compared: it holds texts of up to 4,000 characters"),
        ("kind = page AND NOT price < cheap", "price holds numbers; got 'cheap'"),
        ("new = maybe", "new is true or false; got 'maybe'"),
        ("released > soon", "released is compared with 'soon'; expected a date"),
        ("tags < red", "tags holds lists, which have no order"),
        ("brand < 20", "brand holds texts such as 'Acme', so < 20 would compare letters"),
    ],
)
def test_a_condition_that_does_not_fit_the_documents_is_refused(text: str, message: str) -> None:
    for refuse in (
        lambda: check_columns(parse(text), SEARCHED),
        lambda: condition_mask(parse(text), SEARCHED, nearest),
    ):
        with pytest.raises(InputError, match=message):
            refuse()


def test_a_distance_from_documents_without_places_is_refused() -> None:
    with pytest.raises(InputError, match="within needs places, and the documents have none"):
        check_columns(parse("within 5 km"), SEARCHED._replace(places=None))


def test_quotes_inside_quotes() -> None:
    values = {"it's": "'it''s'", 'a"b': r'"a\"b"', "c'd": "'c\\'d'", "L'Aquila": "L'Aquila"}
    for value, written in values.items():
        assert parse(f"brand = {written}") == Is("brand", "=", (value,))


def test_what_a_condition_reads() -> None:
    condition = parse("price < 20 AND (Brand = a OR NOT price > 3) AND within 5 km of Bonn")
    assert columns_named(condition) == ["price", "Brand"]
    assert not reads_place(condition)
    assert reads_place(parse("kind = page OR NOT within 5 km"))


def test_values_that_no_document_has_are_named_with_those_that_are_there() -> None:
    condition = parse("brand = Acne AND kind IN (page, shop) AND tags = blue AND price = 7 AND new = true")
    assert unknown_values(condition, SEARCHED) == [
        "brand: no document has 'Acne'; similar: Acme",
        "kind: no document has 'shop'; the most frequent: page, person, event",
        "tags: no document has 'blue'; the most frequent: red, big",
    ]
