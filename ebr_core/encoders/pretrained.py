"""A pretrained encoder in memory: texts → tokens → one vector each, on the device that is there."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, assert_never

import numpy as np
import pyarrow as pa

from ebr_core.arrays import Int32, Int64
from ebr_core.encoders.encoder_config import Device, EncoderConfig, Pooling
from ebr_core.encoders.model_folder import EXTRA, ModelFolder, open_folder, weights_digest
from ebr_core.errors import InputError
from ebr_core.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

TextSide = Literal["query", "document"]
_TEXTS_AT_ONCE = 8192  # texts that are cut into tokens together


class Tokens(NamedTuple):
    """Texts cut into tokens, one text after the other."""

    offsets: Int64  # (n + 1,)
    ids: Int32

    @property
    def lengths(self) -> Int64:
        """(n,) the tokens of each text."""
        return np.diff(self.offsets)


class TextEncoder(NamedTuple):
    """An encoder that is ready to use. `module` may be trained further: `embed_tokens` keeps gradients."""

    config: EncoderConfig
    folder: ModelFolder
    digest: str  # of weights, tokenizer and the folder's settings
    tokenizer: Any  # tokenizers.Tokenizer
    module: torch.nn.Module
    padding: int  # the id of the padding token
    device: torch.device

    @property
    def dimensions(self) -> int:
        """D, the length of a vector."""
        return self.folder.dimensions


def load_encoder(config: EncoderConfig, weights: bool = True) -> TextEncoder:
    """The encoder of those settings, in evaluation mode on its device. Weights are float32, or bfloat16 if it is set.

    For int8 they are float32, too: `quantised` makes the module that computes in it. weights: False for random ones, in
    a folder that need not have any. Raises InputError if the extra is not installed, and for what does not fit (see
    `open_folder`).
    """
    transformers = import_transformers()
    encoder, device = load_tokenizer(config, weights), choose_device(config.device)
    dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    make = _module if weights else _random_module
    with _quiet(transformers):
        module = _load(encoder.folder, "model", lambda: make(transformers, encoder.folder, dtype))
    return encoder._replace(digest=weights_digest(encoder.folder), module=module.eval().to(device), device=device)


def load_tokenizer(config: EncoderConfig, weights: bool = False) -> TextEncoder:
    """The encoder without module and digest, for `tokenize` alone; weights: True if the folder must have some."""
    transformers = import_transformers()
    folder = open_folder(config, weights)
    with _quiet(transformers):
        tokenizer = _load(folder, "tokenizer", lambda: _tokenizer(transformers, folder))
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(folder.max_tokens)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    return TextEncoder(config, folder, "", backend, torch.nn.Identity(), int(padding), torch.device("cpu"))


def import_transformers() -> Any:
    """The library, which nothing imports before an encoder is used. Raises InputError if it is not installed."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        import transformers
    except ImportError as error:
        raise InputError(f"pretrained encoders need the extra `encoders`: {EXTRA} ({error})") from error
    return transformers


def choose_device(device: Device) -> torch.device:
    """The device of that name; auto: cuda, else mps, else cpu. Raises InputError for one that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there[device]:
        raise InputError(f"device: {device} is not there; set device: auto, which takes the best that is")
    return torch.device(device)


def _tokenizer(transformers: Any, folder: ModelFolder) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        str(folder.weights), local_files_only=True, trust_remote_code=False
    )
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ValueError("it has no tokenizer.json, and none can be made of its files")
    return tokenizer


def _module(transformers: Any, folder: ModelFolder, dtype: torch.dtype) -> torch.nn.Module:
    """The model. Raises ValueError if weights are missing, which the library would fill with random numbers."""
    module: torch.nn.Module
    module, report = transformers.AutoModel.from_pretrained(
        str(folder.weights), local_files_only=True, trust_remote_code=False, dtype=dtype, output_loading_info=True
    )
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))  # which is not used
    if missing or report["mismatched_keys"]:
        raise ValueError(f"its weights do not fit config.json: {len(missing)} are missing, such as {missing[:1]}")
    return module


def _random_module(transformers: Any, folder: ModelFolder, dtype: torch.dtype) -> torch.nn.Module:
    """A model of that architecture, whose weights are to be replaced."""
    settings = transformers.AutoConfig.from_pretrained(
        str(folder.weights), local_files_only=True, trust_remote_code=False
    )
    module: torch.nn.Module
    with torch.random.fork_rng([]):
        module = transformers.AutoModel.from_config(settings, trust_remote_code=False, dtype=dtype)
    return module


def _load(folder: ModelFolder, what: str, load: Any) -> Any:
    """The result of a library's load. Its dozen of errors become one."""
    try:
        return load()
    except Exception as error:  # some derive from nothing narrower
        reason = " ".join((str(error).strip() or type(error).__name__).split())[:300]
        raise InputError(
            f"{folder.path}: its {what} cannot be loaded: {reason}. Give a text encoder of transformers or "
            "sentence-transformers, with all its files"
        ) from error


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """While the block runs, the library draws no bars and logs errors alone."""
    logging_ = transformers.utils.logging
    level, bars = logging_.get_verbosity(), logging_.is_progress_bar_enabled()
    logging_.set_verbosity(logging.ERROR)
    logging_.disable_progress_bar()
    try:
        yield
    finally:
        logging_.set_verbosity(level)
        if bars:
            logging_.enable_progress_bar()


def prompt_of(folder: ModelFolder, side: TextSide) -> str:
    """The text before each text of a side."""
    match side:
        case "query":
            return folder.query_prompt
        case "document":
            return folder.document_prompt
        case _:
            assert_never(side)


def tokenize(encoder: TextEncoder, texts: pa.Array, side: TextSide) -> Tokens:
    """The tokens of the texts of a side, behind its prompt and cut to the encoder's most. Null is the empty text."""
    prompt = prompt_of(encoder.folder, side)
    lengths, ids = [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
    for first in range(0, len(texts), _TEXTS_AT_ONCE):
        part = [prompt + (text or "").strip() for text in texts[first : first + _TEXTS_AT_ONCE].to_pylist()]
        if encoder.folder.lower_case:
            part = [text.lower() for text in part]
        rows = [encoding.ids for encoding in encoder.tokenizer.encode_batch_fast(part)]
        lengths.append(np.fromiter(map(len, rows), np.int64, len(rows)))
        ids.append(np.fromiter((token for row in rows for token in row), np.int32, int(lengths[-1].sum())))
    return Tokens(np.cumsum(np.concatenate(lengths)), np.concatenate(ids))


def padded(encoder: TextEncoder, tokens: Tokens, rows: Int64) -> tuple[Tensor, Tensor]:
    """(ids (n, T), mask (n, T)) of the texts at rows (n,), on the encoder's device; T is the longest of them."""
    lengths = tokens.lengths[rows]
    at = np.arange(max(int(lengths.max(initial=0)), 1))
    mask = at < lengths[:, None]
    ids = np.full(mask.shape, encoder.padding, np.int64)
    ids[mask] = tokens.ids[(tokens.offsets[rows, None] + at)[mask]]
    return torch.from_numpy(ids).to(encoder.device), torch.from_numpy(mask.astype(np.int64)).to(encoder.device)


def embed_tokens(encoder: TextEncoder, ids: Tensor, mask: Tensor) -> Tensor:
    """(n, D) unit vectors, in float32, of texts in tokens (n, T); zero for a text without one. Gradients are kept."""
    hidden = encoder.module(input_ids=ids, attention_mask=mask).last_hidden_state
    return finish(pool(hidden.float(), mask, encoder.folder.pooling), encoder.dimensions)


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(n, W) one vector of each text from those of its tokens (n, T, W); mask (n, T) is 0 behind the last."""
    match pooling:
        case "mean":
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        case "cls":
            return hidden[:, 0] * mask[:, :1]
        case "last":
            last = (mask.sum(1) - 1).clamp(min=0)
            return hidden[torch.arange(len(hidden), device=hidden.device), last] * mask[:, :1]
        case _:
            assert_never(pooling)


def finish(vectors: Tensor, dimensions: int) -> Tensor:
    """(n, D) the first D dimensions of the vectors (n, W), scaled to unit length."""
    return torch.nn.functional.normalize(vectors[:, :dimensions], dim=1)
