"""The settings of adapters of low rank."""

from __future__ import annotations

from pydantic import Field

from ebr_core.frozen import Frozen


class Lora(Frozen):
    """Adapters of low rank for the layers of an encoder, whose own weights stay fixed. [Hu et al. 2021]"""

    rank: int = Field(16, ge=1, le=1024, description="rank of an adapter; a higher rank learns more and costs more")
    alpha: float = Field(
        32, gt=0, le=4096, description="scale of an adapter, whose output is multiplied by alpha / rank"
    )
    layers: tuple[str, ...] = Field(
        (), description="names of the linear layers with an adapter, as the model names them; []: all"
    )
