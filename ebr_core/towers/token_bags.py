"""Texts as tokens of a pretrained encoder, in the form of bags: ids in the order of the text."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.encoders.pretrained import TextEncoder, TextSide, load_tokenizer, tokenize
from ebr_core.encoders.token_config import TokenConfig
from ebr_core.text.ngram_bags import Bags


def token_bags(texts: pa.Array, config: TokenConfig, side: TextSide, folder: Path | None = None) -> Bags:
    """The tokens of each text, its prompt and the special tokens included; a blank text, or null, has none.

    folder: of the tokenizer, in place of that of the config. Weights are 1.
    """
    is_text = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False)
    tokens = tokenize(_tokenizer(config, folder), texts.filter(is_text), side)
    counts = np.zeros(len(texts), np.int64)
    counts[is_text.to_numpy(zero_copy_only=False)] = tokens.lengths
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Bags(offsets, tokens.ids, np.ones(len(tokens.ids), np.float32))


@functools.lru_cache(maxsize=8)
def _tokenizer(config: TokenConfig, folder: Path | None) -> TextEncoder:
    encoder = config.encoder
    return load_tokenizer(encoder if folder is None else encoder.model_copy(update={"model": str(folder)}))
