"""A warm start moves trained parameters to the rows with the same meaning, and to no others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ebr_core.text.ngram_bags import Bags
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.towers.bag_tables import Table, new_table
from ebr_core.towers.checkpoint import Checkpoint
from ebr_core.towers.feature_config import Features, Numbers, TextFeatures, Values
from ebr_core.towers.fitted_features import FittedFeatures, fit_group, fit_text, group_bags, table_bags, text_bags
from ebr_core.towers.history_config import History
from ebr_core.towers.ngram_tower import NgramTower, new_ngram_tower
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup, bag_group, with_views
from ebr_core.towers.warm_start import copy_known

GROUPS = {
    "place": Values(searches=("city",), documents=("city",), allow_identifier=True),
    "size": Numbers(documents=("size",), buckets=3),
}
OLD = ["anna smith", "chess club", "bonn open"]
NEW = ["chess club", "anna smith", "jazz", "anna goes for walks"]


def _fitted_checkpoint(
    titles: list[str], cities: list[str], towers: NgramTowerConfig, text: TextFeatures, seed: int
) -> tuple[Checkpoint, Inputs]:
    """Towers over a log with these titles, cities and sizes on both sides."""
    features = Features(text=text, groups=GROUPS)
    texts = pa.array(titles)
    columns = {"city": pa.array(cities), "size": pa.array([float(len(title)) for title in titles])}
    fitted_groups = {name: fit_group(name, group, columns, columns) for name, group in GROUPS.items()}
    fitted = FittedFeatures(features, *fit_text(hash_texts(texts, text), hash_texts(texts, text), text), fitted_groups)
    bags = table_bags(text_bags(texts, fitted), fitted)
    n = len(titles)
    groups: dict[str, BagGroup | VectorGroup] = {
        "text": bag_group(bags, bags, fitted.text_rows(), towers.shared, np.arange(n, dtype=np.int32))
    }
    for name, group in GROUPS.items():
        sides = (group_bags(name, side, columns, n, fitted) for side in ("searches", "documents"))
        groups[name] = bag_group(*sides, fitted.group_rows(name), group.shared)
    inputs = Inputs(groups, n, n)
    inputs = with_views(inputs, towers.query_vectors) if towers.query_vectors > 1 else inputs
    is_learned = text.weighting == "learned"
    encoder = new_ngram_tower(inputs, towers, is_learned, np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 100)
    for table in encoder.groups.values():  # as if trained
        assert isinstance(table, Table)
        table.squares[:] = rng.random(len(table.squares))
        table.scales[:] = rng.random(len(table.scales)) + 0.5
    return Checkpoint(encoder, fitted, towers, {}, np.empty(0, "S1")), inputs


def _vectors(encoder: NgramTower, inputs: Inputs, documents: list[int]) -> np.ndarray:
    rows = np.array(documents, np.int32)
    return encoder.over(inputs).forward(np.concatenate([inputs.queries_of(rows), inputs.rows_of(rows)])).vectors


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("text", [{}, {"weighting": "learned"}, {"remainders": 32}])
def test_values_in_both_logs_keep_their_embedding(shared: bool, views: int, text: dict[str, object]) -> None:
    settings, towers = (
        TextFeatures(buckets=512, **text),
        NgramTowerConfig(dimensions=8, shared=shared, query_vectors=views),
    )
    old, before = _fitted_checkpoint(OLD, ["Bonn", "Lyon", "Bonn"], towers, settings, 0)
    new, after = _fitted_checkpoint(NEW, ["Lyon", "Bonn", "Aix", "Bonn"], towers, settings, 1)
    started = new.tower.warm_start(old.tower, old.fitted, new.fitted)
    np.testing.assert_allclose(
        _without_sizes(started, after, [1, 0]), _without_sizes(old.tower, before, [0, 1]), atol=1e-6
    )
    for name in ("text", "place"):
        table = started.groups[name]
        assert isinstance(table, Table)
        assert (table.scratch_slots == -1).all()


def _without_sizes(encoder: NgramTower, inputs: Inputs, documents: list[int]) -> np.ndarray:
    """The embeddings without the number buckets, whose edges moved."""
    size = inputs.groups["size"]
    assert isinstance(size, BagGroup)
    empty = size._replace(bags=Bags(np.zeros_like(size.bags.offsets), size.bags.ids, size.bags.weights))
    return _vectors(encoder, inputs._replace(groups=inputs.groups | {"size": empty}), documents)


@pytest.mark.parametrize("towers", [1, 2])
def test_documents_of_a_history_move_by_their_identity(towers: int) -> None:
    features = Features(groups={"before": History(shared=towers == 1)})
    before, after = (
        FittedFeatures(features, np.empty(0, np.int32), np.empty(0, np.float32), {"before": {"documents": known}})
        for known in (["a", "c", "d"], ["b", "c", "d", "e"])
    )
    rng = np.random.default_rng(0)
    old, new = new_table(3 * towers, 4, False, rng), new_table(4 * towers, 4, False, rng)
    fresh = new.table.copy()
    copy_known("before", old, new, before, after)
    for tower in range(towers):
        rows = new.table[4 * tower : 4 * tower + 4]
        np.testing.assert_array_equal(rows[1:3], old.table[3 * tower + 1 : 3 * tower + 3])
        np.testing.assert_array_equal(rows[[0, 3]], fresh[4 * tower : 4 * tower + 4][[0, 3]])


def test_values_move_by_meaning_and_buckets_by_position() -> None:
    settings, towers = TextFeatures(buckets=512), NgramTowerConfig(dimensions=8)
    old, _ = _fitted_checkpoint(OLD, ["Bonn", "Lyon", "Bonn"], towers, settings, 0)
    new, _ = _fitted_checkpoint(NEW, ["Lyon", "Bonn", "Aix", "Bonn"], towers, settings, 1)
    fresh = {name: group.table.copy() for name, group in new.tower.groups.items() if isinstance(group, Table)}
    started = new.tower.warm_start(old.tower, old.fitted, new.fitted)
    cities = new.fitted.group_values["place"]["city"]
    assert cities == ["Aix", "Bonn", "Lyon"]
    table, before = started.groups["place"], old.tower.groups["place"]
    assert isinstance(table, Table)
    assert isinstance(before, Table)
    np.testing.assert_array_equal(table.table[1:], before.table)  # Bonn, Lyon
    np.testing.assert_array_equal(table.table[0], fresh["place"][0])  # Aix is new
    np.testing.assert_array_equal(table.squares[1:], before.squares)
