"""Speed of encoding: texts a second against SentenceTransformer.encode, with the same model, texts and one thread.

python -m benchmarks.encoders FOLDER [TEXTS]

FOLDER: of a sentence-transformers model. TEXTS: a file with a text a line; default: titles of the simulated world
and the same joined by four. Rounds alternate; times are of the processor, so that other work counts less.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("EBR_HOME", tempfile.mkdtemp(prefix="ebr-benchmark-"))

from tasks.home import prepare_environment

prepare_environment()

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402

from data.world.world_config import World  # noqa: E402
from ebr_core.arrays import Float32  # noqa: E402
from ebr_core.encoders.encoder_config import EncoderConfig  # noqa: E402
from ebr_core.encoders.pretrained import load_encoder  # noqa: E402
from ebr_core.encoders.quantised import embedder  # noqa: E402
from ebr_core.encoders.text_vectors import encode_texts  # noqa: E402
from ebr_core.parallel import use_threads  # noqa: E402
from tasks.log_stages import simulate_log  # noqa: E402

ROUNDS = 5
MOST = 256  # texts of each kind


def _texts(file: str | None) -> dict[str, list[str]]:
    """The texts of each kind, distinct."""
    if file is not None:
        return {Path(file).name: list(dict.fromkeys(Path(file).read_text(encoding="utf-8").split("\n")))[:MOST]}
    world = simulate_log.fn(World(searches=3000, documents=1500, days=6))
    titles = list(dict.fromkeys(pq.read_table(world.folder / "documents.parquet")["title"].to_pylist()))
    longer = [" ".join(titles[at : at + 4]) for at in range(0, len(titles) - 3, 4)]
    return {"titles": titles[:MOST], "four titles": longer[:MOST]}


def _timed(encode: Callable[[], Float32]) -> tuple[Float32, float]:
    """(the vectors, seconds of the processor)."""
    started = time.process_time()
    return encode(), time.process_time() - started


def main(folder: str, file: str | None) -> None:
    """Print, for each kind of text and each precision, the ratio to sentence-transformers and the cosine with it."""
    use_threads(1)
    reference = SentenceTransformer(folder, device="cpu")
    encoders = {
        precision: load_encoder(EncoderConfig(model=folder, precision=precision, device="cpu"))
        for precision in ("float32", "int8")
    }
    embed = {precision: embedder(encoder) for precision, encoder in encoders.items()}
    for kind, texts in _texts(file).items():
        array = pa.array(texts)

        def theirs(texts: list[str] = texts) -> Float32:
            return np.asarray(reference.encode(texts, normalize_embeddings=True, show_progress_bar=False), np.float32)

        theirs()
        for precision, encoder in encoders.items():

            def ours(array: pa.Array = array, precision: str = precision, encoder: object = encoder) -> Float32:
                return encode_texts(encoder, array, "document", embed[precision])  # type: ignore[arg-type]

            ours()
            ratios = []
            for _ in range(ROUNDS):
                (vectors, seconds), (expected, their_seconds) = _timed(ours), _timed(theirs)
                ratios.append(their_seconds / seconds)
            cosines = (vectors * expected).sum(1)
            print(
                f"{kind}, {precision}: {len(texts) / seconds:,.0f} texts a second, {np.median(ratios):.2f} × "
                f"SentenceTransformer.encode (from {min(ratios):.2f} to {max(ratios):.2f}); cosine with it: mean "
                f"{cosines.mean():.4f}, least {cosines.min():.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
