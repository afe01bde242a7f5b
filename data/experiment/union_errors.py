"""Problems of values that may be of several types, of which pydantic reports one for each type, as one problem."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import ErrorDetails

# How pydantic names a type that a value may have, in the path of a problem.
_TYPE = re.compile(r"str|int|float|bool|none|(dict|list|tuple|literal|nullable|function-.*)\[.*\]")
# The types of problems that a value of a wrong kind has → what is expected, in terms of YAML.
EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "keys and values, as in {key: value}",
    "list_type": "a list, as in [1, 2]",
    "tuple_type": "a list, as in [1, 2]",
    "none_required": "null",
}


def merge_unions(problems: list[ErrorDetails], content: Any) -> list[ErrorDetails]:
    """The problems, in order, with one for each value that may be of several types, and without types in their paths.

    If one of the types fits the value as a whole, as keys and values do, only the problems inside of it are kept.
    """
    groups: dict[tuple[int | str, ...], list[tuple[int, ErrorDetails]]] = {}
    for number, problem in enumerate(problems):
        at = _type_at(problem["loc"], content)
        key = (number,) if at is None else ("union", *problem["loc"][:at])
        groups.setdefault(key, []).append((-1 if at is None else at, problem))
    merged: list[ErrorDetails] = []
    for group in groups.values():
        inner = [(at, problem) for at, problem in group if at < 0 or len(problem["loc"]) > at + 1]
        merged += [_without_type(at, problem) for at, problem in inner] or [_joined(*group[0], [p for _, p in group])]
    return merged


def _type_at(path: tuple[int | str, ...], content: Any) -> int | None:
    """The place of the first type in a path, None if there is none. A key of the file may be called int, too."""
    node = content
    for at, part in enumerate(path):
        is_key = (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        )
        if not is_key and isinstance(part, str) and _TYPE.fullmatch(part):
            return at
        node = node[part] if is_key else None
    return None


def _without_type(at: int, problem: ErrorDetails) -> ErrorDetails:
    if at < 0:
        return problem
    return {**problem, "loc": (*problem["loc"][:at], *problem["loc"][at + 1 :])}


def _joined(at: int, first: ErrorDetails, problems: list[ErrorDetails]) -> ErrorDetails:
    """One problem that names all that a value may be; a number is not also a whole number."""
    expected = list(dict.fromkeys(_expected(problem) for problem in problems))
    if "a number" in expected:
        expected = [text for text in expected if text != "a whole number"]
    message = f"expected {', or '.join(expected)}"
    return {**first, "loc": first["loc"][:at], "msg": message, "type": "union"}


def _expected(problem: ErrorDetails) -> str:
    if problem["type"] == "literal_error":
        return str(problem["ctx"]["expected"])
    return EXPECTED.get(problem["type"], problem["msg"][0].lower() + problem["msg"][1:])
