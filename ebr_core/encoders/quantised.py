"""Encoders that compute in 8-bit integers."""

from __future__ import annotations

from ebr_core.encoders.pretrained import TextEncoder
from ebr_core.encoders.text_vectors import Embed


def embedder(encoder: TextEncoder) -> Embed | None:
    """What computes with the encoder's weights in its precision; None: its own module."""
    return None
