"""What every search engine does with a model: hold versions of its documents, answer by one of them, go back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa

from ebr_core.arrays import Float32
from ebr_core.frozen import Frozen

VECTOR, DOCUMENT_ID = "vector", "document_id"
MARK = "ebr"  # the key of a version's facts in the metadata of its table or index


class Version(Frozen):
    """The documents of a model in an engine: a table or an index of their own."""

    name: str  # the alias and a digest of the model and the columns
    model: str  # the digest of the bundle
    arm: str
    documents: int
    dimensions: int

    def as_mark(self) -> str:
        """The facts as JSON, which an engine keeps beside the documents."""
        return json.dumps({MARK: self.model_dump()}, sort_keys=True)


class LiveVersion(NamedTuple):
    """The version that answers, and the one that answered before it, if the engine has it still."""

    version: Version
    previous: Version | None


class Effort(NamedTuple):
    """A search setting of an engine, and how a client sets it."""

    settings: dict[str, int]
    words: str


class SearchEngine(Protocol):
    """An engine that is connected, for one alias: the name that queries ask for.

    Versions are written beside the one that answers; only `promote` changes what answers, in one step. Every method may
    be repeated after a kill. All raise InputError with one line where the engine refuses.
    """

    @property
    def address(self) -> str:
        """Where it is, without a password."""

    @property
    def index(self) -> str:
        """The parameters of its index, in words."""

    @property
    def efforts(self) -> Sequence[Effort]:
        """Its search settings, the cheapest first."""

    def batch_rows(self, dimensions: int) -> int:
        """The number of documents that are written at a time."""

    def live(self) -> LiveVersion | None:
        """The version that answers; None if nothing has the alias. Raises InputError if it is not ours."""

    def versions(self) -> list[Version]:
        """All versions of the alias, unfinished ones included."""

    def create(self, version: Version, schema: pa.Schema) -> int:
        """The number of documents that it has already, always the first ones; creates it if it is not there."""

    def write(self, version: Version, documents: pa.Table) -> None:
        """Add documents, all or none."""

    def finish(self, version: Version) -> None:
        """Build its index, unless that is there."""

    def uses_index(self, version: Version, query: Float32, k: int) -> bool:
        """True if the engine would search by the index; False if it compares all documents, as for few of them."""

    def search(self, version: Version, query: Float32, k: int, effort: Effort) -> list[str]:
        """The document_ids of the K nearest by inner product to a vector (D,), the nearest first."""

    def promote(self, version: Version, previous: Version | None) -> None:
        """Let it answer, in one step; previous: the version to go back to."""

    def drop(self, version: Version) -> None:
        """Remove it."""

    def close(self) -> None:
        """End the connection."""


def version_name(alias: str, model: str, schema: pa.Schema) -> str:
    """The name of a version, at most 53 characters: other documents, vectors or columns have another name."""
    columns = [f"{field.name}: {field.type}" for field in schema]
    return f"{alias}_{hashlib.sha256(json.dumps([model, columns]).encode()).hexdigest()[:12]}"


def read_mark(text: str | bytes | None) -> Version | None:
    """The version whose facts an engine keeps; None for the metadata of others."""
    try:
        facts = json.loads(text or "null")
        return Version.model_validate(facts[MARK])
    except (ValueError, TypeError, KeyError):
        return None
