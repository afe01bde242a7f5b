"""Documents that no bundle holds: the vectors that a log's document with the same text has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ebr_core.errors import InputError
from ebr_core.search.ensemble_vectors import concat_documents
from ebr_core.serving.document_towers import embed_documents
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_towers import EnsembleParts
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.towers.checkpoint import Checkpoint
from ebr_core.towers.feature_config import Features, TextFeatures
from ebr_core.towers.fitted_features import FittedFeatures, fit_text, table_bags, text_bags
from ebr_core.towers.ngram_tower import new_ngram_tower
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import text_inputs, with_views
from tests.bundles import CITIES, TITLES, make_bundle

BODIES = [*("plays chess", None, "likes jazz"), *([None] * 5), "with Anna and Ana"]


def test_a_document_without_other_groups_has_its_vector_in_the_bundle(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle(tmp_path / "bundle"))
    vectors = embed_documents(bundle.towers, pa.array(TITLES), pa.nulls(len(TITLES), pa.string()))
    without = np.array([city is None for city in CITIES])
    np.testing.assert_allclose(vectors[without], bundle.vectors[without], atol=1e-6)
    assert np.abs(vectors[~without] - bundle.vectors[~without]).max() > 0.01  # their city counts in the bundle
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_an_ensemble_joins_the_vectors_of_its_parts(tmp_path: Path) -> None:
    parts = [open_bundle(make_bundle(tmp_path / str(seed), seed=seed)).towers for seed in (0, 1)]
    assert all(isinstance(part, Checkpoint) for part in parts)
    titles, bodies = pa.array(TITLES), pa.nulls(len(TITLES), pa.string())
    ensemble = EnsembleParts(tuple(part for part in parts if isinstance(part, Checkpoint)), (1.0, 0.5))
    expected = concat_documents([embed_documents(part, titles, bodies) for part in parts])
    np.testing.assert_array_equal(embed_documents(ensemble, titles, bodies), expected)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("more", [{}, {"remainders": 64}, {"body": True}, {"weighting": "idf"}])
@pytest.mark.parametrize("query_vectors", [1, 2])
def test_every_kind_of_n_gram_tower(shared: bool, more: dict[str, Any], query_vectors: int) -> None:
    """The vectors are those that the tower gives over the inputs of a log."""
    text = TextFeatures(buckets=4096, **more)
    towers, expected = _over_log(text, NgramTowerConfig(dimensions=16, shared=shared, query_vectors=query_vectors))
    vectors = embed_documents(towers, pa.array(TITLES), pa.array(BODIES, pa.string()))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    without_body = embed_documents(towers, pa.array(TITLES), pa.nulls(len(TITLES), pa.string()))
    assert (np.abs(without_body - vectors).max() > 0.01) == text.body


def test_texts_without_anything_known_have_zeros(tmp_path: Path) -> None:
    towers = open_bundle(make_bundle(tmp_path / "bundle")).towers
    assert not embed_documents(towers, pa.array(["", "ωψχ", None]), pa.nulls(3, pa.string())).any()


def test_a_model_that_reads_no_text_of_documents_says_so(tmp_path: Path) -> None:
    towers = open_bundle(make_bundle(tmp_path / "bundle")).towers
    assert isinstance(towers, Checkpoint)
    features = towers.fitted.features
    searches_alone = features.model_copy(update={"text": features.text.model_copy(update={"read": "searches"})})
    other = towers._replace(fitted=towers.fitted._replace(features=searches_alone))
    with pytest.raises(InputError, match="reads no text of documents"):
        embed_documents(other, pa.array(["chess"]), pa.nulls(1, pa.string()))


def _over_log(text: TextFeatures, config: NgramTowerConfig) -> tuple[Checkpoint, np.ndarray]:
    """(untrained towers, the vectors (9, 16) of the documents of their log)."""
    queries = pa.array(["anna smith", "chess bonn"])
    titles = [f"{title} {body or ''}" for title, body in zip(TITLES, BODIES, strict=True)] if text.body else TITLES
    sides = [queries, pa.array(titles)]
    fitted = FittedFeatures(Features(text=text), *fit_text(*(hash_texts(side, text) for side in sides), text), {})
    bags = [table_bags(text_bags(side, fitted), fitted) for side in sides]
    inputs = text_inputs(*bags, fitted.text_rows(), config.shared, np.arange(2, dtype=np.int32))
    if config.query_vectors > 1:
        inputs = with_views(inputs, config.query_vectors)
    tower = new_ngram_tower(inputs, config, False, np.random.default_rng(5))
    expected = tower.over(inputs).encode(inputs.rows_of(np.arange(len(TITLES), dtype=np.int32)))
    return Checkpoint(tower, fitted, config, {}, np.empty(0, "S1")), expected
