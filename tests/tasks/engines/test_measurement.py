"""The recall of an engine's answers, against a slow oracle; no engine is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ebr_core.serving.model_bundle import Bundle, open_bundle
from tasks.engines.measurement import Questions, index_target, questions_of, recalls_of
from tests.engine_bundles import large_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return large_bundle(tmp_path_factory.mktemp("bundle") / "b", 60)


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return open_bundle(folder)


def asked(bundle: Bundle, k: int) -> tuple[Questions, list[list[str]]]:
    """Twenty queries, and the identities of the K nearest documents of each."""
    queries = np.ascontiguousarray(bundle.vectors[:20]) + np.float32(0.1)
    order = np.argsort(-(queries @ bundle.vectors.T), axis=1, kind="stable")[:, :k]
    nearest = np.take_along_axis(queries @ bundle.vectors.T, order[:, -1:], 1)[:, 0]
    return Questions(queries, 0, nearest, k), [[f"d{row}" for row in rows] for rows in order]


def test_recall_is_the_share_of_the_nearest_that_were_found(bundle: Bundle) -> None:
    questions, exact = asked(bundle, 5)
    assert recalls_of(exact, bundle, questions).tolist() == [1.0] * 20
    assert recalls_of([names[::-1] for names in exact], bundle, questions).tolist() == [1.0] * 20
    rng = np.random.default_rng(0)
    found = [
        [name if rng.random() < 0.6 else f"d{rng.integers(60)}" for name in names][: rng.integers(6)] for names in exact
    ]
    slow = [len(set(names) & set(right)) / 5 for names, right in zip(found, exact, strict=True)]
    assert recalls_of(found, bundle, questions).tolist() == pytest.approx(slow)
    assert 0 < np.mean(slow) < 1


def test_a_document_found_twice_counts_once_and_an_unknown_one_never(bundle: Bundle) -> None:
    questions, exact = asked(bundle, 5)
    twice = [[names[0]] * 5 for names in exact]
    assert recalls_of(twice, bundle, questions).tolist() == [0.2] * 20
    unknown = [["nobody's", *names[:2]] for names in exact]
    assert recalls_of(unknown, bundle, questions).tolist() == [0.4] * 20


def test_equal_documents_are_interchangeable(bundle: Bundle) -> None:
    vectors = np.repeat(bundle.vectors[:1], 60, axis=0)
    same = bundle._replace(vectors=vectors)
    questions = Questions(vectors[:1], 0, np.ones(1, np.float32), 5)
    assert recalls_of([["d7", "d50", "d3", "d9", "d59"]], same, questions).tolist() == [1.0]


def test_a_bundle_without_its_run_is_asked_its_canaries(
    bundle: Bundle, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    questions = questions_of(bundle, folder, 10)
    assert (len(questions.queries), questions.canaries, questions.k) == (3, 3, 10)


def test_the_searches_of_the_run_are_asked_but_not_those_without_a_known_word(
    bundle: Bundle, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    of_run = tmp_path / "artifacts" / "embed_texts-abc"
    of_run.mkdir(parents=True)
    queries = np.tile(bundle.vectors[:30], (60, 1))
    queries[::3] = 0  # 1,200 are left
    np.save(of_run / "queries.npy", queries)
    run = bundle._replace(manifest=bundle.manifest | {"vectors": "abc"})
    questions = questions_of(run, folder, 10)
    assert (len(questions.queries), questions.canaries) == (1003, 3)
    assert questions.queries.any(axis=1).all()


def test_the_target_is_that_of_the_index(bundle: Bundle) -> None:
    assert index_target(bundle) == (0.9, 10)
    assert index_target(bundle._replace(manifest={})) == (0.95, 10)
    assert index_target(bundle._replace(manifest={"index": {"kind": "exact"}})) == (0.95, 10)
