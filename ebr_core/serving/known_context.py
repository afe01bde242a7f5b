"""What a log knows of a query's context: a place that nobody has ever had, or an unknown document, tells a model
nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_answer import with_standard_fields
from ebr_core.serving.query_towers import CONTEXT, EnsembleParts
from ebr_core.serving.search_query import SearchQuery
from ebr_core.towers.checkpoint import Checkpoint
from ebr_core.towers.city_names import locate_cities
from ebr_core.towers.feature_config import Location
from ebr_core.towers.history_config import CLICKED


def unknown_context(bundle: Bundle, query: SearchQuery) -> list[str]:
    """A sentence for each value of the query's place and language that no document and no searcher of the log has, and
    one for documents of its history that no vector stands for.

    A city that a group of the model looks up by its name, with its country, is known if it is found there; so is one
    from which the distances of documents are measured.
    """
    query = with_standard_fields(bundle, query)
    values = {name: getattr(query, name) for name in CONTEXT[1:]}
    looked_up = [*_city_columns(bundle), *([("city", "country")] if bundle.own.places is not None else [])]
    located = {name for names in looked_up if _is_located(values, names) for name in names}
    remarks = [
        f"{name}: no document and no searcher of this log has {value!r}, so it counts as unknown"
        for name, value in values.items()
        if value is not None and name not in located and value not in bundle.context_values[name]
    ]
    return [*remarks, *_unknown_clicks(bundle, query)]


def _unknown_clicks(bundle: Bundle, query: SearchQuery) -> Iterator[str]:
    """The remark on documents of the query's history that none of the model's groups of clicks knows, if there are."""
    given = query.fields.get(CLICKED, [])
    clicked = {str(document) for document in (given if isinstance(given, list) else [given])}
    if not clicked:
        return
    for model in _models(bundle):
        for name, history in model.fitted.features.histories.items():
            if history.column is None:
                clicked -= set(model.fitted.history_documents(name))
    if clicked:
        yield f"{CLICKED}: the training window did not know {', '.join(sorted(clicked))}, so they do not count"


def _models(bundle: Bundle) -> tuple[Checkpoint, ...]:
    return bundle.towers.models if isinstance(bundle.towers, EnsembleParts) else (bundle.towers,)


def _city_columns(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """The columns of a city and its country of each group that looks cities up by name."""
    for model in _models(bundle):
        for group in model.fitted.features.groups.values():
            if isinstance(group, Location) and group.names:
                yield group.searches


def _is_located(values: dict[str, str | None], names: tuple[str, str]) -> bool:
    """True if the query's city is found."""
    latitude, _ = locate_cities([values.get(names[0])], [values.get(names[1])])
    return bool(np.isfinite(latitude[0]))
