"""How texts become tokens of a pretrained encoder, and what names the results."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from pathlib import Path

from pydantic import Field

from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.encoders.model_folder import EXTRA, TOKENIZERS, ModelFolder, model_files, open_folder, weights_digest
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen

_LIBRARIES = ("transformers", "tokenizers")  # whose versions may change a result


class TokenConfig(Frozen):
    """The tokenizer of a model, and what it reads of a text."""

    model: str
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_tokens: int = Field(64, ge=3)
    download: bool = False

    @property
    def encoder(self) -> EncoderConfig:
        """The model's settings as far as its tokens depend on them."""
        return EncoderConfig(**self.model_dump())

    def content_identity(self) -> dict[str, str]:
        """The digest of the tokenizer, which stands for the model's path in the names of artifacts."""
        folder = open_folder(self.encoder)
        parts = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in tokenizer_files(folder)]
        parts += [folder.query_prompt, folder.document_prompt, str(folder.lower_case)]
        return {"model": hashlib.sha256("\n".join([*parts, *_versions()]).encode()).hexdigest()}


def tokenizer_files(folder: ModelFolder) -> list[Path]:
    """The files of the tokenizer, in order."""
    names = {*TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt"}
    return [path for path in model_files(folder) if path.name in names]


def weights_identity(config: EncoderConfig) -> str:
    """The digest of the model in a folder and of the libraries that compute with it."""
    return hashlib.sha256("\n".join([weights_digest(open_folder(config)), *_versions()]).encode()).hexdigest()


def _versions() -> list[str]:
    require_extra()
    return [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES]


def require_extra(library: str = "transformers") -> None:
    """Raise InputError if the extra is not installed."""
    if importlib.util.find_spec(library) is None:
        raise InputError(f"pretrained encoders need the extra `encoders`: {EXTRA}")
