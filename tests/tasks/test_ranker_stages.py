"""What a ranker does about position bias, as far as a log allows, and which clicks decide when it stops."""

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
from ebr_core.rerank.ranker_features import Placed, Ranker
from ebr_core.search.index_specs import Exact
from tasks.artifacts import Artifact
from tasks.log_stages import sample
from tasks.ranker_stages import _as_retrieved, _bias, _held_out, estimate_examination, train_ranker, trained_of
from tasks.retrieval_stages import build_index


def _known(clicks: int) -> Examination:
    return Examination(np.array([1.0, 0.5]), np.zeros(2), np.array([clicks, 0]))


@pytest.mark.parametrize(
    ("clicks", "positions", "treated"),
    [(100, [1, 2], "propensities"), (99, [1, 2], "position"), (0, [0, 3], "position"), (100, [0, 0], "none")],
)
def test_auto_is_the_first_that_the_log_allows(clicks: int, positions: list[int], treated: str) -> None:
    assert _bias(Ranker(of="a"), _known(clicks), np.array(positions, np.int32)) == treated


def test_what_is_asked_for_by_name_and_cannot_be_is_told() -> None:
    at = np.array([1, 2], np.int32)
    with pytest.raises(
        InputError, match="needs 100 clicks in lists flagged as randomised before the test; there are 7"
    ):
        _bias(Ranker(of="a", debias="propensities"), _known(7), at)
    with pytest.raises(InputError, match=r"debias: position needs results\.position"):
        _bias(Ranker(of="a", debias="position"), _known(7), 0 * at)
    assert _bias(Ranker(of="a", debias="none"), _known(1000), at) == "none"


def _placed(searches: Int32, documents: Int32, weights: list[float]) -> Placed:
    ones = np.ones(len(searches), np.int32)
    return Placed(searches, documents, ones, np.array(weights, np.float32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(1, 4), st.integers(1, 9))
def test_held_out_lists_are_the_retrieved_ones_with_one_click_each(seed: int, searches: int, clicks: int) -> None:
    rng = np.random.default_rng(seed)
    found = np.stack([rng.permutation(9)[:6] for _ in range(searches)]).astype(np.int32)
    found[rng.random(found.shape) < 0.2] = -1
    pairs = np.unique(rng.integers(0, [searches, 9], (clicks, 2)), axis=0).astype(np.int32)
    every = _placed(pairs[:, 0], pairs[:, 1], list(rng.random(len(pairs))))
    held = _held_out(every, every, found)
    wanted, gained, weights = [], [], []
    for (search, document), weight in zip(pairs.tolist(), every.weights.tolist(), strict=True):
        others = {d for s, d in pairs.tolist() if s == search and d != document}
        line = [row for row in found[search].tolist() if row >= 0 and row not in others]
        if document in line:
            wanted.append([(search, row, row == document, weight) for row in line])
            gained.append(1 / np.log2(2 + line.index(document)))
            weights.append(weight)
    got = list(
        zip(held.searches.tolist(), held.documents.tolist(), held.clicked.tolist(), held.weights.tolist(), strict=True)
    )
    assert got == [pair for group in wanted for pair in group]
    assert held.sizes.tolist() == [len(group) for group in wanted]
    if wanted:
        assert _as_retrieved(held) == pytest.approx(np.average(gained, weights=weights))
    else:
        assert _as_retrieved(held) is None


def _train(folder: Path, clicked: str) -> Artifact:
    """A ranker of a log of 60 searches, 20 of them of the later half of the validation, that tells neither place nor
    time of documents, nor any position. clicked: whether the first result of that half was."""
    kinds = ["shoe", "boot", "hat", "cap"]
    searches = [f"{at},2024-01-{1 + at // 4:02} 10:{at % 4:02}:00,{kinds[at % 4]}" for at in range(60)]
    shown = [(at, (at + step) % 4, step == 0) for at in range(60) for step in range(3)]
    results = [f"{at},{d},{clicked if 36 <= at < 56 and first else str(first).lower()}" for at, d, first in shown]
    texts = {
        "searches": ["search_id,searched_at,query", *searches],
        "results": ["search_id,document_id,clicked", *results],
        "documents": ["document_id,title", *(f"{at},red {kind}" for at, kind in enumerate(kinds))],
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
    asked = np.load(vectors.folder / "documents.npy")[np.arange(20) % 4]
    np.save(vectors.folder / "queries.npy", asked)
    its = Ranker(of="a", depth=4, leaf_rows=1, trees=3, embedding="cosine")
    inputs = vectors, build_index.fn(vectors, ranking, Exact(), 1), estimate_examination.fn(log)
    return train_ranker.fn(log, ranking, its, 0, 1, *inputs)


def test_what_a_log_lacks_is_left_out_and_told(tmp_path: Path) -> None:
    told = trained_of(_train(tmp_path, "true"))
    assert told["features"] == ["bm25", "words_held", "popularity", "title_length", "query_length", "cosine"]
    assert set(told["missing"]) == {"kind", "age_days", "same_city", "same_region", "same_country", "same_language"}
    assert told["bias"] == "none"
    assert (told["clicks"], told["held_out_clicks"]) == (16, 4)
    assert told["pairs"] == 16 * 4  # a click, two that were shown beside it, the fourth document, which nobody saw


def test_a_half_without_clicks_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no result was clicked in the later half of the validation period"):
        _train(tmp_path, "false")
