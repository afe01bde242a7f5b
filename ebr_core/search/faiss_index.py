"""faiss indexes over unit vectors by inner product. [EBR §4]"""

from __future__ import annotations

from typing import Any, assert_never

import faiss
import numpy as np

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.search.deduped_index import DedupedIndex, deduplicate
from ebr_core.search.index_specs import AnyIndex, Exact, Hnsw, Imi, Ivf, Scan, _nlists, code_parts, problem


def build(vectors: Float32, spec: AnyIndex) -> DedupedIndex:
    """A trained and filled index over vectors (N, D).

    Equal vectors are indexed once, except for exact search, which compares every document. Raises InputError if there
    are no or too few vectors, or if they hold NaN or are longer than 1.
    """
    n, d = vectors.shape
    if message := problem(spec, n, d):
        raise InputError(message)
    _check_vectors(vectors)
    vectors = np.ascontiguousarray(vectors)
    if isinstance(spec, Exact):
        index: faiss.Index = faiss.IndexFlatIP(d)
        index.add(vectors)
        return DedupedIndex(index)
    unique_vectors, duplicates = deduplicate(vectors)
    if duplicates is not None and problem(spec, len(unique_vectors), d):  # too few distinct vectors
        unique_vectors, duplicates = vectors, None
    return DedupedIndex(_fill_index(unique_vectors, spec), duplicates)


def _fill_index(vectors: Float32, spec: Scan | Ivf | Imi | Hnsw) -> faiss.Index:
    n, d = vectors.shape
    index = _prepend_transforms(_empty_index(spec, n, spec.pca or spec.prefix or d), spec, vectors)
    if spec.refine:
        index = faiss.IndexRefineFlat(index)
    index.train(vectors)
    index.add(vectors)
    for name, value in _initial_parameters(spec).items():
        set_parameters(index, f"{name}={value}")
    return index


def _initial_parameters(spec: Scan | Ivf | Imi | Hnsw) -> dict[str, int]:
    """The configured setting, under faiss's name."""
    match spec:
        case Scan():
            return {}
        case Hnsw():
            return {"efSearch": spec.ef}
        case Ivf() | Imi():
            return {"nprobe": spec.nprobe}
        case _:
            assert_never(spec)


def set_parameters(index: faiss.Index, parameters: str) -> None:
    """Set parameters named as in faiss's ParameterSpace, e.g. "nprobe=16,k_factor_rf=4"; nprobe is at most nlist."""
    space = faiss.ParameterSpace()
    for parameter in filter(None, parameters.split(",")):
        name, value = parameter.split("=")
        limit = faiss.extract_index_ivf(index).nlist if name == "nprobe" else float("inf")
        space.set_index_parameter(index, name, min(float(value), limit))


def _empty_index(spec: Scan | Ivf | Imi | Hnsw, n: int, d: int) -> faiss.Index:
    """An empty index of the spec's family and code, made by faiss's factory, e.g. from "OPQ16,IVF512,PQ16np"."""
    parts = code_parts(spec.code)
    # np: no polysemous training, which takes 20 times as long as the rest and helps Hamming search only
    code = {"flat": "Flat", "sq8": "SQ8"}.get(spec.code, f"PQ{parts}{'x4fs' if spec.code.endswith('x4fs') else 'np'}")
    rotation = f"OPQ{parts}," if spec.code.startswith("opq") else ""
    match spec:
        case Scan():
            index = faiss.index_factory(d, rotation + code, faiss.METRIC_INNER_PRODUCT)
        case Hnsw():
            index = faiss.index_factory(d, f"HNSW{spec.links}_{code}", faiss.METRIC_INNER_PRODUCT)
            innermost(index).hnsw.efConstruction = spec.ef_construction
        case Ivf():
            nlist = _nlists(spec, n)[0]
            index = faiss.index_factory(d, f"{rotation}IVF{nlist},{code}", faiss.METRIC_INNER_PRODUCT)
            faiss.extract_index_ivf(index).cp.min_points_per_centroid = 1  # few documents: less exact, but correct
        case Imi():
            index = _multi_index(f"{rotation}IMI2x{spec.bits},{code}", d)
        case _:
            assert_never(spec)
    quantiser = getattr(innermost(index), "pq", None)
    if quantiser is not None:
        quantiser.cp.min_points_per_centroid = 1
    return index


def _multi_index(factory: str, d: int) -> faiss.Index:
    """An IMI whose cells are chosen by L2 and scanned by inner product; on unit vectors L2 orders as the cosine does.

    faiss's factory builds an IMI under L2 only, where a document without a known word (the zero vector) would be nearer
    than a document of cosine 0.4.
    """
    index = faiss.index_factory(d, factory, faiss.METRIC_L2)
    inner = faiss.extract_index_ivf(index)
    inner.metric_type = index.metric_type = faiss.METRIC_INNER_PRODUCT
    if factory.endswith("SQ8"):
        inner.by_residual = False  # its residuals would be added to the L2 distances of the cells
    return index


def innermost(index: faiss.Index) -> Any:
    """The index inside rotations and refinement. The outer index must outlive it."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        return innermost(inner.index)
    if isinstance(inner, faiss.IndexRefine):
        return innermost(inner.base_index)
    return inner


def _prepend_transforms(index: faiss.Index, spec: Scan | Ivf | Imi | Hnsw, vectors: Float32) -> faiss.Index:
    """The index preceded by the transforms that shorten vectors: a normalised prefix, principal directions."""
    if spec.prefix is None and spec.pca is None:
        return index
    d = vectors.shape[1]
    chain = index if isinstance(index, faiss.IndexPreTransform) else faiss.IndexPreTransform(index)
    if chain is not index:
        index.this.disown()  # the chain frees what it holds, as chains from faiss's factory do
        chain.own_fields = True
    steps: list[Any] = []
    start = spec.prefix or d
    if spec.pca is not None:
        steps.append(_principal_projection(vectors[:, :start], spec.pca, renormalised=spec.prefix is not None))
    if spec.prefix is not None:
        steps += [faiss.NormalizationTransform(start, 2.0), faiss.RemapDimensionsTransform(d, start, False)]
    for step in steps:
        chain.prepend_transform(step)
        step.this.disown()
    return chain


def _principal_projection(vectors: Float32, dimensions: int, renormalised: bool) -> faiss.LinearTransform:
    """The projection on the leading eigenvectors of E[x xᵀ], which preserves inner products best.

    Unlike faiss's PCAMatrix, it subtracts no mean: that would add a different term to each document's inner product.
    """
    sample = vectors.astype(np.float64)
    if renormalised:
        sample = sample / np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), 1e-12)
    _, directions = np.linalg.eigh(sample.T @ sample)
    rows = np.ascontiguousarray(directions.T[::-1][:dimensions], np.float32)
    projection = faiss.LinearTransform(vectors.shape[1], dimensions, False)
    faiss.copy_array_to_vector(rows.ravel(), projection.A)
    projection.is_trained = True
    return projection


def _check_vectors(vectors: Float32) -> None:
    if not np.isfinite(vectors).all():
        raise InputError(
            "the embeddings hold values that are not numbers; train the arm again with a lower learning_rate"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    # A document without a known n-gram has the zero vector; in an ensemble it may be zero in some parts only.
    too_long = lengths > 1 + 1e-3
    if too_long.any():
        raise InputError(f"{too_long.sum()} of {len(vectors)} embeddings are longer than 1; normalise them first")
