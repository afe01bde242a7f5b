"""The real loop trains a tower that the project does not know: all its code is in this file."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from test_train_loop import NONE, Planted, arm_of, planted
from torch import Tensor, nn

from ebr_core.arrays import Float32, Int32
from ebr_core.scratch import Array
from ebr_core.towers.fitted_features import FittedFeatures
from ebr_core.towers.tower import Tower, copied_state, encode_in_blocks
from ebr_core.towers.tower_inputs import Inputs
from ebr_core.training.arm_config import Arm
from ebr_core.training.loss_config import Softmax
from ebr_core.training.pair_config import Mining, NegativeMix
from ebr_core.training.positives import select_pairs
from ebr_core.training.train_loop import Epoch, Start, mine_pairs, train


class TorchModule(nn.Module):
    """A word embedding, a hidden layer, and an output layer for each side."""

    def __init__(self, words: int, dimensions: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(words, 32, mode="mean", include_last_offset=True)
        self.hidden = nn.Linear(32, 48)
        self.out = nn.ModuleList([nn.Linear(48, dimensions) for _ in range(2)])

    def forward(self, ids: Tensor, offsets: Tensor, side: Tensor) -> Tensor:
        """(n, D) unit vectors of n bags of words; side (n,): 1 for documents."""
        hidden = torch.relu(self.hidden(self.words(ids, offsets)))
        vectors = torch.where(side[:, None] == 1, self.out[1](hidden), self.out[0](hidden))
        return nn.functional.normalize(vectors, dim=1)


class TensorVectors(NamedTuple):
    """Vectors with the tensor that they come from."""

    tensor: Tensor

    @property
    def vectors(self) -> Float32:
        """(n, D) vectors."""
        vectors: Float32 = self.tensor.detach().numpy()
        return vectors


class TorchTower(NamedTuple):
    """Searches and documents encoded by one torch module, trained with Adam."""

    module: TorchModule
    optimizer: torch.optim.Optimizer
    inputs: Inputs

    @property
    def dimensions(self) -> int:
        """D, the dimensions of a vector."""
        return int(self.module.out[0].out_features)

    def over(self, inputs: Inputs) -> TorchTower:
        """The same module with other inputs."""
        return self._replace(inputs=inputs)

    def encode(self, rows: Int32) -> Float32:
        """(n, D) vectors without gradients."""
        with torch.no_grad():
            return encode_in_blocks(self.forward, rows, self.dimensions)

    def forward(self, rows: Int32) -> TensorVectors:
        """The vectors of rows, with their tensor."""
        text, bag_rows = self.inputs.text.bags, self.inputs.text.at[rows]
        parts = [text.ids[text.offsets[bag] : text.offsets[bag + 1]] for bag in bag_rows]
        offsets = torch.tensor(np.cumsum([0, *map(len, parts)]))
        side = torch.from_numpy(self.inputs.side_of(rows))
        return TensorVectors(self.module(torch.from_numpy(np.concatenate(parts)), offsets, side))

    def step(self, forward: TensorVectors, gradient: Float32, rate: float) -> None:
        """Take a step of Adam at learning rate `rate`."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        torch.autograd.backward(forward.tensor, torch.from_numpy(gradient))
        self.optimizer.step()

    @property
    def weighs_groups(self) -> bool:
        """False: the module reads the text alone."""
        return False

    def step_weights(self, forward: TensorVectors, gradient: Float32) -> None:
        """Nothing to do."""

    def state(self) -> dict[str, Array]:
        """The module's parameters."""
        return {name: tensor.detach().numpy() for name, tensor in self.module.state_dict().items()}

    def counts(self) -> dict[str, int]:
        """The number of parameters."""
        return {"parameters": sum(parameter.numel() for parameter in self.module.parameters())}

    def weights(self) -> dict[str, float]:
        """No group weights: there is one group."""
        return {}

    def warm_start(self, old: TorchTower, before: FittedFeatures, after: FittedFeatures) -> TorchTower:
        """The old module unchanged: words are hashed, so they do not depend on the log."""
        return old.over(self.inputs)


def new_torch_tower(inputs: Inputs, dimensions: int, seed: int) -> TorchTower:
    """An untrained tower."""
    torch.manual_seed(seed)
    module = TorchModule(inputs.text.table_rows, dimensions)
    return TorchTower(module, torch.optim.Adam(module.parameters()), inputs)


ARM = arm_of(NegativeMix(random=10, in_batch="all"), epochs=6, learning_rate=0.01).model_copy(
    update={"loss": Softmax(), "mask": "query"}
)


def trained(world: Planted, arm: Arm, seed: int) -> tuple[list[Epoch], Tower]:
    tower: Tower = new_torch_tower(world.corpus.inputs, arm.towers.dimensions, seed)
    pairs, known_positives = select_pairs(world.shown, NONE, arm.positives, arm.mask, seed)
    steps = train(world.corpus, pairs, known_positives, arm, seed, world.recall, Start(tower))
    return [progress.epoch for progress, _ in steps if progress.epoch], tower


def digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest()


def test_the_real_loop_trains_an_unknown_tower() -> None:
    world = planted()
    untrained = [world.recall(new_torch_tower(world.corpus.inputs, 16, seed)) for seed in range(10)]
    epochs, tower = trained(world, ARM, 0)
    assert epochs[-1].validation_recall > max(0.8, 2 * max(untrained))
    assert epochs[-1].loss < epochs[0].loss
    assert world.recall(tower) == epochs[-1].validation_recall


@pytest.mark.parametrize("seed", [0, 3])
def test_the_same_seed_gives_the_same_bytes_with_any_tower(seed: int) -> None:
    world = planted()
    digests = [digest(copied_state(trained(world, ARM, seed)[1])) for _ in range(2)]
    assert digests[0] == digests[1]
    assert digests[0] != digest(copied_state(trained(world, ARM, seed + 1)[1]))


def test_any_tower_can_mine_negatives() -> None:
    world = planted()
    _, tower = trained(world, ARM, 0)
    pairs, known_positives = select_pairs(world.shown, NONE, ARM.positives, ARM.mask, 0)
    parts = list(mine_pairs(tower, world.corpus, pairs, known_positives, Mining(window=(1, 12), keep=6), 0, 1))
    rows = np.concatenate([part.document_rows for part in parts])
    assert len(rows) == len(pairs.search_rows)
    assert (rows >= 0).any()
    assert not (rows == pairs.document_rows[:, None]).any()


def test_any_tower_can_mine_again_during_training() -> None:
    world = planted()
    arm = ARM.model_copy(
        update={
            "negatives": NegativeMix(random=5, offline_hard=2),
            "remine_every": 2,
            "mining": Mining(window=(7, 20)),
        }
    )
    epochs, _ = trained(world, arm, 0)
    assert epochs[-1].validation_recall > epochs[0].validation_recall
