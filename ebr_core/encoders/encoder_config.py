"""The settings of a pretrained encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ebr_core.frozen import Frozen

Pooling = Literal["mean", "cls", "last"]
Precision = Literal["float32", "bfloat16", "int8"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class EncoderConfig(Frozen):
    """A sentence-transformers or transformers model and its settings. null: as the model's folder says."""

    model: str = Field(
        min_length=1,
        description="a folder with the model, relative to the folder of this file, or its name in the local Hugging "
        "Face cache",
    )
    query_prompt: str | None = Field(None, description="text before each query; null: the model's own; '': none")
    document_prompt: str | None = Field(None, description="text before each document; null: the model's own; '': none")
    pooling: Pooling | None = Field(
        None, description="mean of the tokens, the first token (cls) or the last; null: as the model says, else mean"
    )
    max_tokens: int | None = Field(
        None, ge=3, le=32_768, description="number of tokens after which a text is cut; null: as the model says"
    )
    precision: Precision = Field(
        "float32",
        description="precision of the computation; int8: faster on a CPU, with a cosine of .99 to float32; bfloat16: "
        "for devices that compute in it",
    )
    dimensions: int | None = Field(
        None,
        ge=2,
        le=16_384,
        description="number of leading dimensions to keep, for models that are trained for it (Matryoshka)",
    )
    device: Device = Field("auto", description="auto: cuda, else mps, else cpu")
    download: bool = Field(
        False, description="true: download the model from Hugging Face before the run begins if no local cache has it"
    )
