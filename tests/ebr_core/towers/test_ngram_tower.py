"""Both towers over several groups: the embedding, its gradient compared with autograd, missing groups, saved state."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ebr_core.arrays import Float32, Int32
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.bag_tables import Table
from ebr_core.towers.fusion import Additive, Network
from ebr_core.towers.ngram_tower import NgramTower, new_ngram_tower, restore_ngram_tower
from ebr_core.towers.projection import Projection
from ebr_core.towers.tower import copied_state
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup

SEARCHES, DOCUMENTS, GRAPH_DIMENSIONS = 3, 4, 5
ROWS = SEARCHES + DOCUMENTS


def random_bags(rng: np.random.Generator, table_rows: int, empty: bool) -> Bags:
    counts = rng.integers(0 if empty else 1, 4, ROWS)
    ids = rng.integers(0, table_rows, counts.sum()).astype(np.int32)
    return Bags(np.concatenate([[0], np.cumsum(counts)]), ids, rng.uniform(0.5, 1, len(ids)).astype(np.float32))


def random_inputs(seed: int, groups: str, empty: bool = True) -> Inputs:
    """Groups by letter: t a text, p a place, g a graph. Rows may lack any of them."""
    rng, inputs = np.random.default_rng(seed), {}
    for letter in groups:
        if letter == "g":
            vectors = rng.standard_normal((6, GRAPH_DIMENSIONS)).astype(np.float32)
            at = rng.integers(-1 if empty else 0, 6, ROWS).astype(np.int32)
            inputs["friends"] = VectorGroup(vectors, at)
        else:
            at = rng.permutation(ROWS).astype(np.int32)
            name = {"t": "text", "p": "place"}[letter]
            inputs[name] = BagGroup(random_bags(rng, 5, empty), at, 5)
    return Inputs(inputs, SEARCHES, DOCUMENTS)


def leaves(tower: NgramTower) -> dict[str, Tensor]:
    parameter_names = ("table", "scales", "maps", "logs", "w", "b", "v", "c")
    return {
        name: torch.tensor(array, dtype=torch.float64, requires_grad=True)
        for name, array in tower.state().items()
        if name.rsplit(".", 1)[1] in parameter_names
    }


def unit(vector: Tensor) -> Tensor:
    return vector / vector.norm() if float(vector.detach().norm()) > 0 else torch.zeros_like(vector)


def naive_units(params: dict[str, Tensor], inputs: Inputs, row: int) -> list[Tensor]:
    """The unit vector of each group of a row, entry by entry."""
    side, units = int(SEARCHES <= row < ROWS), []
    for name, group in inputs.groups.items():
        if isinstance(group, VectorGroup):
            vector = group.vectors[group.at[row]] if group.at[row] >= 0 else np.zeros(GRAPH_DIMENSIONS)
            units.append(unit(params[f"{name}.maps"][side] @ torch.tensor(vector, dtype=torch.float64)))
            continue
        bag, table = group.at[row], params[f"{name}.table"]
        total = torch.zeros(table.shape[1], dtype=torch.float64)
        for entry in range(group.bags.offsets[bag], group.bags.offsets[bag + 1]):
            id, weight = int(group.bags.ids[entry]), float(group.bags.weights[entry])
            scale = params[f"{name}.scales"][id] if f"{name}.scales" in params else 1
            total = total + weight * scale * table[id]
        units.append(unit(total))
    return units


def naive_vector(params: dict[str, Tensor], inputs: Inputs, row: int) -> Tensor:
    side, units = int(SEARCHES <= row < ROWS), naive_units(params, inputs, row)
    if "fusion.logs" in params:
        return unit(
            sum((params["fusion.logs"][side, g].exp() * vector for g, vector in enumerate(units)), torch.zeros(1))
        )
    if not any(vector.abs().sum() > 0 for vector in units):
        return torch.zeros_like(units[0])
    side = side if "fusion.1.w" in params else 0
    w, b, v, c = (params[f"fusion.{side}.{part}"] for part in "wbvc")
    return unit(v @ torch.relu(w @ torch.cat(units) + b) + c)


def tower_for(inputs: Inputs, settings: dict[str, Any], seed: int, learn_weights: bool) -> NgramTower:
    rng = np.random.default_rng([seed, 1])
    tower = new_ngram_tower(inputs, NgramTowerConfig.model_validate({"dimensions": 6} | settings), learn_weights, rng)
    if isinstance(tower.fusion, Additive):
        tower.fusion.logs[:] = rng.uniform(-1, 1, tower.fusion.logs.shape)
    return tower


def step_both(tower: NgramTower, rows: Int32, gradient: Float32, rate: float) -> None:
    """A step of the tables, then one of the groups' weights, with the same gradient of the same embeddings."""
    forward = tower.forward(rows)
    tower.step(forward, gradient.copy(), rate)
    tower.step_weights(forward, gradient.copy())


CASES = [
    ("t", {}), ("tp", {}), ("tpg", {}), ("tg", {"dimensions": 5}),
    ("tpg", {"fusion": "mlp", "hidden": 7}), ("tp", {"fusion": "mlp", "hidden": 7, "shared": False}),
]  # fmt: skip


@pytest.mark.parametrize(("groups", "towers"), CASES, ids=str)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), learn_weights=st.booleans())
def test_embeddings_and_their_gradient_are_those_of_autograd(
    groups: str, towers: dict[str, Any], seed: int, learn_weights: bool
) -> None:
    inputs = random_inputs(seed, groups)
    tower = tower_for(inputs, towers, seed, learn_weights)
    rng = np.random.default_rng([seed, 2])
    rows = rng.integers(0, ROWS, 9).astype(np.int32)
    params = leaves(tower)
    vectors = [naive_vector(params, inputs, row) for row in rows]
    forward = tower.over(inputs).forward(rows)
    for vector, expected in zip(forward.vectors, vectors, strict=True):
        np.testing.assert_allclose(vector, expected.detach().numpy(), atol=3e-5)
    by_vectors = rng.standard_normal(forward.vectors.shape).astype(np.float32)
    loss = sum(
        (reference @ torch.tensor(by, dtype=torch.float64) for reference, by in zip(vectors, by_vectors, strict=True)),
        torch.zeros(1),
    )
    grads = (
        torch.autograd.grad(loss, list(params.values()), allow_unused=True)
        if loss.requires_grad
        else [None] * len(params)
    )
    before = {name: tensor.detach().numpy() for name, tensor in params.items()}
    tower.step(forward, by_vectors.copy(), 0.5)
    tower.step_weights(forward, by_vectors.copy())
    after = tower.state()
    for name, grad in zip(params, grads, strict=True):
        gradient = np.zeros_like(before[name]) if grad is None else grad.numpy()
        if name.startswith("fusion.") and groups == "t" and "mlp" not in str(towers):
            continue  # a single group has no weight to learn
        moved = np.abs(gradient) > 0.05
        assert np.all(np.sign(before[name] - after[name])[moved] == np.sign(gradient[moved])), name
        if "fusion" not in name:
            sum_name = f"{name.rsplit('.', 1)[0]}.{'scale_squares' if name.endswith('scales') else 'squares'}"
            expected = gradient**2 if name.endswith("scales") else (gradient**2).mean(-1)
            np.testing.assert_allclose(after[sum_name], expected, rtol=2e-2, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_missing_group_adds_nothing_and_a_row_without_groups_is_the_zero_vector(seed: int) -> None:
    inputs = random_inputs(seed, "tpg")
    tower = tower_for(inputs, {}, seed, False)
    vectors = tower.over(inputs).forward(np.arange(ROWS, dtype=np.int32)).vectors
    units = tower.over(inputs).forward(np.arange(ROWS, dtype=np.int32)).units
    for row in range(ROWS):
        present = units[:, row].any(1)
        assert np.linalg.norm(vectors[row]) == pytest.approx(1 if present.any() else 0, abs=1e-5)
        if present.sum() == 1:
            np.testing.assert_allclose(vectors[row], units[present][0, row], atol=1e-6)


def test_at_the_start_groups_match_themselves_and_not_each_other() -> None:
    rng = np.random.default_rng(0)
    bags = Bags(np.arange(201), np.arange(200, dtype=np.int32), np.ones(200, np.float32))
    graph_vectors = rng.standard_normal((200, 64)).astype(np.float32)
    at = np.arange(200, dtype=np.int32)
    inputs = Inputs(
        {"text": BagGroup(bags, at, 200), "place": BagGroup(bags, at, 200), "friends": VectorGroup(graph_vectors, at)},
        100,
        100,
    )
    tower = new_ngram_tower(inputs, NgramTowerConfig(dimensions=64), False, rng)
    units = tower.over(inputs).forward(at).units
    for g in range(3):
        for h in range(g):
            assert np.abs((units[g] * units[h]).sum(1)).mean() < 0.15  # 1 / √64 is .125
    searches, documents = units[2][:100], units[2][100:]
    raw = graph_vectors / np.linalg.norm(graph_vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(searches @ documents.T, raw[:100] @ raw[100:].T, atol=1e-5)  # one space for both sides


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 1), st.integers(1, 12))
def test_at_the_start_a_group_takes_no_more_than_its_start_weight_from_the_text(
    seed: int, start_weight: float, groups: int
) -> None:
    """Beside k groups of weight w whose vectors are orthogonal to it, the text's share of an embedding is
    1 / √(1 + k w²)."""
    rng, rows = np.random.default_rng(seed), np.arange(50, dtype=np.int32)
    bags = Bags(np.arange(51), rows, np.ones(50, np.float32))
    names = ["text", *(f"noise-{column}" for column in range(groups))]
    inputs = Inputs({name: BagGroup(bags, rows, 50) for name in names}, 25, 25)
    config = NgramTowerConfig(dimensions=1024, start_weight=start_weight)
    tower = new_ngram_tower(inputs, config, False, rng)
    forward = tower.forward(rows)
    shares = (forward.vectors * forward.units[0]).sum(1)
    np.testing.assert_allclose(shares.mean(), 1 / np.sqrt(1 + groups * start_weight**2), atol=0.05)
    weights = tower.weights()
    for side in ("query", "document"):
        assert weights[f"{side}.noise-0"] == pytest.approx(start_weight * weights[f"{side}.text"], rel=1e-5)


@pytest.mark.parametrize(("groups", "towers"), CASES, ids=str)
def test_a_restored_tower_trains_on_like_the_original(groups: str, towers: dict[str, Any]) -> None:
    inputs = random_inputs(3, groups)
    tower = tower_for(inputs, towers, 3, True)
    rows = np.arange(ROWS, dtype=np.int32)
    gradient = np.random.default_rng(0).standard_normal((ROWS, tower.dimensions)).astype(np.float32)
    step_both(tower.over(inputs), rows, gradient, 0.1)
    restored = restore_ngram_tower(tower.config, copied_state(tower), list(tower.groups))
    assert np.array_equal(restored.over(inputs).encode(rows), tower.over(inputs).encode(rows))
    if isinstance(tower.fusion, Network):
        return  # the optimiser of a network is not restored
    for each_tower in (tower, restored):
        step_both(each_tower.over(inputs), rows, gradient, 0.1)
    assert {name: array.tobytes() for name, array in tower.state().items()} == {
        name: array.tobytes() for name, array in restored.state().items()
    }


@pytest.mark.skipif(numba.get_num_threads() < 2, reason="needs two cores")
def test_additive_towers_give_the_same_bytes_with_one_thread_and_with_two() -> None:
    results = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        inputs = random_inputs(5, "tp")
        tower = tower_for(inputs, {}, 5, True)
        gradient: Float32 = np.random.default_rng(0).standard_normal((ROWS, 6)).astype(np.float32)
        rows = np.arange(ROWS, dtype=np.int32)
        step_both(tower.over(inputs), rows, gradient, 0.1)
        results.append(b"".join(array.tobytes() for array in tower.state().values()))
    assert results[0] == results[1]


def test_tables_and_weights_learn_by_steps_of_their_own() -> None:
    inputs, rows = random_inputs(3, "tpg", empty=False), np.arange(ROWS, dtype=np.int32)
    gradient = np.random.default_rng(0).standard_normal((ROWS, 6)).astype(np.float32)
    for learns_weights in (False, True):
        tower = tower_for(inputs, {}, 3, False)
        before, forward = copied_state(tower), tower.forward(rows)
        if learns_weights:
            tower.step_weights(forward, gradient.copy())
        else:
            tower.step(forward, gradient.copy(), 0.1)
        for name, array in tower.state().items():
            assert np.array_equal(array, before[name]) != (name.startswith("fusion.") == learns_weights), name


@pytest.mark.parametrize(("groups", "towers"), CASES, ids=str)
def test_only_a_sum_of_several_groups_has_weights_to_learn(groups: str, towers: dict[str, Any]) -> None:
    tower = tower_for(random_inputs(0, groups), towers, 0, False)
    assert tower.weighs_groups == (len(groups) > 1 and towers.get("fusion") != "mlp")


def test_group_weights_are_shares_of_each_side() -> None:
    tower = tower_for(random_inputs(0, "tpg"), {}, 0, False)
    weights = tower.weights()
    assert set(weights) == {f"{side}.{name}" for side in ("query", "document") for name in ("text", "place", "friends")}
    assert sum(value for name, value in weights.items() if name.startswith("query.")) == pytest.approx(1)
    assert isinstance(tower.groups["friends"], Projection)
    assert isinstance(tower.groups["text"], Table)


@pytest.mark.parametrize(
    ("fusion", "rate", "moved"),
    [
        ("additive", "projection_rate", ["friends.maps"]),
        ("additive", "weight_rate", ["fusion.logs"]),
        ("mlp", "network_rate", [f"fusion.0.{part}" for part in "wbvc"]),
    ],
)
def test_each_rate_scales_the_step_of_its_own_part(fusion: str, rate: str, moved: list[str]) -> None:
    """The first step of Adagrad, and nearly that of Adam, has the length of the rate: ten times the rate, ten times
    the step."""
    inputs, rows = random_inputs(3, "tpg", empty=False), np.arange(ROWS, dtype=np.int32)
    gradient = np.random.default_rng(0).standard_normal((ROWS, 6)).astype(np.float32)
    steps = []
    for value in (1e-4, 1e-3):
        tower = tower_for(inputs, {"fusion": fusion, "hidden": 7, rate: value}, 3, False)
        before = copied_state(tower)
        step_both(tower, rows, gradient, 0.1)
        steps.append({name: array - before[name] for name, array in tower.state().items()})
    for name in steps[0]:
        if name in moved:
            np.testing.assert_allclose(steps[1][name], 10 * steps[0][name], rtol=2e-2, atol=2e-6)
            assert np.abs(steps[1][name]).max() > 0
        elif not name.endswith("squares"):
            np.testing.assert_array_equal(steps[1][name], steps[0][name])


def test_inputs_of_other_kinds_are_an_error_and_nothing_is_embedded() -> None:
    tower = tower_for(random_inputs(3, "tg"), {}, 3, False)
    other_inputs = random_inputs(3, "tp")
    swapped = other_inputs._replace(
        groups={"text": other_inputs.groups["text"], "friends": other_inputs.groups["place"]}
    )
    with pytest.raises(TypeError, match="got bags, expected given vectors"):
        tower.over(swapped).encode(np.arange(ROWS, dtype=np.int32))
