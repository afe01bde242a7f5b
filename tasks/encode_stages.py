"""From texts of a log to vectors by a pretrained encoder: each text once for all arms, runs and nights."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ebr_core.arrays import Bool, Float32, Int32
from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.encoders.model_folder import open_folder, weights_digest
from ebr_core.encoders.pretrained import (
    TextEncoder,
    TextSide,
    choose_device,
    import_transformers,
    load_encoder,
    prompt_of,
    tokenize,
)
from ebr_core.encoders.quantised import embedder
from ebr_core.encoders.text_vectors import Embed, encode_batch, length_batches, refuse_unfinished
from ebr_core.encoders.vector_store import (
    Digests,
    add_piece,
    in_share,
    open_store,
    positions_of,
    take_vectors,
    text_digests,
)
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.parallel import use_threads
from ebr_core.towers.bag_tables import normalize_rows
from ebr_core.towers.vector_config import Encoder
from tasks.artifacts import stage
from tasks.home import home
from tasks.kinds import EncodedShare, Log, TextVectors
from tasks.progress import show_progress

SHARE = 4096  # texts of a share, the part of the texts that one task encodes
MOST_SHARES = 64
PIECE_S = 30  # seconds of work that a kill can lose
_LOADING = Lock()


class Encoding(Frozen):
    """Which texts of a log are encoded, by what."""

    encoder: EncoderConfig
    weights: str  # the digest of the model; empty if it cannot be opened, which the stage reports
    body: bool
    searches: bool
    documents: bool


class _SideTexts(NamedTuple):
    """The texts of a side that are to be encoded, and where their vectors belong."""

    side: TextSide
    encoder: EncoderConfig  # queries are always computed in float32, so that a served query has the vector measured
    texts: pa.Array
    digests: Digests
    store: Path


def encoding_of(group: Encoder) -> Encoding:
    """What a group needs to be encoded; all but the prefix of the dimensions, which is cut afterwards."""
    config = group.config.model_copy(update={"dimensions": None})
    try:
        weights = weights_digest(open_folder(group.config))
    except InputError:
        weights = ""
    reads = {side: group.reads(side) for side in ("searches", "documents")}
    return Encoding(encoder=config, weights=weights, body=group.body, **reads)


def describe_encoder(name: str, group: Encoder, log: Log) -> str:
    """What an encoder is, and how many of the log's texts it has yet to encode, in words. name: where it is used.

    Raises InputError if it cannot be opened, or if the extra is not installed.
    """
    import_transformers()
    model, device = open_folder(group.config), choose_device(group.device)
    texts, missing = 0, 0
    for part in _sides(log, encoding_of(group)):
        distinct = np.unique(part.digests[_not_blank(part.texts)], axis=0)
        texts, missing = (
            texts + len(distinct),
            missing + int((positions_of(open_store(part.store), distinct) < 0).sum()),
        )
    return (
        f"{name}: {group.model} gives vectors of {model.dimensions} on {device.type}; {missing:,} of {texts:,} "
        "distinct texts are not encoded yet"
    )


def shares_of(log: Log) -> int:
    """The number of shares into which the texts of a log are divided."""
    texts = sum(pq.read_metadata(log.folder / f"{table}.parquet").num_rows for table in ("queries", "documents"))
    return int(min(max(-(-texts // SHARE), 1), MOST_SHARES))


@stage(EncodedShare)
def encode_share(folder: Path, log: Log, encoding: Encoding, share: int, shares: int) -> None:
    """Encode the texts of a share that no run has encoded yet, and keep their vectors in `encoded` of the home; write
    counts.json. Killed, it goes on behind the last half minute."""
    use_threads(1)
    counts = {"texts": 0, "encoded": 0}
    for part in _sides(log, encoding):
        mine = part.digests[in_share(part.digests, share, shares)]
        counts["texts"] += len(np.unique(mine, axis=0))
        counts["encoded"] += _encode_missing(part, in_share(part.digests, share, shares))
    (folder / "counts.json").write_text(json.dumps(counts))


@stage(TextVectors)
def encode(folder: Path, log: Log, encoding: Encoding, dimensions: int | None, shares: list[EncodedShare]) -> None:
    """Write queries.npy and documents.npy, unit vectors of the log's queries and documents, zero for a blank text.

    shares: all of them, encoded; what is no longer stored is encoded again. dimensions: the prefix that is kept.
    """
    use_threads(1)
    counts = [json.loads((part.folder / "counts.json").read_text()) for part in shares]
    report = {name: sum(count[name] for count in counts) for name in ("texts", "encoded")}
    for part in _sides(log, encoding):
        _encode_missing(part, np.ones(len(part.texts), bool))
        vectors = _gather(part, open_folder(encoding.encoder).width)[:, :dimensions]
        if dimensions is not None:
            vectors = np.ascontiguousarray(vectors)
            normalize_rows(vectors, np.empty(len(vectors), np.float32))
        np.save(folder / f"{'queries' if part.side == 'query' else 'documents'}.npy", vectors)
    (folder / "report.json").write_text(json.dumps(report | {"weights": encoding.weights}))


def _sides(log: Log, encoding: Encoding) -> Iterator[_SideTexts]:
    """The texts of each side that the encoding reads. Raises InputError if the model changed since it was named."""
    model = open_folder(encoding.encoder)
    if (weights := weights_digest(model)) != encoding.weights:
        raise InputError(f"{encoding.encoder.model}: changed while it was used ({weights[:12]}); run again")
    sides: dict[TextSide, bool] = {"query": encoding.searches, "document": encoding.documents}
    for side in [side for side, is_read in sides.items() if is_read]:
        precision = encoding.encoder.precision if side == "document" else "float32"
        config = encoding.encoder.model_copy(update={"precision": precision})
        texts = pc.utf8_trim_whitespace(read_texts(log, encoding.body)[side])
        prompted = pc.binary_join_element_wise(pa.scalar(prompt_of(model, side)), texts, "")
        settings = [weights, model.pooling, model.max_tokens, model.lower_case, precision]
        name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:20]
        yield _SideTexts(side, config, texts, text_digests(prompted), home() / "encoded" / name)


def read_texts(log: Log, body: bool) -> dict[TextSide, pa.Array]:
    """The texts of all queries and documents of a log."""
    documents = pq.read_table(log.folder / "documents.parquet", columns=["title", "body"])
    titles = documents["title"]
    if body:
        titles = pc.binary_join_element_wise(titles, pc.fill_null(documents["body"], ""), " ")
    queries = pq.read_table(log.folder / "queries.parquet")["query"]
    return {"query": queries.combine_chunks(), "document": titles.combine_chunks()}


def _encode_missing(part: _SideTexts, wanted: Bool) -> int:
    """Encode the wanted texts that the store lacks, each distinct one once. Returns their number."""
    wanted = wanted & _not_blank(part.texts)
    rows = np.flatnonzero(wanted & (positions_of(open_store(part.store), part.digests) < 0))
    rows = rows[np.unique(part.digests[rows], axis=0, return_index=True)[1]]  # in the order of the digests
    if not len(rows):
        return 0
    encoder, embed = shared_encoder(part.encoder)
    texts, digests = part.texts.take(pa.array(rows)), part.digests[rows]
    tokens = tokenize(encoder, texts, part.side)
    with show_progress(f"encode, {part.side}s", len(rows)) as show:
        started = piece_started = time.monotonic()
        done, vectors, finished = 0, list[Float32](), list[Int32]()
        for batch in length_batches(tokens, encoder.device.type):
            vectors.append(encode_batch(encoder, tokens, batch, embed))
            refuse_unfinished(vectors[-1], encoder, texts.take(pa.array(batch)))
            finished.append(batch.astype(np.int32))
            done += len(batch)
            if (now := time.monotonic()) - piece_started > PIECE_S or done == len(rows):
                add_piece(part.store, digests[np.concatenate(finished)], np.concatenate(vectors))
                vectors, finished, piece_started = [], [], now
                show(done, _pace(done, len(rows), now - started))
            else:
                show(done, "")
    return len(rows)


def _not_blank(texts: pa.Array) -> Bool:
    """(n,) True for the texts that are not blank; blank ones have no vector."""
    return np.asarray(pc.not_equal(texts, "").to_numpy(zero_copy_only=False))


def _pace(done: int, total: int, seconds: float) -> str:
    """The speed so far and the time left, in words.

    >>> _pace(500, 2000, 10)
    '50 texts/s, 0:30 left'
    """
    rate = done / max(seconds, 1e-9)
    left = round((total - done) / rate)
    return f"{rate:,.0f} texts/s, {left // 60}:{left % 60:02d} left"


def _gather(part: _SideTexts, width: int) -> Float32:
    """(n, W) the vectors of all texts of a side, zero for blank ones."""
    store = open_store(part.store)
    vectors = np.zeros((len(part.texts), width), np.float32)
    positions = np.where(_not_blank(part.texts), positions_of(store, part.digests), -1)
    take_vectors(store, positions.astype(np.int32), vectors)
    return vectors


def shared_encoder(config: EncoderConfig) -> tuple[TextEncoder, Embed | None]:
    """The encoder of these settings and what computes with it, loaded once in a process."""
    with _LOADING:
        return _loaded(config, weights_digest(open_folder(config)))


@functools.lru_cache(maxsize=2)
def _loaded(config: EncoderConfig, _weights: str) -> tuple[TextEncoder, Embed | None]:
    encoder = load_encoder(config)
    return encoder, embedder(encoder)
