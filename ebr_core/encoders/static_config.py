"""The settings of a static start."""

from __future__ import annotations

from pydantic import Field

from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.encoders.token_config import weights_identity
from ebr_core.frozen import Frozen


class StaticStart(Frozen):
    """A pretrained encoder that gives the initial vectors of n-grams. Only training needs it."""

    model: str = Field(
        min_length=1,
        description="a folder with the model, relative to the folder of this file, or its name in the local Hugging "
        "Face cache",
    )
    download: bool = Field(
        False, description="true: download the model from Hugging Face before the run begins if no local cache has it"
    )

    @property
    def encoder(self) -> EncoderConfig:
        """The encoder, without prompts, because it reads single words."""
        return EncoderConfig(model=self.model, query_prompt="", document_prompt="", download=self.download)

    def content_identity(self) -> dict[str, str]:
        """The digest of the model, which stands for its path in the names of artifacts."""
        return {"model": weights_identity(self.encoder)}
