"""The vectors that a pretrained encoder gives of queries and documents which no log holds, for a model in use."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from ebr_core.arrays import Float32
from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.encoders.model_folder import model_files, open_folder, weights_digest
from ebr_core.encoders.pretrained import TextEncoder, load_encoder
from ebr_core.encoders.text_vectors import encode_texts
from ebr_core.errors import InputError
from ebr_core.towers.vector_config import Encoder

MODELS = "models"  # beside the towers: for each group, the encoder that travels with them
_LOADING = Lock()


def encode_queries(name: str, group: Encoder, weights: str, towers: Path | None, queries: pa.Array) -> Float32:
    """(n, D′) unit vectors of queries, computed in float32; zero for a blank one.

    name: of the group; weights: the digest of the encoder with which the towers were trained; towers: their folder,
    which may hold the encoder. Raises InputError if the encoder is not there, or is another.
    """
    encoder = _open(name, group, weights, towers)
    texts = pc.utf8_trim_whitespace(pc.fill_null(queries, ""))
    vectors = encode_texts(encoder, texts, "query")
    vectors[pc.equal(texts, "").to_numpy(zero_copy_only=False)] = 0
    return vectors


def encode_documents(name: str, group: Encoder, weights: str, towers: Path | None, documents: pa.Array) -> Float32:
    """(n, D′) unit vectors of texts as documents, as encode_queries gives those of queries."""
    encoder = _open(name, group, weights, towers)
    texts = pc.utf8_trim_whitespace(pc.fill_null(documents, ""))
    vectors = encode_texts(encoder, texts, "document")
    vectors[pc.equal(texts, "").to_numpy(zero_copy_only=False)] = 0
    return vectors


def _open(name: str, group: Encoder, weights: str, towers: Path | None) -> TextEncoder:
    carried = towers / MODELS / name if towers is not None else None
    inside = carried is not None and carried.is_dir()
    config = group.config.model_copy(update={"precision": "float32", "download": False})
    if inside:
        config = config.model_copy(update={"model": str(carried)})
    try:
        found = weights_digest(open_folder(config))
    except InputError as error:
        raise InputError(
            f"groups.{name}: this model needs its encoder to answer. {error}, or run again with bundle: "
            "{include_model: true}"
        ) from error
    if found != weights:
        raise InputError(
            f"groups.{name}: the encoder at {config.model} is another ({found[:12]}) than the one with which this "
            f"model was trained ({weights[:12]}). Restore it, or run the experiment again"
        )
    with _LOADING:
        return _loaded(config, weights)


@functools.lru_cache(maxsize=4)
def _loaded(config: EncoderConfig, _weights: str) -> TextEncoder:
    return load_encoder(config)


def carry_encoders(groups: Mapping[str, Encoder], towers: Path) -> None:
    """Copy the encoder of each group whose queries need one beside the towers in a folder."""
    for name, group in groups.items():
        model = open_folder(group.config)
        for file in model_files(model):
            target = towers / MODELS / name / file.relative_to(model.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
