"""The options of a search as a query, checked before a model is opened."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from ebr_core.errors import InputError
from ebr_core.serving.search_query import SearchQuery


def validate_query(fields: dict[str, Any]) -> SearchQuery:
    """The query with these fields, without those that are None. Raises InputError, which names each invalid field."""
    try:
        return SearchQuery.model_validate({key: value for key, value in fields.items() if value is not None})
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, problem['loc'][:1]))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        raise InputError("; ".join(dict.fromkeys(lines))) from error
