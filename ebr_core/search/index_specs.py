"""Settings of each kind of index, and the corpus that they need."""

from __future__ import annotations

import re
from typing import Annotated, Literal, assert_never

import numpy as np
from pydantic import Field, model_validator

from ebr_core.frozen import Frozen

EXACT, NO_INDEX = "exact", "none"  # exact search, and lists without an index: names that no index may have
OWN_INDEXES = (EXACT, NO_INDEX)  # under these an arm is measured by itself
Links = Annotated[int, Field(ge=2, le=256)]
FEWEST_FOR_PQ = 256  # documents, one for each centroid of a byte


POINTS_A_LIST = 39  # training vectors for each centroid; with fewer, faiss warns


class Exact(Frozen):
    """Exact search: a query is compared with every document."""

    kind: Literal["exact"] = "exact"


Code = Annotated[
    str,
    Field(
        pattern=r"^(flat|sq8|o?pq[1-9][0-9]*(x4fs)?)$",
        description="flat: 4 bytes per dimension; sq8: 1 byte per dimension; pq32: a product quantiser of 32 bytes; "
        "opq32: the same after a learned rotation; pq64x4fs: 64 parts of 4 bits, scanned in registers [EBR: d/4 bytes]",
    ),
]


class _Reduction(Frozen):
    """Reduction of a vector before it is coded, the same for every family. [EBR §4.1]"""

    prefix: int | None = Field(
        None, ge=1, description="number of leading dimensions to keep, normalised again (Matryoshka)"
    )
    pca: int | None = Field(None, ge=1, description="number of principal directions to keep before coding")
    refine: bool = Field(False, description="reorder the documents found by code, using their exact vectors")


class _TunedSettings(_Reduction):
    """A family with a setting that trades recall against documents scanned."""

    target: float | None = Field(
        None,
        gt=0,
        le=1,
        description="recall against exact search that tuning reaches on validation queries, with as few scanned "
        "documents as possible; default: no tuning",
    )
    at: int = Field(10, ge=1, le=1000, description="K of the target")
    parameters_of: str | None = Field(
        None, description="the arm whose tuned settings are reused, to measure them on another model"
    )

    @model_validator(mode="after")
    def _check_target(self) -> _TunedSettings:
        if self.parameters_of is not None and self.target is None:
            raise ValueError("parameters_of needs a target: it reuses a tuned setting; add target")
        return self


class Scan(_Reduction):
    """A scan: a query is compared with the code of every document."""

    kind: Literal["scan"] = "scan"
    code: Code = "pq32"


class Ivf(_TunedSettings):
    """An inverted file of nlist cells; a query scans the nprobe nearest ones. [EBR §4.1]"""

    kind: Literal["ivf"] = "ivf"
    code: Code = "pq32"
    nlist: int | Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = Field(
        None,
        description="number of cells, or several numbers to tune among; default: 4·√N, at most N/39, so that each can "
        "be trained",
    )
    nprobe: int = Field(16, ge=1, description="number of cells to scan for a query, unless tuned to a target")

    @model_validator(mode="after")
    def _check_nlist(self) -> Ivf:
        if isinstance(self.nlist, tuple) and self.target is None:
            raise ValueError(f"nlist: got {list(self.nlist)}; several need a target to choose among them")
        if isinstance(self.nlist, int) and self.nlist < 1:
            raise ValueError(f"nlist: got {self.nlist}; expected at least 1")
        return self


class Imi(_TunedSettings):
    """An inverted multi-index: 2^bits centroids for each half of a vector; each pair is a cell. [EBR §4.1]"""

    kind: Literal["imi"] = "imi"
    code: Code = "pq32"
    bits: int = Field(6, ge=1, le=12, description="log2 of the centroids of each half; 4^bits cells in all")
    nprobe: int = Field(64, ge=1, description="number of cells to scan for a query, unless tuned to a target")


class Hnsw(_TunedSettings):
    """A graph of neighbours, searched greedily with a list of ef candidates. [Malkov & Yashunin 2016]"""

    kind: Literal["hnsw"] = "hnsw"
    code: Literal["flat", "sq8"] = Field(
        "flat", description="flat or sq8, because faiss's graphs over product codes support L2 only"
    )
    links: Links | Annotated[tuple[Links, ...], Field(min_length=1)] = Field(
        32,
        description="number of neighbours of a node, twice as many in the bottom layer; or several numbers to tune "
        "among",
    )
    ef_construction: int = Field(200, ge=1, description="number of candidates while the graph is built")
    ef: int = Field(64, ge=1, description="number of candidates while the graph is searched, unless tuned to a target")

    @model_validator(mode="after")
    def _check_links(self) -> Hnsw:
        if isinstance(self.links, tuple) and self.target is None:
            raise ValueError(f"links: got {list(self.links)}; several need a target to choose among them")
        return self


AnyIndex = Exact | Scan | Ivf | Imi | Hnsw


Index = Annotated[AnyIndex, Field(discriminator="kind")]


def is_tuned(spec: AnyIndex) -> bool:
    """True if the setting is found by tuning."""
    return isinstance(spec, Ivf | Imi | Hnsw) and spec.target is not None


def cells(n: int) -> int:
    """The default number of cells for n documents: 4·√n, at most n/39."""
    return max(1, min(int(4 * np.sqrt(n)), n // POINTS_A_LIST))


def problem(spec: AnyIndex, n: int, d: int) -> str | None:
    """The reason why the index cannot be built over n vectors of d dimensions, with the way out; else None."""
    if isinstance(spec, Exact):
        return None if n else "the corpus is empty: no document is alive in the period, so there is nothing to index"
    width = spec.pca or spec.prefix or d
    if spec.prefix is not None and spec.prefix > d:
        return f"prefix {spec.prefix} is more than the {d} dimensions; use at most {d}"
    if spec.pca is not None and spec.pca > (spec.prefix or d):
        return f"pca {spec.pca} is more than the {spec.prefix or d} dimensions before it; lower it"
    parts = code_parts(spec.code)
    if parts and width % parts:
        default = "" if "code" in spec.model_fields_set else ", the default,"
        return f"code {spec.code}{default} does not divide the {width} dimensions; try pq{max(1, width // 4)}, or flat"
    if isinstance(spec, Imi) and width % 2:
        return f"imi splits vectors into two halves, impossible with {width} dimensions; use ivf"
    if n == 0:
        return "the corpus is empty: no document is alive in the period, so there is nothing to index"
    fewest = FEWEST_FOR_PQ if parts and not spec.code.endswith("x4fs") else 16 if parts else 1
    if n < fewest:
        return (
            f"{spec.code} needs at least {fewest} documents to train the {fewest} centroids of each part, got {n}; "
            "use code: flat, or kind: exact"
        )
    if isinstance(spec, Imi) and n < 2**spec.bits:
        return f"imi with {spec.bits} bits needs at least {2**spec.bits} documents, got {n}; lower bits, or use ivf"
    max_nlist = max(_nlists(spec, n)) if isinstance(spec, Ivf) else 1
    return f"nlist {max_nlist} is more than the {n} documents; lower it, or leave it out" if n < max_nlist else None


def code_parts(code: str) -> int:
    """The number of parts into which a product quantiser splits a vector; 0 for other codes."""
    hit = re.search(r"pq(\d+)", code)
    return int(hit.group(1)) if hit else 0


def finer_code(spec: Ivf | Imi | Hnsw, d: int) -> str | None:
    """The next finer code for vectors of d dimensions: a product quantiser of the next multiple of the parts that
    divides them, then sq8, then flat; None after flat."""
    width, parts = spec.pca or spec.prefix or d, code_parts(spec.code)
    if spec.code == "flat":
        return None
    if not parts:
        return "flat"
    more = next(
        (more for more in (parts * 2**power for power in range(1, 12)) if more <= width and not width % more), 0
    )
    return spec.code.replace(str(parts), str(more), 1) if more else "sq8"


def _nlists(spec: Ivf, n: int) -> tuple[int, ...]:
    return spec.nlist if isinstance(spec.nlist, tuple) else (spec.nlist or cells(n),)


def variants(spec: Ivf | Imi | Hnsw) -> list[Ivf | Imi | Hnsw]:
    """The specs to choose among when tuning: one for each nlist or links, or the spec alone if it has a single one."""
    match spec:
        case Ivf(nlist=tuple() as nlists):
            return [spec.model_copy(update={"nlist": nlist}) for nlist in nlists]
        case Hnsw(links=tuple() as links):
            return [spec.model_copy(update={"links": number}) for number in links]
        case Ivf() | Imi() | Hnsw():
            return [spec]
        case _:
            assert_never(spec)
