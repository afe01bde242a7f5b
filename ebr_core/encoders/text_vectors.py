"""Texts → vectors by a pretrained encoder, in batches of texts of about one length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa

from ebr_core.arrays import Float32, Int64
from ebr_core.encoders.pretrained import TextEncoder, TextSide, Tokens, embed_tokens, padded, tokenize
from ebr_core.errors import InputError
from ebr_core.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

BATCH_TOKENS = {"cpu": 1024}  # tokens of a batch, its padding included: what the caches of a core hold (LOG.md)
DEVICE_TOKENS = 32_768  # the same for other devices
BATCH_TEXTS = 1024  # most texts of a batch
Embed: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"  # ids (n, T), mask (n, T) → unit vectors (n, D)


def encode_texts(encoder: TextEncoder, texts: pa.Array, side: TextSide, embed: Embed | None = None) -> Float32:
    """(n, D) unit vectors of texts, as queries or as documents. Raises InputError for a vector that is no number.

    embed: what computes them, by default the encoder's own module.
    """
    tokens = tokenize(encoder, texts, side)
    vectors = np.empty((len(texts), encoder.dimensions), np.float32)
    for rows in length_batches(tokens, encoder.device.type):
        vectors[rows] = encode_batch(encoder, tokens, rows, embed)
    refuse_unfinished(vectors, encoder, texts)
    return vectors


def encode_batch(encoder: TextEncoder, tokens: Tokens, rows: Int64, embed: Embed | None = None) -> Float32:
    """(n, D) unit vectors of the texts at rows (n,), without gradients."""
    ids, mask = padded(encoder, tokens, rows)
    with torch.inference_mode():
        vectors = embed_tokens(encoder, ids, mask) if embed is None else embed(ids, mask)
        return np.asarray(vectors.cpu().numpy(), np.float32)


def length_batches(tokens: Tokens, device: str = "cpu") -> Iterator[Int64]:
    """The rows of each batch, the longest texts first: little padding, and memory that runs out does so at once."""
    most_tokens = BATCH_TOKENS.get(device, DEVICE_TOKENS)
    order = np.argsort(-tokens.lengths, kind="stable")
    first = 0
    while first < len(order):
        longest = max(int(tokens.lengths[order[first]]), 1)
        last = first + min(max(most_tokens // longest, 1), BATCH_TEXTS)
        yield order[first:last]
        first = last


def refuse_unfinished(vectors: Float32, encoder: TextEncoder, texts: pa.Array) -> None:
    """Raise InputError for the first vector that holds NaN or an infinity."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        text = texts[int(np.argmin(finite))].as_py()
        raise InputError(
            f"{encoder.config.model}: {int((~finite).sum()):,} of {len(vectors):,} vectors are no numbers (NaN), such "
            f"as that of {text!r}. Set precision: float32, or use another model"
        )
