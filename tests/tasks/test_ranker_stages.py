"""The treatment of position bias that a log allows a ranker, and the held-out clicks that stop its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.experiment.log_config import Split, Tables
from data.extract import extract
from ebr_core.arrays import Int32
from ebr_core.errors import InputError
from ebr_core.rerank.examination import Examination
from ebr_core.rerank.ranker_features import Ranker, SearchResults
from ebr_core.search.index_specs import Exact
from ebr_core.text.bm25_config import Bm25
from tasks.artifacts import Artifact
from tasks.bm25_stages import tune_bm25
from tasks.log_stages import sample
from tasks.ranker_stages import _as_retrieved, _bias, _held_out, estimate_examination, read_ranker_summary, train_ranker
from tasks.retrieval_stages import build_index


def _examination(clicks: int) -> Examination:
    return Examination(np.array([1.0, 0.5]), np.zeros(2), np.array([clicks, 0]))


@pytest.mark.parametrize(
    ("clicks", "positions", "treatment"),
    [(100, [1, 2], "propensities"), (99, [1, 2], "position"), (0, [0, 3], "position"), (100, [0, 0], "none")],
)
def test_auto_is_the_first_treatment_that_the_log_allows(clicks: int, positions: list[int], treatment: str) -> None:
    assert _bias(Ranker(of="a"), _examination(clicks), np.array(positions, np.int32)) == treatment


def test_a_named_treatment_that_is_impossible_is_refused() -> None:
    positions = np.array([1, 2], np.int32)
    with pytest.raises(
        InputError, match="needs 100 clicks in lists flagged as randomised before the test; there are 7"
    ):
        _bias(Ranker(of="a", debias="propensities"), _examination(7), positions)
    with pytest.raises(InputError, match=r"debias: position needs results\.position"):
        _bias(Ranker(of="a", debias="position"), _examination(7), 0 * positions)
    assert _bias(Ranker(of="a", debias="none"), _examination(1000), positions) == "none"


def _placed(searches: Int32, documents: Int32, weights: list[float]) -> SearchResults:
    ones = np.ones(len(searches), np.int32)
    return SearchResults(searches, documents, ones, np.array(weights, np.float32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 9))
def test_held_out_lists_are_retrieved_lists_with_one_click_each(seed: int, searches: int, clicks: int) -> None:
    rng = np.random.default_rng(seed)
    retrieved = np.stack([rng.permutation(9)[:6] for _ in range(searches)]).astype(np.int32)
    retrieved[rng.random(retrieved.shape) < 0.2] = -1
    pairs = np.unique(rng.integers(0, [searches, 9], (clicks, 2)), axis=0).astype(np.int32)
    all_clicks = _placed(pairs[:, 0], pairs[:, 1], list(rng.random(len(pairs))))
    held_out = _held_out(all_clicks, all_clicks, retrieved)
    expected, gains, weights = [], [], []
    for (search, document), weight in zip(pairs.tolist(), all_clicks.weights.tolist(), strict=True):
        others = {d for s, d in pairs.tolist() if s == search and d != document}
        line = [row for row in retrieved[search].tolist() if row >= 0 and row not in others]
        if document in line:
            expected.append([(search, row, row == document, weight) for row in line])
            gains.append(1 / np.log2(2 + line.index(document)))
            weights.append(weight)
    pairs_held_out = list(
        zip(
            held_out.searches.tolist(),
            held_out.documents.tolist(),
            held_out.clicked.tolist(),
            held_out.weights.tolist(),
            strict=True,
        )
    )
    assert pairs_held_out == [pair for group in expected for pair in group]
    assert held_out.sizes.tolist() == [len(group) for group in expected]
    if expected:
        assert _as_retrieved(held_out) == pytest.approx(np.average(gains, weights=weights))
    else:
        assert _as_retrieved(held_out) is None


def _train(folder: Path, clicked: str) -> Artifact:
    """A ranker of a log of 60 searches, 20 of them in the later half of the validation.

    The log has neither places nor times of documents, nor positions. clicked: "true" or "false", of the first results
    in that half.
    """
    kinds = ["shoe", "boot", "hat", "cap"]
    searches = [f"{i},2024-01-{1 + i // 4:02} 10:{i % 4:02}:00,{kinds[i % 4]}" for i in range(60)]
    shown_results = [(i, (i + step) % 4, step == 0) for i in range(60) for step in range(3)]
    results = [f"{i},{d},{clicked if 36 <= i < 56 and first else str(first).lower()}" for i, d, first in shown_results]
    texts = {
        "searches": ["search_id,searched_at,query", *searches],
        "results": ["search_id,document_id,clicked", *results],
        "documents": ["document_id,title", *(f"{i},red {kind}" for i, kind in enumerate(kinds))],
    }
    for name, lines in texts.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    log = Artifact(stage="extract", digest=f"ranking-{clicked}")
    log.folder.mkdir(parents=True, exist_ok=True)
    logs = Tables(layout="tables", **{name: str(folder / f"{name}.csv") for name in texts})
    extract(logs, Split.model_validate({"validation_from": "2024-01-05", "test_from": "2024-01-15"}), log.folder)
    ranking = sample.fn(log, "ranking", 100, 1, None, True)
    vectors = Artifact(stage="embed_texts", digest=f"ranking-{clicked}")
    vectors.folder.mkdir(parents=True, exist_ok=True)
    np.save(vectors.folder / "documents.npy", np.eye(4, dtype=np.float32))
    queries = np.load(vectors.folder / "documents.npy")[np.arange(20) % 4]
    np.save(vectors.folder / "queries.npy", queries)
    spec = Ranker(of="a", depth=4, leaf_rows=1, trees=3, embedding="cosine")
    bm25 = tune_bm25.fn(log, None, Bm25(k1=1.2, b=0.75), 10)
    inputs = vectors, build_index.fn(vectors, ranking, Exact(), 1), estimate_examination.fn(log)
    return train_ranker.fn(log, ranking, bm25, spec, 0, 1, *inputs)


def test_features_that_a_log_lacks_are_left_out_and_reported(tmp_path: Path) -> None:
    summary = read_ranker_summary(_train(tmp_path, "true"))
    assert summary["features"] == ["bm25", "words_held", "popularity", "title_length", "query_length", "cosine"]
    assert set(summary["missing"]) == {
        *("kind", "age_days", "same_city", "same_region", "same_country", "same_language", "distance_km")
    }
    assert summary["bias"] == "none"
    assert (summary["clicks"], summary["held_out_clicks"]) == (16, 4)
    assert summary["pairs"] == 16 * 4  # a click, two results shown with it, the fourth document, which was not shown


def test_a_half_without_clicks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no result was clicked in the later half of the validation period"):
        _train(tmp_path, "false")
