"""A bundle as an MLflow model: queries with their context in, ranked documents out. MLflow keeps this file as the
model's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.own_data import with_standard_names
from ebr_core.serving.query_answer import answer
from ebr_core.serving.query_towers import QUERY_SCHEMA, as_rows, embed_query_table
from ebr_core.serving.search_query import SearchQuery, queries_as_table


class Retriever(PythonModel):
    """One arm's bundle. Nothing in it is unpickled, and it does not open if its canary vectors have changed."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open and check the bundle."""
        use_threads(1)
        self.bundle = open_bundle(Path(context.artifacts["bundle"]))

    def _query(self, row: dict[Any, Any]) -> dict[str, Any]:
        """The row as SearchQuery has it: the model's own columns are its fields, and others are ignored. Its columns
        may have the user's names."""
        row = with_standard_names(self.bundle.own, row)
        fields = {name: row[name] for name in self.bundle.fields if row.get(name) is not None}
        return {name: row.get(name) for name in (*QUERY_SCHEMA.names, "searched_at")} | {"fields": fields}

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A row for each query: document_ids, titles and scores, best first; with output=vector, its unit vector.

        Params: k, mode, radius, where, as in `SearchQuery`, and output (documents or vector).
        """
        options = {key: value for key, value in (params or {}).items() if value != ""}
        output = options.pop("output", "documents")
        rows = model_input.astype(object).where(model_input.notna(), None).to_dict("records")
        if output == "vector":
            searches = [SearchQuery.model_validate(self._query(row)) for row in rows]
            queries = queries_as_table(searches, self.bundle.fields)
            return pd.DataFrame({"vector": list(as_rows(embed_query_table(self.bundle.towers, queries)))})
        if output != "documents":
            raise InputError(f"output: got {output!r}; documents or vector")
        radius = options.pop("radius", "none")
        options["radius"] = radius if radius in ("none", "model", "query") else float(radius)
        answers = [answer(self.bundle, SearchQuery.model_validate({**self._query(row), **options})) for row in rows]
        return pd.DataFrame(
            {
                "document_ids": [[hit.document_id for hit in hits] for hits in answers],
                "titles": [[hit.title for hit in hits] for hits in answers],
                "scores": [[hit.score for hit in hits] for hits in answers],
            }
        )


mlflow.models.set_model(Retriever())
