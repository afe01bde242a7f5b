"""What the search page offers: the sides, the fields of a search, and the columns of the documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.frozen import Frozen
from ebr_core.own_names import own_name, standard_name
from ebr_core.search.condition_masks import TEXTS, describe_columns, filled_columns
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_towers import CONTEXT, QUERY_SCHEMA, context_of, fields_of
from ebr_core.towers.history_config import CLICKED
from flows.app.service.open_models import ServedModels
from tasks.served_models import bundle_of

CHOICES = 200  # values that a field offers
MOST_FILTERS, MOST_VALUES = 6, 30  # columns that the page offers as lists, and their values
RANKED_BY = ("city", "country", "language")  # what a ranker or cascade may compare with documents
EXAMPLES, LONGEST_EXAMPLE = 5, 60  # queries of the log, and their characters
LOOKED_AT = 1_000  # values of a column that say whether it holds addresses
ADDRESS = r"(?i)^https?://\S+$"
PICTURE_FILE = r"(?i)\.(jpe?g|png|gif|webp|avif|svg)([?#].*)?$"
PICTURE_NAME = re.compile(r"image|img|picture|photo|thumb|cover|poster|logo|icon", re.IGNORECASE)


class PageField(Frozen):
    """A column of a search that a model reads."""

    name: str  # the layout's
    label: str  # the user's
    own: bool  # it is one of the request's `fields`
    several: bool  # it takes several values
    read: bool  # the towers or a second stage read it; otherwise it gives distances alone
    values: list[str]
    hint: str


def choices_of(served: ServedModels) -> dict[str, Any]:
    """What the page offers, of the open models; columns, values and examples are the champion's."""
    listing, models = served.current
    champion = models[listing["champion"]]
    canaries = pq.read_table(bundle_of(listing, listing["champion"]) / "canaries.parquet")
    documents, own_names = champion.documents, champion.own.settings.document_names
    link, picture = address_columns(documents)
    return {
        "experiment": listing["experiment"],
        "champion": listing["champion"],
        "models": list(models),
        "modes": {arm: list(bundle.modes) for arm, bundle in models.items()},
        "documents": documents.num_rows,
        "fields": {
            arm: [field.model_dump() for field in _fields(bundle, bundle_of(listing, arm))]
            for arm, bundle in models.items()
        },
        "columns": describe_columns(documents, own_names),
        "filters": _filters(documents, own_names),
        "showable": [own_name(name, own_names) for name in _showable(documents)],
        "show": [own_name(standard_name(name, own_names), own_names) for name in champion.own.settings.show],
        "link": link and own_name(link, own_names),
        "picture": picture and own_name(picture, own_names),
        "examples": _examples(canaries["query"].to_pylist()),
    }


def address_columns(documents: pa.Table) -> tuple[str | None, str | None]:
    """(the first column whose values are addresses of pages, the first of pictures); None where there is none.

    A picture is recognised by the ends of its addresses, or by the column's name.
    """
    link, picture = None, None
    for name in (name for name in documents.column_names if name not in TEXTS):
        if not pa.types.is_string(documents.schema.field(name).type):
            continue
        values = documents[name].drop_null().slice(0, LOOKED_AT)
        if not len(values) or not pc.all(pc.match_substring_regex(values, ADDRESS)).as_py():
            continue
        shows = PICTURE_NAME.search(name) or pc.all(pc.match_substring_regex(values, PICTURE_FILE)).as_py()
        link, picture = (link, picture or name) if shows else (link or name, picture)
    return link, picture


def _fields(bundle: Bundle, folder: Path) -> list[PageField]:
    """The searcher, place and language as far as the towers or distances read them, then the model's other columns."""
    read = {*context_of(bundle.towers), *bundle.fields} - {*bundle.own.fields}
    read |= {*fields_of(bundle.towers), *(RANKED_BY if bundle.second else ())}
    distances = {"city", "country", *bundle.own.fields} if bundle.own.places is not None else set()
    if bundle.searchers.num_rows:  # whose place and language count where a search has none
        read |= {"searcher_id"} if read & set(CONTEXT) else set()
        distances |= {"searcher_id"} if distances else set()
    canaries = pq.read_table(folder / "canaries.parquet")
    names = [name for name in dict.fromkeys((*CONTEXT, *bundle.fields)) if name in read | distances]
    return [_field(bundle, canaries, name, name in read) for name in names]


def _field(bundle: Bundle, canaries: pa.Table, name: str, read: bool) -> PageField:
    is_own, own_names = name not in QUERY_SCHEMA.names, bundle.own.settings.search_names
    if name == "searcher_id":
        values = [str(value) for value in bundle.searchers["searcher_id"].slice(0, CHOICES).to_pylist()]
    elif not is_own:
        values = sorted(bundle.context_values[name])[:CHOICES]
    else:
        values = _asked(canaries, name)
    hint = {"searcher_id": "unknown searcher", CLICKED: "document ids, newest last"}.get(name, "not given")
    label = own_name(name, own_names)
    return PageField(name=name, label=label, own=is_own, several=name == CLICKED, read=read, values=values, hint=hint)


def _asked(canaries: pa.Table, name: str) -> list[str]:
    """The values that queries of the log have in a column."""
    if name not in canaries.column_names or name == CLICKED:
        return []
    return sorted({value for row in canaries[name].to_pylist() for value in row or ()})


def _filters(documents: pa.Table, own_names: dict[str, str]) -> dict[str, list[str]]:
    """Column → its values, of the first columns of texts with a few values."""
    filters: dict[str, list[str]] = {}
    for name in filled_columns(documents):
        if len(filters) == MOST_FILTERS:
            break
        if pa.types.is_string(documents.schema.field(name).type):
            values = pc.unique(documents[name].drop_null())
            if 1 < len(values) <= MOST_VALUES:
                filters[own_name(name, own_names)] = sorted(values.to_pylist())
    return filters


def _showable(documents: pa.Table) -> list[str]:
    """The columns that people may ask to see beside identity and title: those that hold a value; addresses are links
    and pictures, and kind and place are there anyway."""
    hidden = {"document_id", "kind", "city", "country", *filter(None, address_columns(documents))}
    body = ["body"] if documents["body"].null_count < documents.num_rows else []
    return [name for name in (*body, *filled_columns(documents)) if name not in hidden and "," not in name]


def _examples(queries: list[str | None]) -> list[str]:
    """Some queries of the log to begin with."""
    texts = dict.fromkeys(text.strip() for text in queries if text and 0 < len(text.strip()) <= LONGEST_EXAMPLE)
    return list(texts)[:EXAMPLES]
