"""A bundle answers like exact search over its parts, and does not open if a part is changed or of another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from ebr_core.errors import InputError
from ebr_core.search.ensemble_vectors import concat_documents, concat_queries
from ebr_core.serving.model_bundle import Bundle, open_bundle, seal
from ebr_core.serving.query_answer import answer
from ebr_core.serving.query_cost import measure_embedding, write_cost
from ebr_core.serving.query_towers import WEIGHTS, EnsembleParts, as_rows, embed_query_table
from ebr_core.serving.search_query import SearchQuery, queries_as_table
from ebr_core.text.ngram_hashing import hash_texts
from ebr_core.towers.checkpoint import Checkpoint
from ebr_core.towers.feature_config import Features, TextFeatures
from ebr_core.towers.fitted_features import FittedFeatures, fit_text, table_bags, text_bags
from ebr_core.towers.ngram_tower import new_ngram_tower
from ebr_core.towers.tower import query_vectors
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.tower_inputs import text_inputs, with_views
from tests.bundles import CITIES, KINDS, SERVED, TITLES, make_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "one")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    opened = open_bundle(folder)
    faiss.extract_index_ivf(opened.built_index.index).nprobe = 3  # all cells, so the search is exact
    return opened


def ask(bundle: Bundle, query: str, **settings: object) -> list[str]:
    return [hit.title for hit in answer(bundle, SearchQuery.model_validate({"query": query, "k": 9, **settings}))]


def test_ebr_ranks_all_by_cosine(bundle: Bundle) -> None:
    vector = embed_query_table(bundle.towers, queries_as_table([SearchQuery(query="ana smiht")]))[0]
    order = np.argsort(-(bundle.vectors @ vector), kind="stable")
    hits = answer(bundle, SearchQuery(query="ana smiht", mode="ebr", k=9))
    assert [hit.title for hit in hits] == [TITLES[row] for row in order]
    assert [hit.near_rank for hit in hits] == list(range(1, 10))
    assert np.allclose([hit.score for hit in hits], [hit.cosine for hit in hits], atol=1e-6)
    assert hits[0].title in ("Ana Smit", "Anna Smith")


def test_boolean_needs_every_word_and_hybrid_handles_misspellings(bundle: Bundle) -> None:
    assert ask(bundle, "smith anna", mode="boolean") == ["Anna Smith"]
    assert ask(bundle, "smiht ana", mode="boolean") == []
    assert ask(bundle, "smiht anna", mode="hybrid", k=2)[0] in ("Anna Smith", "Anna Schmidt")
    first = answer(bundle, SearchQuery(query="smith anna", k=9))[0]
    assert (first.title, first.terms_rank, first.words) == ("Anna Smith", 1, ["smith", "anna"])
    assert first.score == pytest.approx(1 / 61 + 1 / (60 + (first.near_rank or 0)))


def test_the_weighted_sum_is_that_of_both_scores(bundle: Bundle) -> None:
    """The best document by terms has all of their half; the others have as much as their scores are of the best."""
    hits = answer(bundle, SearchQuery(query="chess club", mode="weighted", k=9))
    assert sorted(hit.title for hit in hits) == sorted(TITLES)
    nearest = max(hit.cosine for hit in hits)
    for hit in hits:
        near = (1 + hit.cosine) / (1 + nearest)
        if hit.title == "Chess Club Bonn":
            assert hit.score == pytest.approx(0.5 + near / 2, abs=1e-5)
        elif not hit.words:
            assert hit.score == pytest.approx(near / 2, abs=1e-5)
        else:
            assert near / 2 < hit.score < 0.5 + near / 2
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_the_mode_of_the_bundle_answers_unless_a_query_names_one(bundle: Bundle) -> None:
    for mode in ("ebr", "hybrid", "weighted"):
        assert ask(bundle._replace(mode=mode), "smiht chess") == ask(bundle, "smiht chess", mode=mode)


def test_fields_are_texts_as_a_log_has_them() -> None:
    query = SearchQuery.model_validate_json('{"query": "x", "fields": {"a": 3, "b": 0.5, "c": true, "d": ["u", 7]}}')
    row = queries_as_table([query], ("a", "b", "c", "d", "e")).to_pylist()[0]
    assert {name: row[name] for name in "abcde"} == {
        "a": ["3"],
        "b": ["0.5"],
        "c": ["true"],
        "d": ["u", "7"],
        "e": None,
    }


def test_a_field_that_the_model_does_not_read_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"fields: hand reads no device; it reads no field of its own"):
        ask(bundle, "chess", fields={"device": "phone"})
    with pytest.raises(InputError, match=r"the fields are device, shop"):
        ask(bundle._replace(fields=("device", "shop")), "chess", fields={"colour": "red"})
    with pytest.raises(ValidationError, match="no JSON"):
        SearchQuery.model_validate({"query": "x", "fields": "device=phone"})


@pytest.mark.parametrize("mode", ["ebr", "hybrid", "weighted", "boolean"])
def test_every_document_meets_the_condition(bundle: Bundle, mode: str) -> None:
    titles = ask(bundle, "chess club", mode=mode, where="kind = group AND NOT city = Lyon")
    assert set(titles) == {t for t, k, c in zip(TITLES, KINDS, CITIES, strict=True) if k == "group" and c != "Lyon"}


def test_nn_in_a_condition(bundle: Bundle) -> None:
    nearest = ask(bundle, "walks", mode="ebr", k=2)
    assert set(ask(bundle, "walks", mode="ebr", where="nn(k=2)")) == set(nearest)
    assert set(ask(bundle, "walks", mode="ebr", where="nn(k=2) OR term:jazz")) == {*nearest, "Jazz Night"}
    hits = answer(bundle, SearchQuery(query="walks", mode="ebr", k=9))
    radius = 1 - (hits[3].cosine + hits[4].cosine) / 2
    assert len(ask(bundle, "walks", mode="ebr", where=f"nn(radius={radius})")) == 4
    assert len(ask(bundle, "walks", mode="ebr", radius=radius)) == 4
    assert len(ask(bundle, "walks", mode="ebr", where=f"NOT nn(radius={radius})")) == 5


def test_the_calibrated_radius_is_that_of_the_model(bundle: Bundle) -> None:
    hits = answer(bundle, SearchQuery(query="walks", mode="ebr", k=9, radius="model"))
    assert hits
    assert all(1 - hit.cosine <= 0.6 + 1e-5 for hit in hits)
    with pytest.raises(InputError, match="radius: model was not calibrated"):
        answer(bundle._replace(radius=None), SearchQuery(query="walks", radius="model", k=9))


def test_a_searcher_has_a_place_unless_the_query_gives_one(bundle: Bundle) -> None:
    from ebr_core.serving.query_answer import add_searcher_context

    assert add_searcher_context(bundle, SearchQuery(query="x", searcher_id="s1")).city == "Lyon"
    assert add_searcher_context(bundle, SearchQuery(query="x", searcher_id="s1", city="Bonn")).country is None
    with pytest.raises(InputError, match="no searcher 'nobody'"):
        answer(bundle, SearchQuery(query="x", searcher_id="nobody", k=9))


def test_an_invalid_query_is_refused(bundle: Bundle) -> None:
    assert len(answer(bundle, SearchQuery(query="walks", mode="ebr"))) == 9  # ten by default, if there are ten
    with pytest.raises(InputError, match="k: got 10; this model holds 9 documents"):
        answer(bundle, SearchQuery(query="x", k=10))
    for wrong in ({"query": " "}, {"query": "x" * 501}, {"query": "x", "k": 0}, {"query": "x", "where": "a ="}):
        with pytest.raises(ValidationError):
            SearchQuery.model_validate(wrong)
    assert ask(bundle, "☃☃☃") == []  # no known n-gram


def _copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def test_an_index_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    """It has the same size and documents: only the digest differs."""
    other = make_bundle(tmp_path / "other", seed=1)
    mixed = _copy(folder, tmp_path / "mixed")
    for name in ("index.faiss", "index.json"):
        shutil.copy(other / name, mixed / name)
    with pytest.raises(InputError, match=r"the index belongs to towers .* an index answers only queries of its own"):
        open_bundle(mixed)
    alone = _copy(folder, tmp_path / "alone")
    shutil.copy(other / "index.faiss", alone / "index.faiss")
    with pytest.raises(InputError, match="the index belongs to"):
        open_bundle(alone)


def test_moved_canaries_are_refused(folder: Path, tmp_path: Path) -> None:
    moved = _copy(folder, tmp_path / "moved")
    canaries = pq.read_table(moved / "canaries.parquet")
    vectors = np.asarray(canaries["vector"].combine_chunks().flatten()).copy()
    vectors[5] += 1e-4
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors), 24)
    pq.write_table(canaries.drop_columns("vector").append_column("vector", column), moved / "canaries.parquet")
    for name in ("manifest.json", "index.json"):
        (moved / name).unlink()
    seal(moved, {"arm": "hand", "seed": 0, **SERVED})
    with pytest.raises(InputError, match=r"canary queries come out 1\.0e-04 from their stored vectors"):
        open_bundle(moved)


@pytest.mark.parametrize("name", ["documents.parquet", "vectors.npy", "terms.weights.npy", "radius.json"])
def test_a_changed_or_missing_part_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    broken = _copy(folder, tmp_path / "broken")
    (broken / name).write_bytes((broken / name).read_bytes() + b" ")
    with pytest.raises(InputError, match=f"{name} changed since"):
        open_bundle(broken)
    (broken / name).unlink()
    with pytest.raises(InputError, match=f"{name} missing"):
        open_bundle(broken)


def test_no_bundle_or_a_later_format_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no bundle"):
        open_bundle(tmp_path)
    later = _copy(folder, tmp_path / "later")
    manifest = json.loads((later / "manifest.json").read_text())
    (later / "manifest.json").write_text(json.dumps(manifest | {"format": 4}))
    with pytest.raises(InputError, match="format 4, this version reads 3"):
        open_bundle(later)


def test_nothing_in_a_bundle_is_pickled(folder: Path) -> None:
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {
        *(".json", ".npy", ".parquet", ".faiss", ".safetensors"),
    }
    for path in folder.glob("*.npy"):
        np.load(path, allow_pickle=False)


def test_the_place_of_a_query_changes_its_vector(bundle: Bundle) -> None:
    """The towers of this bundle read the city on both sides: the same query retrieves different namesakes per city."""
    queries = [
        SearchQuery(query="anna", city="Bonn"),
        SearchQuery(query="anna", city="Lyon"),
        SearchQuery(query="anna"),
    ]
    bonn, lyon, nowhere = embed_query_table(bundle.towers, queries_as_table(queries))
    assert not np.allclose(bonn, lyon)
    assert ask(bundle, "anna", mode="ebr", city="Bonn", k=1) == ["Anna Schmidt"]
    assert ask(bundle, "anna", mode="ebr", city="Lyon", k=1) == ["Anna Smith"]
    assert ask(bundle, "anna", mode="ebr", searcher_id="s1") == ask(bundle, "anna", mode="ebr", city="Lyon")
    assert np.isclose(np.linalg.norm(nowhere), 1)


def test_several_vectors_of_a_query_equal_those_of_the_log() -> None:
    """With two vectors per query, a query gets the same two as a search of the log with that text."""
    towers, text = NgramTowerConfig(dimensions=16, query_vectors=2), TextFeatures(buckets=4096)
    queries, titles = pa.array(["anna smith", "chess lyon"]), pa.array(TITLES)
    fitted = FittedFeatures(
        Features(text=text), *fit_text(*(hash_texts(part, text) for part in (queries, titles)), text), {}
    )
    bags = [table_bags(text_bags(part, fitted), fitted) for part in (queries, titles)]
    inputs = with_views(text_inputs(bags[0], bags[1], fitted.text_rows(), True, np.arange(2, dtype=np.int32)), 2)
    encoder = new_ngram_tower(inputs, towers, False, np.random.default_rng(0))
    model = Checkpoint(encoder, fitted, towers, {}, np.empty(0, "S1"))
    query_rows = queries_as_table([SearchQuery(query=query) for query in queries.to_pylist()])
    expected = query_vectors(encoder.over(inputs), inputs, np.arange(2, dtype=np.int32))
    assert expected.shape == (2, 2, 16)
    assert np.array_equal(embed_query_table(model, query_rows), expected)
    assert not np.allclose(expected[0], expected[1])
    assert np.array_equal(as_rows(expected)[1], np.concatenate([expected[0, 1], expected[1, 1]]))


@pytest.fixture(scope="module")
def ensemble_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of the towers of two bundles, of 24 and 16 dimensions, the second with weight 0.5."""
    folder = tmp_path_factory.mktemp("joined")
    parts = [make_bundle(folder / f"part{i}", seed=i, d=d) for i, d in enumerate((24, 16))]
    ensemble = folder / "ensemble"
    shutil.copytree(parts[0], ensemble)
    shutil.rmtree(ensemble / "towers")
    for i, part in enumerate(parts):
        shutil.copytree(part / "towers", ensemble / "towers" / str(i))
    (ensemble / "towers" / WEIGHTS).write_text(json.dumps({"weights": [1, 0.5]}))
    vectors = concat_documents([np.load(part / "vectors.npy") for part in parts])
    np.save(ensemble / "vectors.npy", vectors)
    index = faiss.IndexFlatIP(40)
    index.add(vectors)
    faiss.write_index(index, str(ensemble / "index.faiss"))
    canaries = pq.read_table(parts[0] / "canaries.parquet").drop_columns("vector")
    models = [open_bundle(part).towers for part in parts]
    vectors_of_canaries = concat_queries([embed_query_table(model, canaries) for model in models], (1, 0.5))
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors_of_canaries.ravel()), 40)
    pq.write_table(canaries.append_column("vector", column), ensemble / "canaries.parquet")
    seal(ensemble, {"arm": "both", "seed": 0, **SERVED})
    return ensemble


def test_an_ensemble_ranks_by_the_weighted_sum_of_its_parts(ensemble_folder: Path) -> None:
    bundle = open_bundle(ensemble_folder)
    assert isinstance(bundle.towers, EnsembleParts)
    first, second = (
        embed_query_table(model, queries_as_table([SearchQuery(query="chess lyon")]))[0]
        for model in bundle.towers.models
    )
    document_vectors = bundle.vectors * np.sqrt(2)
    score = document_vectors[:, :24] @ first + 0.5 * (document_vectors[:, 24:] @ second)
    expected = [TITLES[row] for row in np.argsort(-score, kind="stable")]
    assert ask(bundle, "chess lyon", mode="ebr") == expected


@pytest.mark.parametrize("changed", [WEIGHTS, "1/towers.safetensors"])
def test_an_ensemble_with_another_weight_or_part_does_not_open(
    ensemble_folder: Path, tmp_path: Path, changed: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(ensemble_folder, folder)
    if changed == WEIGHTS:
        (folder / "towers" / WEIGHTS).write_text(json.dumps({"weights": [1, 0.6]}))
    else:
        shutil.copyfile(folder / "towers" / "0" / "towers.safetensors", folder / "towers" / changed)
    with pytest.raises(InputError, match="the index belongs to towers"):
        open_bundle(folder)
    seal(folder, {"arm": "both", "seed": 0, **SERVED})  # sealed again, it has moved canaries or wrong sizes
    with pytest.raises(InputError, match=r"canary queries come out|do not belong together"):
        open_bundle(folder)


def test_the_cost_of_a_query_is_no_part_of_a_bundles_digests(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "one")
    opened = open_bundle(folder)
    assert opened.embed_query_ms is None
    manifest = json.loads((folder / "manifest.json").read_text())
    queries = pq.read_table(folder / "canaries.parquet")
    once = measure_embedding([(opened.towers, queries)])
    assert once is not None
    assert once > 0
    assert measure_embedding([(opened.towers, queries.slice(0, 0))]) is None
    write_cost(folder, once)
    seal(folder, {"arm": "hand", "seed": 0, **SERVED})
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert open_bundle(folder).embed_query_ms == once
