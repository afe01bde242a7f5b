"""The colours of a page's pictures for readers who prefer dark pages: each has as much contrast as on white."""

from __future__ import annotations

import colorsys
import re

DARK_PAPER = "#14171c"
_COLOUR = re.compile(r"((?:fill|stroke|stop-color): ?)(#[0-9a-f]{6})\b")


def with_variables(svg: str) -> str:
    """The picture with a CSS variable in place of each colour, which is the colour itself where nothing sets it.

    >>> with_variables('<path style="fill: #ff0000"/>')
    '<path style="fill: var(--ff0000, #ff0000)"/>'
    """
    return _COLOUR.sub(lambda match: f"{match[1]}var(--{match[2][1:]}, {match[2]})", svg)


def dark_variables(svgs: list[str]) -> str:
    """The CSS that sets the variables of these pictures for a dark page."""
    colours = sorted({colour for svg in svgs for _, colour in _COLOUR.findall(svg)})
    return " ".join(f"--{colour[1:]}: {on_dark(colour)};" for colour in colours)


def on_dark(colour: str) -> str:
    """The colour of the same hue whose contrast with the dark paper is that of the colour with white.

    White itself becomes the paper, and black nearly white.

    >>> on_dark("#ffffff") == DARK_PAPER, on_dark("#000000")
    (True, '#ffffff')
    """
    if colour == "#ffffff":
        return DARK_PAPER
    wanted = contrast(colour, "#ffffff")
    hue, _, saturation = colorsys.rgb_to_hls(*_parts(colour))
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        if contrast(_hex(colorsys.hls_to_rgb(hue, middle, saturation)), DARK_PAPER) < wanted or _is_below(
            hue, middle, saturation
        ):
            low = middle
        else:
            high = middle
    return _hex(colorsys.hls_to_rgb(hue, high, saturation))


def _is_below(hue: float, lightness: float, saturation: float) -> bool:
    """True if the colour is darker than the dark paper."""
    return luminance(_hex(colorsys.hls_to_rgb(hue, lightness, saturation))) < luminance(DARK_PAPER)


def contrast(colour: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21. [WCAG 2.2, contrast ratio]

    >>> contrast("#000000", "#ffffff")
    21.0
    """
    light, dark = sorted((luminance(colour), luminance(other)), reverse=True)
    return round((light + 0.05) / (dark + 0.05), 6)


def luminance(colour: str) -> float:
    """The luminance of a colour, from 0 to 1. [WCAG 2.2, relative luminance]"""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in _parts(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _hex(parts: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(part * 255):02x}" for part in parts)
