"""The settings of a pretrained encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ebr_core.frozen import Frozen

Pooling = Literal["mean", "cls", "last"]
Precision = Literal["float32", "bfloat16", "int8"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class EncoderConfig(Frozen):
    """A sentence-transformers or transformers model, and how it is used. null: as the model's folder says."""

    model: str = Field(
        min_length=1,
        description="a folder with the model, from the folder of this file, or its name in the local cache of Hugging "
        "Face",
    )
    query_prompt: str | None = Field(None, description="text before each query; null: the model's own; '' for none")
    document_prompt: str | None = Field(
        None, description="text before each document; null: the model's own; '' for none"
    )
    pooling: Pooling | None = Field(
        None, description="mean of the tokens, the first (cls) or the last; null: as the model says, else mean"
    )
    max_tokens: int | None = Field(
        None, ge=3, le=32_768, description="tokens after which a text is cut; null: as the model says"
    )
    precision: Precision = Field(
        "float32",
        description="of the computation. int8: faster on a CPU, at a cosine of .99 with float32; bfloat16: for devices "
        "that compute in it",
    )
    dimensions: int | None = Field(
        None, ge=2, le=16_384, description="keep the first of the vector alone, for models trained for it (Matryoshka)"
    )
    device: Device = Field("auto", description="auto: cuda, else mps, else cpu")
    download: bool = Field(
        False, description="true: get a model that is in no local cache from Hugging Face before the run begins"
    )
