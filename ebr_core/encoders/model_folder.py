"""The folder of a pretrained encoder: where it is, how its vectors are made, and the digest of what decides them."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from ebr_core.encoders.encoder_config import EncoderConfig, Pooling
from ebr_core.errors import InputError
from ebr_core.extras import install_command

EXTRA = install_command("encoders")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.json")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_SETTINGS = (
    *("config.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", *TOKENIZERS),
)
_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
# A mean over the square root of the length is the mean at unit length, which is all that is used.
_POOLINGS: dict[str, Pooling] = {
    "mean": "mean", "mean_sqrt_len_tokens": "mean", "cls": "cls", "lasttoken": "last", "last": "last",
}  # fmt: skip
_CHUNK_BYTES = 1 << 20


class ModelFolder(NamedTuple):
    """All that decides an encoder's vectors, but its tokenizer and weights: the folder's own settings under those of
    the experiment."""

    path: Path  # of modules.json, or of config.json
    weights: Path  # of config.json, the weights and the tokenizer
    query_prompt: str
    document_prompt: str
    pooling: Pooling
    max_tokens: int
    width: int  # dimensions of the model's vectors
    dimensions: int  # those that are kept, the first
    lower_case: bool


def open_folder(config: EncoderConfig, needs_weights: bool = True) -> ModelFolder:
    """The folder of an encoder, without its weights.

    Raises InputError if it is not there, is no model, has no tokenizer, makes its vectors in a way that is not read
    here, or does not fit the settings.
    """
    path = locate(config.model, config.download)
    weights = path / _module_path(path, "Transformer")
    if not (weights / "config.json").is_file():
        raise InputError(
            f"{path}: no model: it has no config.json. Give the folder of a transformers or sentence-transformers model"
        )
    if needs_weights and not has_weights(weights):
        raise InputError(
            f"{path}: a model without weights. Expected model.safetensors or pytorch_model.bin: get the whole folder"
        )
    if not any((weights / name).is_file() for name in TOKENIZERS):
        raise InputError(f"{path}: a model without a tokenizer. Expected tokenizer.json beside config.json")
    model, sentences = _read(weights / "config.json"), _read(weights / "sentence_bert_config.json")
    width = _width(path, model)
    prompts = _read(path / "config_sentence_transformers.json").get("prompts") or {}
    own_document = next((prompts[name] for name in ("document", "passage", "corpus") if prompts.get(name)), "")
    return ModelFolder(
        path,
        weights,
        prompts.get("query") or "" if config.query_prompt is None else config.query_prompt,
        own_document if config.document_prompt is None else config.document_prompt,
        config.pooling or _pooling(path),
        _max_tokens(config, model, sentences),
        width,
        _dimensions(config, width),
        bool(sentences.get("do_lower_case")),
    )


def has_weights(folder: Path) -> bool:
    """True if there are weights in the folder."""
    return any(list(folder.glob(pattern)) for pattern in _WEIGHTS)


def locate(model: str, download: bool = False) -> Path:
    """The folder of a model: the path itself, or the local copy of the model of that name.

    Nothing is loaded from a network unless download is true and the model is nowhere; then a message says so first.
    Raises InputError if it is not there.
    """
    if (folder := Path(model).expanduser()).is_dir():
        return folder
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise InputError(
            f"{model}: no such folder. Give the folder of a model, or its name in the cache of Hugging Face"
        )
    hub = _hub()
    try:
        return Path(hub.snapshot_download(model, local_files_only=True))
    except Exception as error:  # the library has a dozen for a model that is not there
        if not download:
            raise InputError(
                f"{model}: neither a folder nor a model in the local cache of Hugging Face. Correct the path, get it "
                f"once by `hf download {model}`, or set download: true"
            ) from error
    logging.getLogger("ebr").warning("%s is in no local cache: it is downloaded from Hugging Face now", model)
    try:
        return Path(hub.snapshot_download(model))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{model}: could not be downloaded: {reason}. Give the folder of a model") from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(f"pretrained encoders need the extra `encoders`: {EXTRA}") from error
    return huggingface_hub


def weights_digest(folder: ModelFolder) -> str:
    """SHA-256 of the weights, the tokenizer and the settings in the folder: of all that decides the model's vectors.

    Where the folder lies, and the times of its files, change nothing.
    """
    digest = hashlib.sha256()
    for path in model_files(folder):
        status = path.stat()
        name = path.relative_to(folder.path).as_posix()
        digest.update(f"{name} {_digest_of(path, status.st_size, status.st_mtime_ns, status.st_ino)}\n".encode())
    return digest.hexdigest()


def model_files(folder: ModelFolder) -> list[Path]:
    """The files that decide the model's vectors, in order: with copies of these a model can be opened elsewhere."""
    found: set[Path] = set()
    for place in {folder.path, folder.weights}:
        found |= {place / name for name in _SETTINGS if (place / name).is_file()}
        weights = [sorted(place.glob(pattern)) for pattern in _WEIGHTS]
        found |= set(next((files for files in weights if files), []))
    pooling = folder.path / _module_path(folder.path, "Pooling", "1_Pooling") / "config.json"
    return sorted(found | ({pooling} if pooling.is_file() else set()))


def settings_files(folder: ModelFolder) -> list[Path]:
    """The files of `model_files` but the weights."""
    return [path for path in model_files(folder) if not any(path.match(pattern) for pattern in _WEIGHTS)]


@functools.cache
def _digest_of(path: Path, _size: int, _mtime_ns: int, _inode: int) -> str:
    """The digest of a file, read once in a process while its size, time and inode stay."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """The settings in a file, empty if it is missing. Raises InputError if it is no JSON object."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: no JSON: {error}. Get the model's folder again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(content).__name__}. Get the model's folder again")
    return content


def _modules(path: Path) -> list[tuple[str, str]]:
    """(type, folder) of each module of a sentence-transformers model; a plain transformers model has none."""
    if not (path / "modules.json").is_file():
        return []
    try:
        modules = json.loads((path / "modules.json").read_text(encoding="utf-8"))
        return [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in modules]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path / 'modules.json'}: no list of modules: {error}. Get the model's folder again"
        ) from error


def _module_path(path: Path, kind: str, default: str = "") -> str:
    """The folder of a module of that kind. Raises InputError for modules that are not read here."""
    modules = _modules(path)
    if unknown := [name for name, _ in modules if name not in ("Transformer", "Pooling", "Normalize")]:
        raise InputError(
            f"{path}: a model with a module {unknown[0]}, which is not read here: only Transformer, Pooling and "
            "Normalize are. Write its vectors into a file, and read them with kind: vectors"
        )
    return next((where for name, where in modules if name == kind), default)


def _pooling(path: Path) -> Pooling:
    """The pooling that the folder names; mean if it names none."""
    where = path / _module_path(path, "Pooling", "1_Pooling") / "config.json"
    settings = _read(where)
    mode = settings.get("pooling_mode") or [name for key, name in _POOLING_KEYS.items() if settings.get(key)] or "mean"
    modes = [mode] if isinstance(mode, str) else list(mode)
    if len(modes) > 1 or modes[0] not in _POOLINGS:
        raise InputError(
            f"{where}: pooling {' and '.join(map(str, modes))} is not computed here. Set pooling to mean, cls or last "
            "if the model is good with it, or read its vectors with kind: vectors"
        )
    if settings.get("include_prompt") is False:
        raise InputError(
            f"{where}: include_prompt: false, the prompt left out of the pooling, is not computed here. Read the "
            "model's vectors with kind: vectors"
        )
    return _POOLINGS[modes[0]]


def _width(path: Path, model: dict[str, Any]) -> int:
    nested = model.get("text_config") or {}
    width = next(
        (part[key] for part in (model, nested) for key in ("hidden_size", "d_model", "dim") if part.get(key)), 0
    )
    if not width:
        raise InputError(f"{path}: config.json names no hidden_size: no text encoder that is read here")
    return int(width)


def _max_tokens(config: EncoderConfig, model: dict[str, Any], sentences: dict[str, Any]) -> int:
    positions = int(model.get("max_position_embeddings") or 0)
    if positions and model.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= 2  # their positions start behind the padding's
    if config.max_tokens and positions and config.max_tokens > positions:
        raise InputError(
            f"max_tokens: got {config.max_tokens}, but {config.model} reads at most {positions} tokens; lower it"
        )
    own = config.max_tokens or sentences.get("max_seq_length") or positions or 512
    return min(int(own), positions or int(own))


def _dimensions(config: EncoderConfig, width: int) -> int:
    if config.dimensions and config.dimensions > width:
        raise InputError(
            f"dimensions: got {config.dimensions}, but the vectors of {config.model} have {width}; lower it, or leave "
            "it out"
        )
    return config.dimensions or width
