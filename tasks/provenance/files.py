"""Files beside the code that the code reads by name: SQL, templates, pages.

The code names such a file by the end of its path: "read/macros" or "report.md.j2". A text in the code that equals such
an end claims the file, and an f-string claims every file whose end it may equal. The name of an SQL file alone,
"clicks", claims it if some code names its folder together with "sql", as a reader of that folder does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from tasks.provenance import modules
from tasks.provenance.mentions import Mentions
from tasks.provenance.modules import PACKAGES
from tasks.provenance.settings import LEDGER

_LETTER = re.compile("[A-Za-z]")
_INCLUDED = re.compile(r"{%-?\s*(?:extends|include|import|from)\s+(?:(['\"])(.+?)\1)?")


class Texts(NamedTuple):
    """The texts in some code."""

    texts: frozenset[str]
    patterns: frozenset[str]  # regular expressions of f-strings
    folders: frozenset[str]  # folders of SQL that some of the code reads by file name alone

    @classmethod
    def from_mentions(cls, mentions: Iterable[Mentions]) -> Texts:
        """The texts in these mentions."""
        sources = list(mentions)
        folders = [source.texts for source in sources if "sql" in source.texts]
        empty: frozenset[str] = frozenset()
        texts, patterns = (
            empty.union(*(source.texts for source in sources)),
            empty.union(*(source.patterns for source in sources)),
        )
        return cls(texts, patterns, empty.union(*folders))


@functools.cache
def resources() -> tuple[str, ...]:
    """The paths below the root of all files in the packages of this project that are not Python."""
    paths = []
    for room in PACKAGES:
        for path in sorted((modules.ROOT / room).rglob("*")):
            relative = path.relative_to(modules.ROOT)
            if path.is_file() and "__pycache__" not in relative.parts and path.suffix != ".py" and path != LEDGER:
                paths.append(relative.as_posix())
    return tuple(paths)


def files_named(texts: Texts) -> tuple[str, ...]:
    """The files that the texts name, and the templates that those templates name."""
    names = set(texts.texts)
    # A pattern without letters, as of f"{name}.{suffix}", may equal any name, so it counts for none; but
    # f"{folder}/{name}" may be SQL.
    specific = [pattern for pattern in sorted(texts.patterns) if _LETTER.search(pattern) or pattern == ".*/.*"]
    patterns = [re.compile(pattern) for pattern in specific]
    patterns += [re.compile(re.escape(text) + ".+") for text in sorted(names) if text.endswith("/")]
    files: set[str] = set()
    count = -1
    while len(files) > count:
        count = len(files)
        for file in set(resources()) - files:
            ends = _ends(file, texts.folders)
            if names.intersection(ends) or any(pattern.fullmatch(end) for pattern in patterns for end in ends):
                files.add(file)
        for file in files:
            for _, name in _INCLUDED.findall((modules.ROOT / file).read_text(encoding="utf-8", errors="replace")):
                if name:
                    names.add(name)
                else:  # a template that another names at run time
                    patterns.append(re.compile(".*" + re.escape(PurePosixPath(file).suffix)))
    return tuple(sorted(files))


@functools.cache
def _ends(file: str, folders: frozenset[str]) -> tuple[str, ...]:
    """The texts that name a file: the ends of its path, without the suffix for SQL."""
    path = PurePosixPath(file)
    parts = path.with_suffix("").parts if path.suffix == ".sql" else path.parts
    ends = ["/".join(parts[at:]) for at in range(len(parts))]
    return tuple(ends) if path.suffix != ".sql" or path.parent.name in folders else tuple(ends[:-1])
