"""Groups of vectors that users bring, from the log to the towers and to a model in use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Simulated, Tables
from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.text.folding import fold_queries
from ebr_core.towers.checkpoint import embed_queries, load_towers, query_columns
from ebr_core.training.arm_config import Arm
from flows.group_vectors import check_vectors, text_vectors
from tasks.artifacts import Artifact
from tasks.log_stages import contents_of, extract, sample, simulate_log
from tests.trained_vectors import train_vectors

SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
WIDTH = 12
ALONE = {"text": {"read": "none"}, "training": {"epochs": 0}, "towers": {"dimensions": WIDTH}}

pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The smoke log with a column of vectors in its documents and its searches: the same query has one vector."""
    experiment = load_experiment(SMOKE)
    assert isinstance(experiment.logs, Simulated)
    tables = experiment.logs.tables(simulate_log.fn(experiment.logs.world).folder)
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    documents = pq.read_table(str(tables.documents))
    documents = documents.append_column("embedding", _column(rng.standard_normal((len(documents), WIDTH))))
    pq.write_table(documents, folder / "documents.parquet")
    days = sorted(Path(str(tables.searches).split("*")[0]).glob("*/*.parquet"))
    searches = pa.concat_tables([pq.read_table(day) for day in days])
    texts = fold_queries(searches["query"].combine_chunks().cast(pa.large_string())).dictionary_encode()
    of_texts = rng.standard_normal((len(texts.dictionary), WIDTH))
    searches = searches.append_column("embedding", _column(of_texts[texts.indices.to_numpy()]))
    pq.write_table(searches, folder / "searches.parquet")
    paths = {name: str(folder / f"{name}.parquet") for name in ("documents", "searches")}
    return tables.model_copy(update=paths)


@pytest.fixture(scope="module")
def log(files: Tables) -> Artifact:
    return extract.fn(files, load_experiment(SMOKE).split, contents_of(files))


def _column(vectors: Any) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(vectors, np.float32).ravel()), WIDTH)


def _arm(**settings: Any) -> Arm:
    group = {"kind": "vectors", "searches": "embedding", "documents": "embedding"}
    return Arm.model_validate({"groups": {"meaning": group | settings.pop("group", {})}, **settings})


def _unit(vectors: Any) -> Float32:
    vectors = np.asarray(vectors, np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _given_documents(log: Artifact, files: Tables) -> Float32:
    """The vectors in the documents' file, in the rows of the log."""
    given = pq.read_table(str(files.documents)).to_pylist()
    by_id = {str(row["document_id"]): row["embedding"] for row in given}
    ids = pq.read_table(log.folder / "documents.parquet")["document_id"].to_pylist()
    return _unit([by_id[one] for one in ids])


def _test_texts(log: Artifact) -> pa.Array:
    """The texts of the sampled test searches."""
    rows = pq.read_table(sample.fn(log, "test", 50, 1).folder / "searches.parquet")["search_row"].to_pylist()
    searches = pq.read_table(log.folder / "searches.parquet")["query_row"].to_pylist()
    texts = pq.read_table(log.folder / "queries.parquet")["query"].to_pylist()
    return pa.array([texts[searches[row]] for row in rows])


def test_without_training_the_vectors_come_out_as_they_are(log: Artifact, files: Tables) -> None:
    towers, queries, documents = train_vectors(log, files, _arm(**ALONE, group={"adapt": "none"}))
    np.testing.assert_allclose(documents, _given_documents(log, files), atol=1e-6)
    given = {row["query"]: row["embedding"] for row in pq.read_table(str(files.searches)).to_pylist()}
    texts = _test_texts(log)
    np.testing.assert_allclose(queries, _unit([given[text] for text in texts.to_pylist()]), atol=1e-6)

    model = load_towers(towers.folder)
    assert query_columns(model) == ["embedding"]
    np.testing.assert_allclose(embed_queries(model, texts), queries, atol=1e-6)  # known by their texts
    brought = np.random.default_rng(3).standard_normal((2, WIDTH))
    fields = {"embedding": pa.array([[str(value) for value in row] for row in brought])}
    unseen = pa.array(["no such text", texts[0].as_py()])
    np.testing.assert_allclose(embed_queries(model, unseen, None, fields), _unit(brought), atol=1e-6)
    assert not embed_queries(model, unseen[:1]).any()
    with pytest.raises(InputError, match=r"embedding: got 2 values .* expected 12 finite numbers"):
        embed_queries(model, unseen[:1], None, {"embedding": pa.array([["1", "2"]])})


def test_ngrams_of_queries_learn_towards_documents_that_stay(log: Artifact, files: Tables) -> None:
    arm = _arm(
        text={"read": "searches"},
        towers={"dimensions": WIDTH},
        training={"epochs": 3, "patience": None, "batch_size": 256},
        loss={"kind": "softmax"},
        group={"searches": None, "adapt": "none"},
    )
    towers, _, documents = train_vectors(log, files, arm)
    np.testing.assert_allclose(documents, _given_documents(log, files), atol=1e-6)
    epochs = json.loads((towers.folder / "epochs.json").read_text())
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert json.loads((towers.folder / "weights.json").read_text()) == {"query.text": 1.0, "document.meaning": 1.0}
    assert query_columns(load_towers(towers.folder)) == []


def test_vectors_and_texts_are_summed_and_their_maps_learned(log: Artifact, files: Tables) -> None:
    towers, _, documents = train_vectors(
        log, files, _arm(training={"epochs": 1, "batch_size": 256}, towers={"dimensions": 8})
    )
    assert documents.shape[1] == 8
    weights = json.loads((towers.folder / "weights.json").read_text())
    assert set(weights) == {f"{side}.{name}" for side in ("query", "document") for name in ("text", "meaning")}


def test_check_says_how_many_have_a_vector(log: Artifact, files: Tables) -> None:
    [sentence] = check_vectors(log, files, _arm().features)
    assert sentence.startswith("group meaning: ")
    assert "documents have a vector of 12" in sentence


def test_sides_of_different_lengths_are_refused(log: Artifact, files: Tables, tmp_path: Path) -> None:
    text = pq.read_table(str(files.searches))["query"][0].as_py()
    pq.write_table(pa.table({"query": [text], "vector": [[1.0, 2.0]]}), tmp_path / "queries.parquet")
    arm = _arm(group={"searches": {"path": str(tmp_path / "queries.parquet")}})
    with pytest.raises(InputError, match="searches have vectors of 2 and documents have vectors of 12 numbers"):
        text_vectors(log, files, [arm.features])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"text": {"read": "none"}, "group": {"searches": None}}, "the tower of the searches reads nothing"),
        ({"text": {"read": "searches"}, "group": {"documents": None}}, "the tower of the documents reads nothing"),
        (
            {"text": {"read": "none"}, "positives": {"titles": 0.2}},
            "positives.titles and typos need n-grams",
        ),
        ({"group": {"searches": None, "documents": None}}, "name a column of vectors, or a file"),
        ({"group": {"adapt": {"rank": 0}}}, "greater than or equal to 1"),
    ],
)
def test_settings_that_read_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _arm(**settings)
