"""Groups by a pretrained encoder: each text is encoded once, a killed run goes on, and models find their encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

pytest.importorskip("transformers")
from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Simulated, Tables
from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.encoders.pretrained import load_encoder
from ebr_core.encoders.text_vectors import encode_texts
from ebr_core.encoders.vector_store import open_store
from ebr_core.errors import InputError
from ebr_core.serving.document_towers import embed_documents
from ebr_core.towers.checkpoint import embed_queries, load_towers
from ebr_core.towers.query_encoders import MODELS, carry_encoders
from ebr_core.training.arm_config import Arm
from flows.group_vectors import check_vectors, text_vectors
from tasks import encode_stages
from tasks.artifacts import Artifact
from tasks.encode_stages import encode, encode_share, encoding_of, read_texts
from tasks.feature_stages import featurise_as
from tasks.home import home
from tasks.log_stages import contents_of, extract, sample, simulate_log
from tests.tiny_encoder import make_tiny_encoder
from tests.trained_vectors import train_vectors

pytestmark = pytest.mark.more
SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
ALONE = {"text": {"read": "none"}, "training": {"epochs": 0}, "towers": {"dimensions": 32}}


@pytest.fixture
def tiny(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An encoder of its own for each test, so that nothing is encoded yet."""
    seed = sum(map(ord, request.node.name))
    return make_tiny_encoder(tmp_path / "tiny", seed=seed)


@pytest.fixture(scope="module")
def files() -> Tables:
    experiment = load_experiment(SMOKE)
    assert isinstance(experiment.logs, Simulated)
    return experiment.logs.tables(simulate_log.fn(experiment.logs.world).folder)


@pytest.fixture(scope="module")
def log(files: Tables) -> Artifact:
    return extract.fn(files, load_experiment(SMOKE).split, contents_of(files))


def _arm(tiny: Path, **settings: Any) -> Arm:
    group = {"kind": "encoder", "model": str(tiny), "device": "cpu"} | settings.pop("group", {})
    return Arm.model_validate({"groups": {"meaning": group}, **settings})


def _pieces(tiny: Path) -> int:
    """The texts that are stored of all encoders."""
    return sum(len(open_store(folder).digests) for folder in (home() / "encoded").glob("*"))


def test_as_it_comes_equals_the_encoder_and_the_model_in_use(log: Artifact, files: Tables, tiny: Path) -> None:
    towers, queries, documents = train_vectors(log, files, _arm(tiny, **ALONE, group={"adapt": "none"}))
    texts = read_texts(log, body=False)
    encoder = load_encoder(EncoderConfig(model=str(tiny), device="cpu"))
    np.testing.assert_allclose(documents, encode_texts(encoder, texts["document"], "document"), atol=1e-5)
    rows = pq.read_table(sample.fn(log, "test", 50, 1).folder / "searches.parquet")["search_row"]
    query_rows = pq.read_table(log.folder / "searches.parquet")["query_row"].take(rows)
    asked = texts["query"].take(query_rows.combine_chunks())
    np.testing.assert_allclose(embed_queries(load_towers(towers.folder), asked), queries, atol=1e-5)


def test_each_text_is_encoded_once_for_all_arms_and_prefixes(log: Artifact, files: Tables, tiny: Path) -> None:
    before = _pieces(tiny)
    groups = [{"adapt": "none"}, {"adapt": "queries"}, {"dimensions": 8}, {"read": "documents"}]
    for group in groups:
        arm = _arm(tiny, group=group)
        text_vectors(log, files, [arm.features])
    texts = read_texts(log, body=False)
    distinct = {text.strip() for side in texts.values() for text in side.to_pylist()} - {""}
    assert _pieces(tiny) - before == len(distinct)
    assert " 0 of " in check_vectors(log, files, _arm(tiny).features)[0]


def test_a_prefix_is_of_unit_length(log: Artifact, files: Tables, tiny: Path) -> None:
    arms = [_arm(tiny), _arm(tiny, group={"dimensions": 8})]
    made = [text_vectors(log, files, [arm.features])[arm.features]["meaning"] for arm in arms]
    whole, prefix = (np.load(vectors.folder / "documents.npy") for vectors in made)
    expected = whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(prefix, expected, atol=1e-6)


def test_killed_it_goes_on_behind_the_last_piece_with_the_same_bytes(
    log: Artifact, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = encoding_of(_arm(tiny).features.text_vectors["meaning"])  # type: ignore[arg-type]
    monkeypatch.setattr(encode_stages, "PIECE_S", 0)
    calls, real = [], encode_stages.encode_batch

    def counted(*arguments: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(arguments[2]))
        return real(*arguments)

    before = _pieces(tiny)
    monkeypatch.setattr(encode_stages, "encode_batch", counted)
    with pytest.raises(KeyboardInterrupt):
        encode_share.fn(log, encoding, 0, 1)
    assert _pieces(tiny) - before == sum(calls) > 0
    monkeypatch.setattr(encode_stages, "encode_batch", real)
    share = encode_share.fn(log, encoding, 0, 1)
    counts = json.loads((share.folder / "counts.json").read_text())
    assert counts["encoded"] == counts["texts"] - sum(calls)
    gone_on = np.load(encode.fn(log, encoding, None, [share]).folder / "documents.npy")
    for folder in (home() / "encoded").glob("*"):
        shutil.rmtree(folder)
    again = encode_share.fn(log, encoding.model_copy(update={"body": True}), 0, 1)  # another name, the same texts
    at_once = np.load(
        encode.fn(log, encoding.model_copy(update={"body": True}), None, [again]).folder / "documents.npy"
    )
    np.testing.assert_array_equal(gone_on, at_once)


def test_ngrams_of_queries_need_no_encoder_in_use(log: Artifact, files: Tables, tiny: Path) -> None:
    arm = _arm(
        tiny,
        text={"read": "searches"},
        towers={"dimensions": 32},
        training={"epochs": 1, "batch_size": 256},
        group={"read": "documents", "adapt": "none"},
    )
    towers, queries, _ = train_vectors(log, files, arm)
    shutil.rmtree(tiny)
    rows = pq.read_table(sample.fn(log, "test", 50, 1).folder / "searches.parquet")["search_row"]
    query_rows = pq.read_table(log.folder / "searches.parquet")["query_row"].take(rows)
    asked = read_texts(log, body=False)["query"].take(query_rows.combine_chunks())
    np.testing.assert_allclose(embed_queries(load_towers(towers.folder), asked), queries, atol=1e-5)


def test_a_model_in_use_needs_its_own_encoder(log: Artifact, files: Tables, tiny: Path, tmp_path: Path) -> None:
    arm = _arm(tiny, **ALONE, group={"adapt": "none"})
    towers, *_ = train_vectors(log, files, arm)
    texts = read_texts(log, body=False)["query"][:3]
    expected = embed_queries(load_towers(towers.folder), texts)
    bundle = shutil.copytree(towers.folder, tmp_path / "bundle")
    carry_encoders(arm.features.query_encoders, bundle)
    assert (bundle / MODELS / "meaning" / "model.safetensors").is_file()
    shutil.move(tiny, tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"groups\.meaning: this model needs its encoder .*include_model: true"):
        embed_queries(load_towers(towers.folder), texts)
    np.testing.assert_allclose(embed_queries(load_towers(bundle), texts), expected, atol=1e-6)
    make_tiny_encoder(tiny, seed=99)
    with pytest.raises(InputError, match=r"the encoder at .* is another .* Restore it"):
        embed_queries(load_towers(towers.folder), texts)
    vectors = text_vectors(log, files, [arm.features])[arm.features]
    with pytest.raises(InputError, match=r"its encoder has other weights"):
        featurise_as.fn(log, towers, {}, None, vectors)


def test_every_run_has_the_encoder_as_an_arm(tiny: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(SMOKE.read_text())
    content["evaluation"]["encoder"] = "tiny"
    content["questions"]["E1"] = {"baseline": "encoder", "arms": ["random", "encoder+bm25"]}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    experiment = load_experiment(path)
    arm = experiment.arms["encoder"]
    assert (arm.training.epochs, arm.towers.dimensions) == (0, 32)
    assert arm.groups["encoder"].model == str(tiny)  # type: ignore[union-attr]
    assert "encoder" in experiment.questions["bm25"].arms
    content["arms"]["encoder"] = {}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"arms\.encoder: this name is taken by evaluation\.encoder"):
        load_experiment(path)
    del content["arms"]["encoder"]
    content["evaluation"]["encoder"] = "./nowhere"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"evaluation\.encoder: .*nowhere: no such folder"):
        load_experiment(path)
    assert load_experiment(path, needs_encoder=False).arms == load_experiment(SMOKE).arms


@pytest.mark.parametrize("read", ["both", "documents", "searches"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_document_that_no_log_holds_has_the_vector_of_one_with_its_text(
    log: Artifact, files: Tables, tiny: Path, read: str, alone: bool
) -> None:
    others = {"both": "none", "documents": "searches", "searches": "documents"}
    settings = {"text": {"read": others[read]}} if alone else {}
    arm = _arm(tiny, training={"epochs": 1}, towers={"dimensions": 32}, group={"read": read}, **settings)
    towers, _, documents = train_vectors(log, files, arm)
    titles = read_texts(log, body=False)["document"]
    vectors = embed_documents(load_towers(towers.folder), titles, pa.nulls(len(titles), pa.string()))
    np.testing.assert_allclose(vectors, documents, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_so_it_has_by_a_trained_encoder(log: Artifact, files: Tables, tiny: Path, shared: bool) -> None:
    tower = {"kind": "transformer", "model": str(tiny), "max_tokens": 8, "shared": shared}
    arm = Arm.model_validate({"towers": tower, "training": {"epochs": 1}})
    towers, _, documents = train_vectors(log, files, arm)
    titles = read_texts(log, body=False)["document"]
    vectors = embed_documents(load_towers(towers.folder), titles, pa.nulls(len(titles), pa.string()))
    np.testing.assert_allclose(vectors, documents, atol=1e-5)
