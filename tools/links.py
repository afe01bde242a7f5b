"""Links and anchors of Markdown files: where a link leads to no file, or to no heading of it."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_FENCE = re.compile(r"^( *)(```|~~~).*?^\1\2[^\n]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_IMAGE = re.compile(r"<(?:img|source)[^>]*\b(?:src|srcset)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)?$", re.MULTILINE)
_ATTRIBUTE = re.compile(r"\s*\{\s*#([\w-]+)\s*\}$")
_EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def broken_links(files: Iterable[Path]) -> list[str]:
    """A line for each link of these Markdown files that leads to no file or to no heading. Addresses on the network are
    not asked."""
    broken = []
    for file in files:
        for target in links_of(file.read_text(encoding="utf-8")):
            path, _, anchor = target.partition("#")
            found = file if not path else (file.parent / path).resolve()
            if not found.exists():
                broken.append(f"{file}: {target}: there is no such file")
            elif anchor and found.suffix == ".md" and anchor not in anchors_of(found.read_text(encoding="utf-8")):
                broken.append(f"{file}: {target}: the page has no such heading")
    return broken


def links_of(text: str) -> list[str]:
    """The targets of the links and pictures in a text of Markdown, those in code and those on the network left out.

    >>> links_of("[a](b.md#c) `[d](e.md)` ![f](g.png) [h](mailto:i)")
    ['b.md#c', 'g.png']
    """
    prose = _CODE.sub("", _COMMENT.sub("", _FENCE.sub("", text)))
    return [target for target in (*_LINK.findall(prose), *_IMAGE.findall(prose)) if not _EXTERNAL.match(target)]


def anchors_of(text: str) -> set[str]:
    """The anchors of all headings, as the site makes them: a repeated one has a number.

    >>> sorted(anchors_of("# A b\\n## A, b!"))
    ['a-b', 'a-b_1']
    """
    counts: Counter[str] = Counter()
    anchors = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        if match := _ATTRIBUTE.search(heading):
            anchors.add(match[1])
            continue
        slug = slug_of(heading)
        anchors.add(f"{slug}_{counts[slug]}" if counts[slug] else slug)
        counts[slug] += 1
    return anchors


def slug_of(heading: str) -> str:
    """The anchor of a heading that occurs once.

    >>> slug_of("The `--gate` of [compare](x.md): §2, é")
    'the-gate-of-compare-2-e'
    """
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())
