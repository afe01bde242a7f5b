"""The transformer tower over a tiny encoder: gradients, parts, optimisers, saving, and the real training loop."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from ebr_core.arrays import Float32
from ebr_core.encoders.lora_config import Lora
from ebr_core.errors import InputError
from ebr_core.measure.metrics import Targets, hits, recall_at_k
from ebr_core.parallel import use_threads
from ebr_core.search.nearest import search_exact
from ebr_core.text.ngram_bags import Bags
from ebr_core.towers.checkpoint import Checkpoint, load_towers, save_towers
from ebr_core.towers.fitted_features import FittedFeatures
from ebr_core.towers.tower import Tower, copied_state
from ebr_core.towers.tower_config import TransformerTowerConfig
from ebr_core.towers.tower_inputs import BagGroup, Inputs, VectorGroup, text_inputs
from ebr_core.towers.tower_kinds import restore_tower, resumable_state, save_encoder
from ebr_core.training.arm_config import Arm, Training
from ebr_core.training.loss_config import Softmax, Triplet
from ebr_core.training.pair_config import Mining, NegativeMix
from ebr_core.training.positives import RecoveredPairs, ShownResults, select_pairs
from ebr_core.training.train_loop import Position, Start, train
from ebr_core.training.training_corpus import Corpus

pytest.importorskip("transformers", reason="the extra encoders is not installed")
torch = pytest.importorskip("torch")

from ebr_core.towers.token_bags import token_bags  # noqa: E402
from ebr_core.towers.transformer_tower import TransformerTower, new_transformer_tower  # noqa: E402
from ebr_core.towers.tuned_encoder import FEWEST, PART_TOKENS, SHORTEST, _by_length  # noqa: E402
from tests.tiny_encoder import make_tiny_encoder  # noqa: E402

pytestmark = pytest.mark.more
CLUSTERS, EACH = 8, 6
NONE = RecoveredPairs(*(np.zeros(0, np.int32) for _ in RecoveredPairs._fields))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("encoder"))


class Planted(NamedTuple):
    corpus: Corpus
    shown: ShownResults
    recall: Callable[[Tower], float]


def config_of(model: Path, **settings: Any) -> TransformerTowerConfig:
    return TransformerTowerConfig(model=str(model), max_tokens=16, **{"encoder_rate": 1e-3} | settings)


def planted(model: Path) -> Planted:
    """Queries and documents of a cluster use different words: no untrained encoder knows which belong together."""
    rng, tokens = np.random.default_rng(0), config_of(model).tokens
    queries = [f"q{c} a{rng.integers(3)}" for c in range(CLUSTERS) for _ in range(EACH)]
    documents = [f"d{c} b{rng.integers(3)}" for c in range(CLUSTERS) for _ in range(EACH)]
    n = CLUSTERS * EACH
    inputs = text_inputs(
        token_bags(pa.array(queries), tokens, "query"), token_bags(pa.array(documents), tokens, "document"),
        0, True, np.arange(n, dtype=np.int32),
    )  # fmt: skip
    pairs = [(search, search // EACH * EACH + int(d)) for search in range(n) for d in rng.choice(EACH, 3, False)]
    search_rows, document_rows = (np.array(column, np.int32) for column in zip(*sorted(pairs), strict=True))
    shown = ShownResults(search_rows, document_rows, np.ones(len(pairs), bool), search_rows, np.zeros_like(search_rows))
    wanted = (np.arange(n)[:, None] // EACH * EACH + np.arange(EACH)).ravel().astype(np.int32)
    targets = Targets(np.arange(n + 1, dtype=np.int64) * EACH, wanted)

    def recall(tower: Tower) -> float:
        vectors = tower.over(inputs).encode(np.arange(2 * n, dtype=np.int32))
        rows, _ = search_exact(vectors[n:], vectors[:n], EACH)
        return float(recall_at_k(hits(rows, targets), targets, EACH).mean())

    corpus = Corpus(inputs, np.arange(n, dtype=np.int32), np.zeros(n, np.int64))
    return Planted(corpus, shown, recall)


def arm_of(config: TransformerTowerConfig, **settings: Any) -> Arm:
    mix = {"negatives": NegativeMix(random=0, in_batch="all"), "loss": Softmax(), "mask": "query"}
    training = Training(batch_size=32, epochs=5, patience=5)
    return Arm(towers=config).model_copy(update=mix | {"training": training} | settings)


def trained(
    world: Planted, arm: Arm, seed: int = 0, start: Start | None = None
) -> tuple[Tower, list[Position], list[dict[str, Any]]]:
    """(the tower, the position and the resumable state after each epoch)."""
    use_threads(1)
    pairs, known = select_pairs(world.shown, NONE, arm.positives, arm.mask, seed)
    positions, states = [], []
    for progress, tower in train(world.corpus, pairs, known, arm, seed, world.recall, start):
        if progress.position:
            positions.append(progress.position)
            states.append({name: array.copy() for name, array in (resumable_state(tower) or {}).items()})
    return tower, positions, states


def digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(b"".join(name.encode() + state[name].tobytes() for name in sorted(state))).hexdigest()


def untrained(model: Path, inputs: Inputs, **settings: Any) -> TransformerTower:
    return new_transformer_tower(inputs, config_of(model, **settings), 10, np.random.default_rng(0))


def gradient_of(tower: TransformerTower) -> Float32:
    shape = (tower.inputs.rows, tower.dimensions)
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def stepped(tower: TransformerTower) -> dict[str, Any]:
    """The gradients of all weights after one step over all rows with a fixed gradient of the vectors."""
    forward = tower.forward(np.arange(tower.inputs.rows, dtype=np.int32))
    tower.step(forward, gradient_of(tower), 0.1)
    modules = enumerate(encoder.module for encoder in tower.text.sides)
    return {
        f"{side}.{name}": parameter.grad.clone()
        for side, module in modules
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }


def test_the_gradient_is_that_of_one_padded_batch_by_autograd(model: Path) -> None:
    world = planted(model)
    tower = untrained(model, world.corpus.inputs, clip=1000)
    text, encoder = tower.inputs.text, tower.text.sides[0]
    rows = text.at.astype(int)
    width = int(np.diff(text.bags.offsets).max())
    ids = np.full((len(rows), width), encoder.padding)
    mask = np.zeros((len(rows), width), np.int64)
    for at, bag in enumerate(rows):
        tokens = text.bags.ids[text.bags.offsets[bag] : text.bags.offsets[bag + 1]]
        ids[at, : len(tokens)], mask[at, : len(tokens)] = tokens, 1
    hidden = encoder.module(torch.from_numpy(ids), torch.from_numpy(mask)).last_hidden_state
    weights = torch.from_numpy(mask).float()[:, :, None]
    vectors = torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=1)
    torch.autograd.backward(vectors, torch.from_numpy(gradient_of(tower)))
    parameters = dict(encoder.module.named_parameters())
    expected = {f"0.{name}": part.grad.clone() for name, part in parameters.items() if part.grad is not None}
    norm = float(torch.sqrt(sum((gradient**2).sum() for gradient in expected.values())))
    actual = stepped(tower)
    scale = min(1.0, 1000 / norm)
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], scale * gradient, rtol=1e-3, atol=1e-4 * norm, msg=name)
    np.testing.assert_allclose(
        untrained(model, world.corpus.inputs).encode(np.arange(len(rows), dtype=np.int32)),
        vectors.detach().numpy(), atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("shared", [True, False])
def test_a_batch_larger_than_the_memory_gives_the_same_gradient(model: Path, dropout: float, shared: bool) -> None:
    inputs = planted(model).corpus.inputs
    whole, parts = (
        untrained(model, inputs, memory_tokens=tokens, dropout=dropout, shared=shared) for tokens in (10**6, 1)
    )
    of_whole, of_parts = stepped(whole), stepped(parts)
    assert of_whole.keys() == of_parts.keys()
    for name, gradient in of_whole.items():
        torch.testing.assert_close(of_parts[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    with_dropout = untrained(model, inputs, dropout=0.5).forward(np.arange(20, dtype=np.int32)).vectors
    without = untrained(model, inputs).forward(np.arange(20, dtype=np.int32)).vectors
    assert np.abs(with_dropout - without).max() > 0.01


def test_the_real_loop_trains_it(model: Path) -> None:
    world = planted(model)
    start = world.recall(untrained(model, world.corpus.inputs))
    tower, positions, _ = trained(world, arm_of(config_of(model)))
    recalls = [epoch.validation_recall for epoch in positions[-1].epochs]
    assert max(recalls) > max(0.6, 2 * start)
    assert positions[-1].epochs[-1].loss < positions[-1].epochs[0].loss
    assert world.recall(tower) == recalls[-1]


@pytest.mark.parametrize(
    "settings", [{}, {"shared": False}, {"lora": Lora(rank=4)}, {"dropout": 0.1, "encoder_rate": 2e-4}], ids=str
)
def test_the_same_seed_gives_the_same_bytes_and_a_killed_training_goes_on_with_them(
    model: Path, settings: dict[str, Any]
) -> None:
    world, arm = planted(model), arm_of(config_of(model, **settings), training=Training(batch_size=32, epochs=3))
    tower, positions, states = trained(world, arm)
    assert digest(tower.state()) == digest(trained(world, arm)[0].state())
    assert digest(tower.state()) != digest(trained(world, arm, seed=1)[0].state())
    resumed = Start(restore_tower(arm.towers, states[0], ["text"]), position=positions[0])
    again, later, _ = trained(world, arm, start=resumed)
    assert digest(again.state()) == digest(tower.state())
    assert later[-1].epochs == positions[-1].epochs
    assert restore_tower(arm.towers, tower.state(), ["text"]).text.clock.tolist() == [0, 1]  # another training warms up
    finished = Start(restore_tower(arm.towers, states[-1], ["text"]), position=positions[-1])
    pairs, known = select_pairs(world.shown, NONE, arm.positives, arm.mask, 0)
    assert list(train(world.corpus, pairs, known, arm, 0, world.recall, finished)) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": Triplet(margin=0.2), "negatives": NegativeMix(random=10)},
        {"loss": Softmax(), "negatives": NegativeMix(random=4, in_batch=8, in_batch_hard=2)},
        {"loss": Softmax(logq=1), "negatives": NegativeMix(random=4, in_batch="all")},
        {"negatives": NegativeMix(random=0, in_batch="all", memory=32)},
        {"negatives": NegativeMix(random=5, offline_hard=2), "remine_every": 1, "mining": Mining(window=(7, 20))},
    ],
    ids=["triplet", "hard in-batch", "logq", "memory", "remined"],
)
def test_losses_and_negatives_work_as_with_any_tower(model: Path, settings: dict[str, Any]) -> None:
    world = planted(model)
    arm = arm_of(config_of(model, prefixes=(8,)), training=Training(batch_size=32, epochs=3), **settings)
    tower, positions, states = trained(world, arm)
    epochs = positions[-1].epochs
    assert epochs[-1].loss < epochs[0].loss
    resumed = Start(restore_tower(arm.towers, states[1], ["text"]), position=positions[1])
    assert digest(trained(world, arm, start=resumed)[0].state()) == digest(tower.state())


def test_the_rate_rises_over_the_first_tenth_of_the_epoch(model: Path) -> None:
    tower = new_transformer_tower(
        planted(model).corpus.inputs, config_of(model, warm_up=0.4, encoder_rate=1e-4), 10, np.random.default_rng(0)
    )
    rates = []
    for _ in range(6):
        stepped(tower)
        rates.append(tower.text.optimiser.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, [0.25e-4, 0.5e-4, 0.75e-4, 1e-4, 1e-4, 1e-4])


def test_adapters_change_while_all_other_weights_stay(model: Path) -> None:
    tower = untrained(model, planted(model).corpus.inputs, lora=Lora(rank=4))
    before = {name: tensor.clone() for name, tensor in tower.text.sides[0].module.state_dict().items()}
    stepped(tower)
    after = tower.text.sides[0].module.state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)
    assert tower.counts()["trained_parameters"] < tower.counts()["parameters"]
    with pytest.raises(InputError, match=r"the linear layers of .* are named dense, key, query, value"):
        untrained(model, planted(model).corpus.inputs, lora=Lora(layers=("qkv",)))


def test_bfloat16_is_near_float32(model: Path) -> None:
    inputs, rows = planted(model).corpus.inputs, np.arange(96, dtype=np.int32)
    exact, rough = (untrained(model, inputs, precision=precision) for precision in ("float32", "bfloat16"))
    difference = np.abs(exact.forward(rows).vectors - rough.forward(rows).vectors).max()
    assert 0 < difference < 0.05
    assert np.array_equal(exact.encode(rows), rough.encode(rows))  # what is searched is float32
    stepped(rough)


def test_a_gradient_that_is_no_number_is_refused(model: Path) -> None:
    tower = untrained(model, planted(model).corpus.inputs)
    forward = tower.forward(np.arange(4, dtype=np.int32))
    with pytest.raises(InputError, match=r"not a number at step 1\. Lower towers\.encoder_rate"):
        tower.step(forward, np.full_like(forward.vectors, np.nan), 0.1)


def beside(inputs: Inputs) -> Inputs:
    """The inputs with a group of values, which tells the clusters, and one of given vectors."""
    cluster = np.arange(inputs.rows) // EACH % CLUSTERS
    bags = Bags(np.arange(CLUSTERS + 1), np.arange(CLUSTERS, dtype=np.int32), np.ones(CLUSTERS, np.float32))
    values = BagGroup(bags, cluster.astype(np.int32), CLUSTERS, CLUSTERS)
    vectors = VectorGroup(np.eye(CLUSTERS, 12, dtype=np.float32), np.where(cluster > 3, cluster, -1).astype(np.int32))
    return inputs._replace(groups={**inputs.groups, "kind": values, "friends": vectors})


def test_other_groups_are_added_and_learn(model: Path) -> None:
    world = planted(model)
    world = world._replace(corpus=world.corpus._replace(inputs=beside(world.corpus.inputs)))
    tower = untrained(model, world.corpus.inputs)
    before = copied_state(tower)
    stepped(tower)
    assert {"kind.table", "friends.maps"} <= {
        name for name, array in tower.state().items() if not np.array_equal(array, before[name])
    }
    arm = arm_of(config_of(model, encoder_rate=1e-5), training=Training(batch_size=32, epochs=3))
    learned, positions, _ = trained(world._replace(recall=lambda tower: 0.5), arm)
    assert positions[-1].epochs[-1].loss < positions[-1].epochs[0].loss
    assert set(learned.weights()) == {f"{s}.{g}" for s in ("query", "document") for g in ("text", "kind", "friends")}


def checkpoint_of(tower: Tower, config: TransformerTowerConfig) -> Checkpoint:
    fitted = FittedFeatures(Arm(towers=config).features, np.empty(0, np.int32), np.empty(0, np.float32), {})
    return Checkpoint(tower, fitted, config, {}, np.empty(0, "S1"))


@pytest.mark.parametrize("settings", [{}, {"shared": False}, {"dimensions": 8}], ids=str)
def test_a_tuned_tower_opens_without_the_model_that_it_began_with(tmp_path: Path, settings: dict[str, Any]) -> None:
    from ebr_core.towers.checkpoint import embed_queries

    model = make_tiny_encoder(tmp_path / "model")
    inputs = planted(model).corpus.inputs
    tower = untrained(model, inputs, **settings)
    stepped(tower)
    rows = np.arange(96, dtype=np.int32)
    vectors = tower.encode(rows)
    (tmp_path / "towers").mkdir()
    save_towers(checkpoint_of(tower, tower.config), tmp_path / "towers")
    model.rename(tmp_path / "elsewhere")
    opened = load_towers(tmp_path / "towers")
    assert np.array_equal(opened.tower.over(inputs).encode(rows), vectors)
    texts = pa.array([None, " ", f"q0 a{np.random.default_rng(0).integers(3)}"])
    answers = embed_queries(opened, texts)
    assert not answers[:2].any()
    np.testing.assert_allclose(answers[2], vectors[0], atol=1e-6)


def test_adapters_refuse_another_model(tmp_path: Path) -> None:
    model = make_tiny_encoder(tmp_path / "model")
    inputs, rows = planted(model).corpus.inputs, np.arange(96, dtype=np.int32)
    tower = untrained(model, inputs, lora=Lora(rank=4))
    stepped(tower)
    (tmp_path / "towers").mkdir()
    save_towers(checkpoint_of(tower, tower.config), tmp_path / "towers")
    assert np.array_equal(load_towers(tmp_path / "towers").tower.over(inputs).encode(rows), tower.encode(rows))
    shutil.copytree(tmp_path / "towers", tmp_path / "whole")
    save_encoder(tower, tmp_path / "whole" / "encoder", weights=True)
    make_tiny_encoder(model, seed=1)
    with pytest.raises(InputError, match=r"adapters were trained on a model with the digest .* Put that model back"):
        load_towers(tmp_path / "towers")
    shutil.rmtree(model)
    with pytest.raises(InputError, match=r"adapters of a model, and need it.*no such folder.*include_model: true"):
        load_towers(tmp_path / "towers")
    assert np.array_equal(load_towers(tmp_path / "whole").tower.over(inputs).encode(rows), tower.encode(rows))


def test_a_night_starts_from_the_weights_of_the_night_before(model: Path) -> None:
    inputs = planted(model).corpus.inputs
    old, fresh = untrained(model, inputs), untrained(model, inputs)
    stepped(old)
    fitted = checkpoint_of(old, old.config).fitted
    rows = np.arange(96, dtype=np.int32)
    moved = fresh.warm_start(old, fitted, fitted)
    assert np.array_equal(moved.encode(rows), old.encode(rows))
    assert not np.array_equal(untrained(model, inputs).encode(rows), old.encode(rows))


def test_parts_hold_each_text_once_among_others_of_about_its_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 300, 2000)
    parts = list(_by_length(lengths))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(2000))
    for part in parts:
        assert len(part) * lengths[part].max() <= PART_TOKENS
        assert len(part) <= FEWEST or lengths[part].min() >= SHORTEST * lengths[part].max()
    assert [len(part) for part in _by_length(np.array([9000, 1]))] == [1, 1]  # a text longer than a part


def test_equal_texts_are_embedded_once_and_blank_ones_never(model: Path) -> None:
    tokens = config_of(model).tokens
    texts = pa.array(["red shoe", "red shoe", "", None, "sock"])
    inputs = text_inputs(
        token_bags(texts, tokens, "query"), token_bags(pa.array(["boot"]), tokens, "document"),
        0, True, np.array([0, 0, 2, 3, 4], np.int32),
    )  # fmt: skip
    forward = untrained(model, inputs).forward(np.arange(6, dtype=np.int32))
    assert sum(len(part.at) for part in forward.texts.parts) == 3
    assert np.array_equal(forward.vectors[0], forward.vectors[1])
    assert not forward.vectors[2:4].any()
    np.testing.assert_allclose(np.linalg.norm(forward.vectors[[0, 4, 5]], axis=1), 1, atol=1e-6)
