"""The query tower as an MLflow model: searches in, unit vectors out. MLflow keeps this file as the model's code."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from ebr_core.bags import Float32
from ebr_core.model import embed_queries, load_towers, query_columns, searcher_rows


class QueryTower(PythonModel):
    """f(Q) of one arm."""

    def load_context(self, context: PythonModelContext) -> None:
        """Reads the towers; weights are safetensors, nothing is unpickled."""
        self.model = load_towers(Path(context.artifacts["towers"]))

    def predict(self, model_input: pd.DataFrame) -> Float32:  # type: ignore[override] # mlflow lets both others out
        """(n, D) unit vectors of the searches: `query`, and where given `searcher_id` and the columns of the groups.

        What is not given, or not known, counts as missing.
        """
        given = {name: pa.array(model_input[name].tolist(), from_pandas=True) for name in model_input.columns}
        columns = {name: given[name] for name in query_columns(self.model) if name in given}
        searchers = None
        if "searcher_id" in given:
            ids = np.array([str(one or "").encode() for one in given["searcher_id"].to_pylist()], np.bytes_)
            searchers = searcher_rows(self.model, ids)
        return embed_queries(self.model, given["query"].cast(pa.string()), searchers, columns)


mlflow.models.set_model(QueryTower())
