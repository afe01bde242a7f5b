"""Hooks of mkdocs: the site has README.md as its first page, and the other Markdown files of the root, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
AT_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "LOG.md": "LOG.md",
}
COPIED = ("LICENSE", "CITATION.cff")
_TARGET = re.compile(r"(\]\(|src=\"|srcset=\")([^)\s\"]+)")


def on_files(files: Files, config: Any) -> Files:
    """The files of the site, with those of the root."""
    for name, page in AT_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=from_root(text)))
    for name in COPIED:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page, with its links to files of the root."""
    return markdown if page.file.src_uri in AT_ROOT.values() else to_root(markdown, page.file.src_uri.count("/"))


def from_root(text: str) -> str:
    """A text of the root with its links as the site has them: docs/ is the site's own folder.

    >>> from_root("[a](docs/a.md#b), [c](LOG.md), [d](README.md)")
    '[a](a.md#b), [c](LOG.md), [d](index.md)'
    """
    return _TARGET.sub(lambda match: match[1] + _renamed(match[2].removeprefix("docs/")), text)


def to_root(text: str, depth: int) -> str:
    """A text in docs/, or that many folders below it, whose links to the root lead into the site.

    >>> to_root("[a](../LOG.md) [b](other.md)", 0)
    '[a](LOG.md) [b](other.md)'
    """
    above = "../" * (depth + 1)

    def inside(match: re.Match[str]) -> str:
        if not match[2].startswith(above):
            return match[0]
        return match[1] + "../" * depth + _renamed(match[2].removeprefix(above))

    return _TARGET.sub(inside, text)


def _renamed(target: str) -> str:
    path, sign, anchor = target.partition("#")
    return AT_ROOT.get(path, path) + sign + anchor
