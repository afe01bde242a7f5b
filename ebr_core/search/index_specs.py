"""Settings of each kind of index, and what they need of a corpus."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from ebr_core.frozen import Frozen

Links = Annotated[int, Field(ge=2, le=256)]
FEWEST_FOR_PQ = 256  # as many as a byte has centroids


POINTS_A_LIST = 39  # training vectors that faiss wants for each centroid before it warns


class Exact(Frozen):
    """Every document is compared with every query."""

    kind: Literal["exact"] = "exact"


Code = Annotated[
    str,
    Field(
        pattern=r"^(flat|sq8|o?pq[1-9][0-9]*(x4fs)?)$",
        description="flat: 4 bytes a dimension; sq8: 1 byte a dimension; pq32: product quantiser of 32 bytes, opq32 "
        "with a learnt rotation before it; pq64x4fs: 64 parts of 4 bits, scanned in registers [EBR: d/4 bytes]",
    ),
]


class _Kept(Frozen):
    """What is kept of a vector before its code, whichever family finds it. [EBR §4.1]"""

    prefix: int | None = Field(
        None, ge=1, description="only the first so many dimensions, brought to unit length again (Matryoshka)"
    )
    pca: int | None = Field(None, ge=1, description="principal directions kept, before the code")
    refine: bool = Field(False, description="whether a second look at exact vectors orders what the codes found")


class _TunedSettings(_Kept):
    """A family with a setting that trades documents scanned for recall."""

    target: float | None = Field(
        None,
        gt=0,
        le=1,
        description="recall against exact search that the setting is tuned to, on validation queries, scanning as few "
        "documents as it can; without it, the setting stays as it is given",
    )
    at: int = Field(10, ge=1, le=1000, description="K of the target")
    parameters_of: str | None = Field(
        None, description="the arm whose tuned setting is taken over, to see what becomes of it on another model"
    )

    @model_validator(mode="after")
    def _tuned_for_somebody(self) -> _TunedSettings:
        if self.parameters_of is not None and self.target is None:
            raise ValueError("parameters_of needs a target: what is taken over is a tuned setting")
        return self


class Scan(_Kept):
    """Every document is compared by its code."""

    kind: Literal["scan"] = "scan"
    code: Code = "pq32"


class Ivf(_TunedSettings):
    """An inverted file: nlist cells, of which the nprobe nearest to a query are scanned. [EBR §4.1]"""

    kind: Literal["ivf"] = "ivf"
    code: Code = "pq32"
    nlist: int | Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = Field(
        None, description="cells; several to tune among; default: 4·√N, at most N/39, so that each can be trained"
    )
    nprobe: int = Field(16, ge=1, description="cells scanned for a query, where no target tunes it")

    @model_validator(mode="after")
    def _several_to_tune_among(self) -> Ivf:
        if isinstance(self.nlist, tuple) and self.target is None:
            raise ValueError(f"nlist: got {list(self.nlist)}; several need a target to choose among them")
        if isinstance(self.nlist, int) and self.nlist < 1:
            raise ValueError(f"nlist: got {self.nlist}; at least one cell")
        return self


class Imi(_TunedSettings):
    """An inverted multi-index: each half of a vector has 2^bits centroids, every pair of them is a cell. [EBR §4.1]"""

    kind: Literal["imi"] = "imi"
    code: Code = "pq32"
    bits: int = Field(6, ge=1, le=12, description="4^bits cells in all")
    nprobe: int = Field(64, ge=1, description="cells scanned for a query, where no target tunes it")


class Hnsw(_TunedSettings):
    """A graph of neighbours, walked greedily with a list of ef candidates. [Malkov & Yashunin 2016]"""

    kind: Literal["hnsw"] = "hnsw"
    code: Literal["flat", "sq8"] = Field("flat", description="faiss's graphs over product codes know L2 alone")
    links: Links | Annotated[tuple[Links, ...], Field(min_length=1)] = Field(
        32, description="neighbours of a node, twice as many on the ground; several to tune among"
    )
    ef_construction: int = Field(200, ge=1, description="candidates while the graph is built")
    ef: int = Field(64, ge=1, description="candidates while it is searched, where no target tunes it")

    @model_validator(mode="after")
    def _several_to_tune_among(self) -> Hnsw:
        if isinstance(self.links, tuple) and self.target is None:
            raise ValueError(f"links: got {list(self.links)}; several need a target to choose among them")
        return self


AnyIndex = Exact | Scan | Ivf | Imi | Hnsw


Index = Annotated[AnyIndex, Field(discriminator="kind")]


def is_tuned(spec: AnyIndex) -> bool:
    """Whether its setting is found by tuning."""
    return isinstance(spec, Ivf | Imi | Hnsw) and spec.target is not None


def cells(n: int) -> int:
    """The default number of cells for n documents: 4·√n, at most n/39."""
    return max(1, min(int(4 * np.sqrt(n)), n // POINTS_A_LIST))


def problem(spec: AnyIndex, n: int, d: int) -> str | None:
    """Why no such index can be built over n vectors of d dimensions, with the way out; None where it can."""
    if isinstance(spec, Exact):
        return None if n else "the corpus is empty: no document is alive in the period, so there is nothing to index"
    kept = spec.pca or spec.prefix or d
    if spec.prefix is not None and spec.prefix > d:
        return f"prefix {spec.prefix} is more than the {d} dimensions; at most {d}"
    if spec.pca is not None and spec.pca > (spec.prefix or d):
        return f"pca {spec.pca} is more than the {spec.prefix or d} dimensions that it starts from; lower it"
    parts = code_parts(spec.code)
    if parts and kept % parts:
        default = "" if "code" in spec.model_fields_set else ", the default,"
        return f"code {spec.code}{default} does not divide the {kept} dimensions; try pq{max(1, kept // 4)}, or flat"
    if isinstance(spec, Imi) and kept % 2:
        return f"imi splits vectors into two halves, which {kept} dimensions do not allow; use ivf"
    if n == 0:
        return "the corpus is empty: no document is alive in the period, so there is nothing to index"
    fewest = FEWEST_FOR_PQ if parts and not spec.code.endswith("x4fs") else 16 if parts else 1
    if n < fewest:
        return (
            f"{spec.code} needs at least {fewest} documents to train its {fewest} centroids a part, got {n}; use "
            "code: flat, or kind: exact"
        )
    if isinstance(spec, Imi) and n < 2**spec.bits:
        return f"imi with {spec.bits} bits needs at least {2**spec.bits} documents, got {n}; lower bits, or use ivf"
    most = max(_nlists(spec, n)) if isinstance(spec, Ivf) else 1
    return f"nlist {most} is more than the {n} documents; lower it, or leave it out" if n < most else None


def code_parts(code: str) -> int:
    """How many parts a product quantiser cuts a vector into, 0 for other codes."""
    found = re.search(r"pq(\d+)", code)
    return int(found.group(1)) if found else 0


def _nlists(spec: Ivf, n: int) -> tuple[int, ...]:
    return spec.nlist if isinstance(spec.nlist, tuple) else (spec.nlist or cells(n),)


def variants(spec: Ivf | Imi | Hnsw) -> list[Ivf | Imi | Hnsw]:
    """The indexes to be tuned among: one for each nlist or links, the spec alone where it names no several."""
    if isinstance(spec, Ivf) and isinstance(spec.nlist, tuple):
        return [spec.model_copy(update={"nlist": nlist}) for nlist in spec.nlist]
    if isinstance(spec, Hnsw) and isinstance(spec.links, tuple):
        return [spec.model_copy(update={"links": links}) for links in spec.links]
    return [spec]
