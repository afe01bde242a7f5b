"""The query tower as an MLflow model: query texts in, unit vectors out. MLflow keeps this file as the model's code."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from ebr_core.bags import Float32, hash_texts, keep_known
from ebr_core.towers import embed, load_towers


class QueryTower(PythonModel):
    """f(Q) of one arm."""

    def load_context(self, context: PythonModelContext) -> None:
        """Reads the towers; weights are safetensors, nothing is unpickled."""
        self.towers = load_towers(Path(context.artifacts["towers"]))

    def predict(self, model_input: pd.DataFrame) -> Float32:  # type: ignore[override] # mlflow lets both others out
        """(n, D) unit vectors of the texts in the column `query`."""
        queries = pa.array(model_input["query"].tolist(), pa.string())
        bags = hash_texts(queries, self.towers.features)
        return embed(self.towers.table, keep_known(bags, self.towers.vocabulary))


mlflow.models.set_model(QueryTower())
