"""A pretrained encoder in training: tokens → vectors, and the gradient by the vectors back into its weights.

The loss is computed over the vectors of a whole batch, elsewhere. A batch whose intermediate results would not fit into
memory is embedded without them; once the gradient by its vectors is known, its parts are embedded again, one at a time,
with them. The gradient is the same, and so are the negatives. [Gao et al. 2021, GradCache]
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ebr_core.arrays import Float32, Int32, Int64
from ebr_core.encoders.adapters import add_adapters
from ebr_core.encoders.model_folder import has_weights, open_folder
from ebr_core.encoders.pretrained import TextEncoder, Tokens, embed_tokens, load_encoder, padded
from ebr_core.errors import InputError
from ebr_core.lazy_torch import torch
from ebr_core.scratch import Array
from ebr_core.text.ngram_bags import Bags, take
from ebr_core.towers.tower_config import TransformerTowerConfig

if TYPE_CHECKING:
    from torch import Tensor

PART_TOKENS = 4096  # most tokens of a part, its padding included
FEWEST = 16  # texts of a part, before shorter ones are left to the next
SHORTEST = 0.8  # of the longest text of a part
_WIDE = 65_536  # texts that are embedded without gradients together


class TunedEncoder(NamedTuple):
    """The encoder of both towers, or of each, with its optimiser."""

    sides: tuple[TextEncoder, ...]  # one for both sides, or that of queries and that of documents
    optimiser: torch.optim.AdamW
    clock: Int64  # (2,) the steps taken, and those of the warm-up
    config: TransformerTowerConfig


class TextPart(NamedTuple):
    """Texts of about one length that are embedded together."""

    side: int  # of `TunedEncoder.sides`
    at: Int64  # (m,) their positions among the distinct texts
    ids: Tensor  # (m, T)
    mask: Tensor  # (m, T)
    vectors: Tensor | None  # (m, D) with their gradients' graph, if that is kept


class TextForward(NamedTuple):
    """The vectors of some texts, and what `step_texts` needs."""

    vectors: Float32  # (n, D) of unit length, zero for a text without a token
    parts: list[TextPart]
    inverse: Int64  # (n,) the distinct text of each
    distinct: int


def start_tuning(config: TransformerTowerConfig, warm_up_steps: int, rng: np.random.Generator) -> TunedEncoder:
    """The pretrained encoder, ready to be trained further."""
    encoder = load_encoder(config.encoder)
    if config.lora is not None:
        encoder = encoder._replace(module=add_adapters(encoder, config.lora, int(rng.integers(2**31))))
    sides = (encoder,) if config.shared else (encoder, encoder._replace(module=copy.deepcopy(encoder.module)))
    return with_optimiser(sides, config, np.array([0, warm_up_steps], np.int64))


def with_optimiser(sides: tuple[TextEncoder, ...], config: TransformerTowerConfig, clock: Int64) -> TunedEncoder:
    """The encoders with a new optimiser."""
    decayed: list[Tensor] = []
    others: list[Tensor] = []  # biases and the weights of norms
    for encoder in sides:
        for module in encoder.module.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = config.dropout
        for parameter in encoder.module.parameters():
            if parameter.requires_grad:
                (decayed if parameter.ndim > 1 else others).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return TunedEncoder(sides, torch.optim.AdamW(groups, lr=config.first_rate, fused=True), clock, config)


def restore_tuning(config: TransformerTowerConfig, state: Mapping[str, Array], folder: Path | None) -> TunedEncoder:
    """The encoder that `trained_weights` describes, from which training can go on: with the `moments` among the state
    as if it had not stopped, without them with a warm-up.

    folder: of the model's settings and tokenizer, in place of that of the config. Raises InputError if adapters belong
    to another model than the one that is there.
    """
    adapted = config.lora is not None
    encoder = _model_of(config, folder)
    if config.lora is not None:
        if (base := bytes(state["text.base"]).decode()) != encoder.digest:
            raise InputError(
                f"{encoder.config.model}: the adapters were trained on a model with the digest {base[:12]}, this "
                f"one has {encoder.digest[:12]}. Put that model back, or train again"
            )
        encoder = encoder._replace(module=add_adapters(encoder, config.lora, 0))
    count = 1 if config.shared else 2
    sides = (encoder, encoder._replace(module=copy.deepcopy(encoder.module)))[:count]
    for side, part in enumerate(sides):
        prefix = f"text.{side}."
        tensors = {
            name.removeprefix(prefix): torch.from_numpy(np.array(array))
            for name, array in state.items()
            if name.startswith(prefix)
        }
        part.module.load_state_dict(tensors, strict=not adapted)
    clock = np.concatenate([state.get("adam.steps", np.zeros(1, np.int64)), state["text.warm_up"]])
    tuned = with_optimiser(sides, config, clock)
    put_moments(tuned, state)
    return tuned


def _model_of(config: TransformerTowerConfig, folder: Path | None) -> TextEncoder:
    """The model as it was before training; if all its weights are to be replaced, any."""
    inside = None if folder is None else config.encoder.model_copy(update={"model": str(folder)})
    if config.lora is None:
        return load_encoder(inside or config.encoder, weights=False)
    if inside is not None and has_weights(open_folder(inside, needs_weights=False).weights):
        return load_encoder(inside)
    try:
        return load_encoder(config.encoder)
    except InputError as error:
        raise InputError(
            f"these towers are adapters of a model, and need it. {error}, or run again with bundle: "
            "{include_model: true}"
        ) from error


def forward_texts(tuned: TunedEncoder, bags: Bags, rows: Int32, side: Int32, training: bool) -> TextForward:
    """The vectors of the texts at rows (n,) of the bags, whose ids are tokens, each by the encoder of its side (n,).

    training: True if `step_texts` follows. Each distinct text is embedded once.
    """
    distinct, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    texts, sides = take(bags, distinct), side[first] if len(tuned.sides) > 1 else np.zeros(len(distinct), np.int32)
    vectors = np.zeros((len(distinct), tuned.sides[0].dimensions), np.float32)
    parts = list(_parts(tuned, texts, sides))
    keeps = training and sum(part.ids.numel() for part in parts) <= tuned.config.memory_tokens
    for number, part in enumerate(parts):
        with contextlib.nullcontext() if keeps else torch.no_grad():
            by_text = _embed(tuned, part, number if training else None)
        vectors[part.at] = by_text.detach().cpu().numpy()
        if keeps:
            parts[number] = part._replace(vectors=by_text)
    return TextForward(vectors[inverse], parts if training else [], inverse, len(distinct))


def encode_texts_of(tuned: TunedEncoder, bags: Bags, rows: Int32, side: Int32) -> Float32:
    """(n, D) the vectors of any number of texts, for search and not for training."""
    vectors = np.empty((len(rows), tuned.sides[0].dimensions), np.float32)
    for first in range(0, len(rows), _WIDE):
        part = slice(first, first + _WIDE)
        vectors[part] = forward_texts(tuned, bags, rows[part], side[part], training=False).vectors
    return vectors


def _parts(tuned: TunedEncoder, texts: Bags, sides: Int32) -> Iterator[TextPart]:
    """The texts in parts of one side and of about one length; those without a token are left out."""
    for side, encoder in enumerate(tuned.sides):
        at = np.flatnonzero((sides == side) & (np.diff(texts.offsets) > 0))
        mine = take(texts, at.astype(np.int32))
        tokens = Tokens(mine.offsets, mine.ids)
        for rows in _by_length(tokens.lengths):
            yield TextPart(side, at[rows], *padded(encoder, tokens, rows), None)


def _by_length(lengths: Int64) -> Iterator[Int64]:
    """The texts of each part, the longest first: little padding, but enough texts for one product of matrices.

    Parts do not depend on `memory_tokens`, so neither does the dropout of a part.
    """
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        near = int(np.searchsorted(-lengths[order], -SHORTEST * longest, side="right"))
        last = min(max(near, first + FEWEST), first + max(PART_TOKENS // longest, 1))
        yield order[first:last]
        first = last


def _embed(tuned: TunedEncoder, part: TextPart, number: int | None) -> Tensor:
    """(m, D) the vectors of a part; number: its place in a training batch, None outside of training.

    A part that is embedded twice has the same dropout both times, because step and place seed it.
    """
    encoder, config = tuned.sides[part.side], tuned.config
    if number is None:
        return embed_tokens(encoder, part.ids, part.mask)
    dtype = _precision(config, encoder.device)
    with torch.autocast(encoder.device.type, dtype, enabled=dtype != torch.float32):
        if not config.dropout:
            return embed_tokens(encoder, part.ids, part.mask).float()
        devices = [encoder.device] if encoder.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(tuned.clock[0]) * 1_000_003 + number)
            encoder.module.train()
            try:
                return embed_tokens(encoder, part.ids, part.mask).float()
            finally:
                encoder.module.eval()


def _precision(config: TransformerTowerConfig, device: torch.device) -> torch.dtype:
    if config.precision == "auto":
        has_it = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_it else torch.float32
    return torch.bfloat16 if config.precision == "bfloat16" else torch.float32


def step_texts(tuned: TunedEncoder, forward: TextForward, gradient: Float32) -> None:
    """Take one step of AdamW; gradient (n, D) is ∂L/∂(the vectors). Raises InputError if it is not a number."""
    by_distinct = np.zeros((forward.distinct, gradient.shape[1]), np.float32)
    np.add.at(by_distinct, forward.inverse, gradient)
    tuned.optimiser.zero_grad()
    for number, part in enumerate(forward.parts):
        vectors = _embed(tuned, part, number) if part.vectors is None else part.vectors
        torch.autograd.backward(vectors, torch.from_numpy(by_distinct[part.at]).to(vectors.device))
    norm = float(torch.nn.utils.clip_grad_norm_(_parameters(tuned), tuned.config.clip))
    if not np.isfinite(norm):
        raise InputError(
            f"towers: the gradient of {tuned.config.model} is not a number at step {int(tuned.clock[0]) + 1}. Lower "
            "towers.encoder_rate, or set towers.precision: float32"
        )
    rate = tuned.config.first_rate * min(1.0, (tuned.clock[0] + 1) / max(int(tuned.clock[1]), 1))
    for group in tuned.optimiser.param_groups:
        group["lr"] = rate
    tuned.optimiser.step()
    tuned.clock[0] += 1


def trained_weights(tuned: TunedEncoder) -> dict[str, Array]:
    """The weights that training changes, by name: all, or those of the adapters with the digest of their model."""
    adapted = tuned.config.lora is not None
    tensors: dict[str, Array] = {
        f"text.{side}.{name}": tensor.detach().cpu().numpy()
        for side, encoder in enumerate(tuned.sides)
        for name, tensor in encoder.module.state_dict().items()
        if "lora_" in name or not adapted
    }
    if adapted:
        tensors["text.base"] = np.frombuffer(tuned.sides[0].digest.encode(), np.uint8)
    return tensors | {"text.warm_up": tuned.clock[1:]}


def moments(tuned: TunedEncoder) -> dict[str, Array]:
    """What AdamW keeps of earlier gradients, and the steps that it has taken, by name."""
    kept: dict[str, Array] = {
        f"adam.{number}.{part}": tensor.detach().cpu().numpy()
        for number, parameter in enumerate(_parameters(tuned))
        for part, tensor in tuned.optimiser.state.get(parameter, {}).items()
    }
    return kept | {"adam.steps": tuned.clock[:1]}


def put_moments(tuned: TunedEncoder, state: Mapping[str, Array]) -> None:
    """Give AdamW what `moments` returned."""
    for name, array in state.items():
        if name.startswith("adam.") and name != "adam.steps":
            _, number, part = name.split(".")
            parameter = _parameters(tuned)[int(number)]
            tensor = torch.from_numpy(np.array(array)).to(parameter.device)
            tuned.optimiser.state[parameter][part] = tensor


def _parameters(tuned: TunedEncoder) -> list[Tensor]:
    return [parameter for group in tuned.optimiser.param_groups for parameter in group["params"]]
