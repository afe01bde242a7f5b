"""Speed of turning text into n-gram bags: `hash_texts` against scikit-learn's HashingVectorizer.

    python -m benchmarks.hashing [texts]

Both hash the same n-grams: character trigrams of each marked word, and the words; 2²⁰ buckets, one thread each. Both
count each n-gram. The peer needs one vectoriser for the characters and one for the words; their results are not joined.
It does not strip accents, which would slow it down further. Prints texts/s of both by processor seconds, medians of
five turns, for the titles of a simulated world (short, some with accents) and for long texts joined from them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time

os.environ["EBR_HOME"] = tempfile.mkdtemp(prefix="ebr-hashing-")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tasks.home import prepare_environment

prepare_environment()

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from sklearn.feature_extraction.text import HashingVectorizer  # noqa: E402

from data.world.world_config import World  # noqa: E402
from ebr_core.parallel import use_threads  # noqa: E402
from ebr_core.text.ngram_hashing import hash_texts  # noqa: E402
from ebr_core.towers.feature_config import TextFeatures  # noqa: E402
from tasks.log_stages import simulate_log  # noqa: E402

TURNS = 5


def main(texts: int) -> None:
    """Print a line for each kind of text."""
    use_threads(1)
    titles = pq.read_table(simulate_log.fn(World()).folder / "documents.parquet", columns=["title"])[
        "title"
    ].to_pylist()
    short = [titles[i % len(titles)] for i in range(texts)]
    long = [" ".join(short[i : i + 50]) for i in range(0, len(short), 50)]
    features = TextFeatures()
    peer = [
        HashingVectorizer(analyzer=kind, ngram_range=size, n_features=features.buckets, norm=None)
        for kind, size in (("char_wb", (3, 3)), ("word", (1, 1)))
    ]
    for name, batch in (("titles", short), ("50 titles in one", long)):
        array = pa.array(batch)
        bags = hash_texts(array, features)  # compiles
        times: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(TURNS):
            for side, run in (
                ("ours", lambda a=array: hash_texts(a, features)),
                ("peer", lambda s=batch: [part.transform(s) for part in peer]),
            ):
                start = time.process_time()
                run()
                times[side].append(time.process_time() - start)
        our_seconds, peer_seconds = (statistics.median(times[side]) for side in ("ours", "peer"))
        print(
            f"{name}: {len(batch):,} texts, {np.mean([len(text) for text in batch]):.0f} letters, "
            f"{len(bags.ids) / len(batch):.0f} n-grams: ours {len(batch) / our_seconds:,.0f} texts/s "
            f"({our_seconds / len(bags.ids) * 1e9:.0f} ns an n-gram), peer {len(batch) / peer_seconds:,.0f}, "
            f"{peer_seconds / our_seconds:.1f} × (goal 10)"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
