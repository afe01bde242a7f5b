"""The simulated world is neither trivial nor hopeless, as measured on the documents that searchers want."""

from __future__ import annotations

import numpy as np
import pytest

from data.experiment.log_config import Simulated, Split
from data.world.world_config import World
from ebr_core.arrays import Float64
from ebr_core.measure.intervals import bootstrap
from ebr_core.measure.metrics import hits, recall_at_k
from ebr_core.search.index_specs import Exact
from ebr_core.text.bm25_config import Bm25
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.training.arm_config import Arm, Training
from ebr_core.training.loss_config import Softmax
from tasks.artifacts import Artifact
from tasks.bm25_stages import retrieve_bm25, tune_bm25
from tasks.eval_sets import read_sample
from tasks.feature_stages import featurise
from tasks.list_measures import clusters_of
from tasks.log_stages import contents_of, extract, sample, simulate_log
from tasks.retrieval_stages import build_index, embed_texts, retrieve, retrieve_oracle
from tasks.training_stages import train_arm

WORLD = World()  # the default: smaller worlds are easier (see LOG.md)
TEXT = Arm(loss=Softmax(), training=Training(epochs=5))
UNTRAINED = Arm(towers=NgramTowerConfig(shared=False), training=Training(epochs=0))


pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def recalls() -> tuple[dict[str, Float64], Float64]:
    """Recall@10 of each retriever on the truth of the same searches, and their searchers."""
    world = simulate_log.fn(WORLD)
    tables = Simulated(layout="simulated").tables(world.folder)
    log = extract.fn(tables, Split(), contents_of(tables))
    test, validation = sample.fn(log, "test", 1_000, 1, world), sample.fn(log, "validation", 300, 1)
    features = featurise.fn(log, TEXT.features)
    bm25 = tune_bm25.fn(log, validation, Bm25(), 10)
    lists = {"bm25": retrieve_bm25.fn(log, test, bm25, 10)}
    for sees in ("text", "place", "everything"):
        lists[f"oracle-{sees}"] = retrieve_oracle.fn(WORLD, world, log, test, sees, 10)
    for name, arm in (("text", TEXT), ("untrained", UNTRAINED)):
        towers = train_arm.fn(log, features, validation, arm, 0)
        vectors = embed_texts.fn(features, towers, test, 1)
        lists[name] = retrieve.fn(vectors, build_index.fn(vectors, test, Exact(), 1), test, 10, 1)
    return {name: _recall(test, rows) for name, rows in lists.items()}, clusters_of(
        read_sample(test).for_targets("truth")[0]
    )


def _recall(test: Artifact, rows: Artifact) -> Float64:
    searches, targets = read_sample(test).for_targets("truth")
    return recall_at_k(hits(np.load(rows.folder / "retrieved.npy")[searches["at"]], targets), targets, 10)


def test_bm25_and_a_text_tower_are_neither_lost_nor_perfect(recalls: tuple[dict[str, Float64], Float64]) -> None:
    for name in ("bm25", "text"):
        assert 0.2 < recalls[0][name].mean() < 0.8, name


def test_untrained_towers_are_near_chance(recalls: tuple[dict[str, Float64], Float64]) -> None:
    assert recalls[0]["untrained"].mean() < 10 * 10 / WORLD.documents


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("oracle-everything", "bm25"),
        ("oracle-everything", "text"),
        ("oracle-text", "text"),
        ("oracle-place", "oracle-text"),  # the place helps
        ("oracle-everything", "oracle-place"),  # and so do friends and interests
    ],
)
def test_the_knowledge_of_an_oracle_improves_recall(
    recalls: tuple[dict[str, Float64], Float64], better: str, worse: str
) -> None:
    values, searchers = recalls
    (difference,) = bootstrap((values[better] - values[worse])[:, None], searchers)
    assert difference.low > 0
