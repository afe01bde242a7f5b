"""The parts of a cosine: they sum to it, and an ablation is the loss without a part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebr_core.text.ngram_hashing import hash_texts, written_ngrams
from ebr_core.towers.checkpoint import Checkpoint, embed_queries, load_towers, query_columns, save_towers, searcher_rows
from ebr_core.towers.cosine_shares import explain
from ebr_core.towers.feature_config import Features, TextFeatures, Values
from ebr_core.towers.fitted_features import FittedFeatures, fit_group, fit_text, group_bags, table_bags, text_bags
from ebr_core.towers.fusion import Additive
from ebr_core.towers.ngram_tower import new_ngram_tower
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import Inputs, VectorGroup, bag_group, with_search
from ebr_core.towers.vector_config import Graph

QUERIES = ["maria silva", "chess club", "ana", "zzz"]
TITLES = ["Maria Silva", "Chess Club Porto", "Ana Maria", "João"]
CITIES = ["porto", "lisboa", None, "porto"]


def model_and_inputs(text: dict[str, Any], towers: dict[str, Any], seed: int = 0) -> tuple[Checkpoint, Inputs]:
    """A small model of four searches and four documents, untrained, with random weights of its groups."""
    rng = np.random.default_rng(seed)
    features = Features(
        text=TextFeatures.model_validate(text),
        groups={
            "place": Values(searches=("city",), documents=("city",), allow_identifier=True),
            "graph": Graph(dimensions=5),
        },
    )
    queries, titles, city = pa.array(QUERIES), pa.array(TITLES), {"city": pa.array(CITIES)}
    vocabulary, rarity = fit_text(hash_texts(queries, features.text), hash_texts(titles, features.text), features.text)
    place_group = features.groups["place"]
    assert isinstance(place_group, Values)
    fitted = FittedFeatures(features, vocabulary, rarity, {"place": fit_group("place", place_group, city, city)})
    sides = [table_bags(text_bags(side, fitted), fitted) for side in (queries, titles)]
    config = NgramTowerConfig.model_validate({"dimensions": 8} | towers)
    groups: Any = {"text": bag_group(*sides, fitted.text_rows(), config.shared)}
    places = [group_bags("place", side, city, 4, fitted) for side in ("searches", "documents")]
    groups["place"] = bag_group(*places, fitted.group_rows("place"), True)
    nodes = rng.standard_normal((6, 5)).astype(np.float32)
    groups["graph"] = VectorGroup(nodes, np.array([0, 1, -1, 1, 2, 3, 4, 5], np.int32))
    inputs = Inputs(groups, 4, 4)
    tower = new_ngram_tower(inputs, config, features.text.weighting == "learned", rng)
    if isinstance(tower.fusion, Additive):
        tower.fusion.logs[:] = rng.uniform(-1, 1, tower.fusion.logs.shape)
    return Checkpoint(tower, fitted, config, {"graph": nodes[:2]}, np.array([b"ann", b"bob"])), inputs


CASES = [
    ({}, {}), ({"weighting": "learned"}, {}), ({"weighting": "idf", "word_ngrams": [1, 2]}, {"shared": False}),
    ({"remainders": 16}, {}), ({}, {"fusion": "mlp", "hidden": 6}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "towers"), CASES, ids=str)
@pytest.mark.parametrize("search", range(4))
@pytest.mark.parametrize("document", [4, 7])
def test_the_parts_sum_to_the_cosine(text: dict[str, Any], towers: dict[str, Any], search: int, document: int) -> None:
    model, inputs = model_and_inputs(text, towers)
    explanation = explain(model.tower, model.fitted, inputs, QUERIES[search], search, document)
    vectors = model.tower.over(inputs).forward(np.array([search, document], np.int32)).vectors
    assert explanation.cosine == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-6)
    assert explanation.groups == ["text", "place", "graph"]
    if explanation.matrix is None:
        assert towers["fusion"] == "mlp"
    else:
        assert explanation.matrix.sum() == pytest.approx(explanation.cosine, abs=1e-5)
        text_share = sum(part for _, part in explanation.ngrams)
        assert text_share == pytest.approx(float(explanation.matrix[0].sum()), abs=1e-5)
        if search == 2:  # of no city, and not in the graph
            assert not explanation.matrix[1:].any()
    strengths = [abs(part) for _, part in explanation.ngrams]
    assert strengths == sorted(strengths, reverse=True)
    assert {spelling for spelling, _ in explanation.ngrams} <= set(
        written_ngrams(QUERIES[search], model.fitted.features.text)
    )


def test_ablation_is_the_cosine_minus_that_of_towers_without_the_group() -> None:
    model, inputs = model_and_inputs({}, {"fusion": "mlp", "hidden": 6})
    explanation = explain(model.tower, model.fitted, inputs, QUERIES[0], 0, 4)
    ablated_inputs = Inputs(
        {**inputs.groups, "graph": VectorGroup(np.zeros((1, 5), np.float32), np.zeros(8, np.int32))}, 4, 4
    )
    vectors = model.tower.over(ablated_inputs).forward(np.array([0, 4], np.int32)).vectors
    assert explanation.ablation[2] == pytest.approx(explanation.cosine - float(vectors[0] @ vectors[1]), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from(list("aBé ß日本x1-ไ🏽ﬁ")), max_size=12), st.sampled_from([((2,), ()), ((), (1, 2))]))
def test_n_grams_are_written_in_the_order_of_their_hashes(
    text: str, sizes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    features = TextFeatures(char_ngrams=sizes[0], word_ngrams=sizes[1])
    bag, written = hash_texts(pa.array([text]), features), written_ngrams(text, features)
    assert len(bag.ids) == len(written)
    pairs = set(zip(bag.ids.tolist(), written, strict=True))  # one bucket for a spelling, one spelling for a bucket
    assert len(pairs) == len(set(written)) == len(set(bag.ids.tolist()))


@pytest.mark.parametrize(("text", "towers"), CASES, ids=str)
def test_a_model_from_disk_embeds_searches_as_the_log_did(
    text: dict[str, Any], towers: dict[str, Any], tmp_path: Any
) -> None:
    model, inputs = model_and_inputs(text, towers)
    save_towers(model, tmp_path)
    first_bytes = (tmp_path / "towers.safetensors").read_bytes()
    loaded = load_towers(tmp_path)
    save_towers(loaded, tmp_path)
    assert first_bytes == (tmp_path / "towers.safetensors").read_bytes()
    assert loaded.fitted.features == model.fitted.features
    assert query_columns(loaded) == ["city"]
    searchers = searcher_rows(loaded, np.array([b"ann", b"bob", b"", b"bob"]))
    assert searchers.tolist() == [0, 1, -1, 1]
    assert searcher_rows(loaded, np.array([b"bobby", b"a", b"z"])).tolist() == [-1, -1, -1]
    rows = np.arange(4, dtype=np.int32)
    vectors = embed_queries(loaded, pa.array(QUERIES), searchers, {"city": pa.array(CITIES)})
    np.testing.assert_allclose(vectors, model.tower.over(inputs).encode(rows), atol=1e-6)
    text_only = embed_queries(loaded, pa.array(QUERIES))
    assert not np.allclose(text_only[0], vectors[0])
    np.testing.assert_allclose(text_only[2], vectors[2], atol=1e-6)  # a search without other features


def test_an_appended_search_is_embedded_like_its_model_row() -> None:
    model, inputs = model_and_inputs({}, {})
    text = table_bags(text_bags(pa.array([QUERIES[0]]), model.fitted), model.fitted)
    wider_inputs = with_search(with_search(inputs, text, 0), text, None)
    vectors = model.tower.over(wider_inputs).forward(np.array([0, 8, 9], np.int32)).vectors
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-6)
    np.testing.assert_allclose(vectors[2], embed_queries(model, pa.array(QUERIES[:1]))[0], atol=1e-6)
