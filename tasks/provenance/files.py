"""Files beside the code that code reads by name: SQL, templates, pages.

The code names such a file by the end of its path: "read/macros" or "report.md.j2". A text in the code that equals such
an end claims the file, and an f-string claims all whose ends it may equal. The name of an SQL file alone, "clicks",
claims it where some code names its folder beside "sql", as a reader of that folder does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from tasks.provenance import modules
from tasks.provenance.mentions import Mentions
from tasks.provenance.modules import OURS
from tasks.provenance.settings import LEDGER

_LETTER = re.compile("[A-Za-z]")
_INCLUDED = re.compile(r"{%-?\s*(?:extends|include|import|from)\s+(?:(['\"])(.+?)\1)?")


class Texts(NamedTuple):
    """The texts in some code."""

    texts: frozenset[str]
    patterns: frozenset[str]  # of f-strings
    folders: frozenset[str]  # of SQL that some of the code reads by the name alone

    @classmethod
    def of(cls, mentions: Iterable[Mentions]) -> Texts:
        """The texts of definitions."""
        every = list(mentions)
        read = [one.texts for one in every if "sql" in one.texts]
        none: frozenset[str] = frozenset()
        texts, patterns = none.union(*(one.texts for one in every)), none.union(*(one.patterns for one in every))
        return cls(texts, patterns, none.union(*read))


@functools.cache
def resources() -> tuple[str, ...]:
    """The paths below the root of all files in the packages of this project that are no Python."""
    found = []
    for room in OURS:
        for path in sorted((modules.ROOT / room).rglob("*")):
            inner = path.relative_to(modules.ROOT)
            if path.is_file() and "__pycache__" not in inner.parts and path.suffix != ".py" and path != LEDGER:
                found.append(inner.as_posix())
    return tuple(found)


def files_named(texts: Texts) -> tuple[str, ...]:
    """The files that the texts name, and the templates that those templates name."""
    names = set(texts.texts)
    # One of signs alone, as f"{name}.{suffix}", may equal anything and says nothing; f"{folder}/{name}" may be SQL.
    telling = [pattern for pattern in sorted(texts.patterns) if _LETTER.search(pattern) or pattern == ".*/.*"]
    patterns = [re.compile(pattern) for pattern in telling]
    patterns += [re.compile(re.escape(text) + ".+") for text in sorted(names) if text.endswith("/")]
    found: set[str] = set()
    before = -1
    while len(found) > before:
        before = len(found)
        for file in set(resources()) - found:
            ends = _ends(file, texts.folders)
            if names.intersection(ends) or any(pattern.fullmatch(end) for pattern in patterns for end in ends):
                found.add(file)
        for file in found:
            for _, name in _INCLUDED.findall((modules.ROOT / file).read_text(encoding="utf-8", errors="replace")):
                if name:
                    names.add(name)
                else:  # a template that another names at run time
                    patterns.append(re.compile(".*" + re.escape(PurePosixPath(file).suffix)))
    return tuple(sorted(found))


@functools.cache
def _ends(file: str, folders: frozenset[str]) -> tuple[str, ...]:
    """The texts that name a file: the ends of its path; of SQL without the suffix."""
    path = PurePosixPath(file)
    parts = path.with_suffix("").parts if path.suffix == ".sql" else path.parts
    ends = ["/".join(parts[at:]) for at in range(len(parts))]
    return tuple(ends) if path.suffix != ".sql" or path.parent.name in folders else tuple(ends[:-1])
