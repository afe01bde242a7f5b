"""faiss indexes over unit vectors, inner product throughout. [EBR §4]"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.search.deduped_index import DedupedIndex, distinct
from ebr_core.search.index_specs import AnyIndex, Exact, Hnsw, Imi, Ivf, Scan, _nlists, code_parts, problem


def build(vectors: Float32, spec: AnyIndex) -> DedupedIndex:
    """A trained and filled index over vectors (N, D), equal ones indexed once but under exact search, which compares
    every document. Errors: no or too few vectors, NaN, longer than 1."""
    n, d = vectors.shape
    if told := problem(spec, n, d):
        raise InputError(told)
    _check_vectors(vectors)
    vectors = np.ascontiguousarray(vectors)
    if isinstance(spec, Exact):
        index: faiss.Index = faiss.IndexFlatIP(d)
        index.add(vectors)
        return DedupedIndex(index)
    different, copies = distinct(vectors)
    if copies is not None and problem(spec, len(different), d):  # enough documents for it, but not enough vectors
        different, copies = vectors, None
    return DedupedIndex(_filled(different, spec), copies)


def _filled(vectors: Float32, spec: Scan | Ivf | Imi | Hnsw) -> faiss.Index:
    n, d = vectors.shape
    index = _shortened(_family(spec, n, spec.pca or spec.prefix or d), spec, vectors)
    if spec.refine:
        index = faiss.IndexRefineFlat(index)
    index.train(vectors)
    index.add(vectors)
    for name, value in _setting(spec).items():
        set_parameters(index, f"{name}={value}")
    return index


def _setting(spec: Scan | Ivf | Imi | Hnsw) -> dict[str, int]:
    """The setting as given, under faiss's names."""
    if isinstance(spec, Scan):
        return {}
    return {"efSearch": spec.ef} if isinstance(spec, Hnsw) else {"nprobe": spec.nprobe}


def set_parameters(index: faiss.Index, parameters: str) -> None:
    """Sets what faiss's ParameterSpace names, such as "nprobe=16,k_factor_rf=4"; nprobe is at most the cells."""
    space = faiss.ParameterSpace()
    for parameter in filter(None, parameters.split(",")):
        name, value = parameter.split("=")
        most = faiss.extract_index_ivf(index).nlist if name == "nprobe" else float("inf")
        space.set_index_parameter(index, name, min(float(value), most))


def _family(spec: Scan | Ivf | Imi | Hnsw, n: int, d: int) -> faiss.Index:
    """The empty index of its family and code, by faiss's factory: "OPQ16,IVF512,PQ16np" and the like."""
    parts = code_parts(spec.code)
    # np: no polysemous training, an annealing that costs 20 times the rest and serves Hamming search alone
    code = {"flat": "Flat", "sq8": "SQ8"}.get(spec.code, f"PQ{parts}{'x4fs' if spec.code.endswith('x4fs') else 'np'}")
    rotation = f"OPQ{parts}," if spec.code.startswith("opq") else ""
    if isinstance(spec, Scan):
        index = faiss.index_factory(d, rotation + code, faiss.METRIC_INNER_PRODUCT)
    elif isinstance(spec, Hnsw):
        index = faiss.index_factory(d, f"HNSW{spec.links}_{code}", faiss.METRIC_INNER_PRODUCT)
        innermost(index).hnsw.efConstruction = spec.ef_construction
    elif isinstance(spec, Ivf):
        nlist = _nlists(spec, n)[0]
        index = faiss.index_factory(d, f"{rotation}IVF{nlist},{code}", faiss.METRIC_INNER_PRODUCT)
        faiss.extract_index_ivf(index).cp.min_points_per_centroid = 1  # few documents: less exact, not wrong
    else:
        index = _multi_index(f"{rotation}IMI2x{spec.bits},{code}", d)
    quantiser = getattr(innermost(index), "pq", None)
    if quantiser is not None:
        quantiser.cp.min_points_per_centroid = 1
    return index


def _multi_index(factory: str, d: int) -> faiss.Index:
    """An IMI whose cells are chosen by L2, which orders as the cosine does on unit vectors, and scanned by the inner
    product: faiss's factory knows it under L2 alone, where a document without a known word (the zero vector) would be
    nearer than one of cosine 0.4."""
    index = faiss.index_factory(d, factory, faiss.METRIC_L2)
    inner = faiss.extract_index_ivf(index)
    inner.metric_type = index.metric_type = faiss.METRIC_INNER_PRODUCT
    if factory.endswith("SQ8"):
        inner.by_residual = False  # its residuals would be added to L2 distances of the cells
    return index


def innermost(index: faiss.Index) -> Any:
    """The index behind rotations and second looks. The outer one has to outlive it."""
    inner = faiss.downcast_index(index)
    if isinstance(inner, faiss.IndexPreTransform):
        return innermost(inner.index)
    if isinstance(inner, faiss.IndexRefine):
        return innermost(inner.base_index)
    return inner


def _shortened(index: faiss.Index, spec: Scan | Ivf | Imi | Hnsw, vectors: Float32) -> faiss.Index:
    """The index behind what shortens vectors: a prefix of unit length, the principal directions."""
    if spec.prefix is None and spec.pca is None:
        return index
    d = vectors.shape[1]
    chain = index if isinstance(index, faiss.IndexPreTransform) else faiss.IndexPreTransform(index)
    if chain is not index:
        index.this.disown()  # the chain frees what it holds, as those of faiss's factory do
        chain.own_fields = True
    steps: list[Any] = []
    start = spec.prefix or d
    if spec.pca is not None:
        steps.append(_principal(vectors[:, :start], spec.pca, renormalised=spec.prefix is not None))
    if spec.prefix is not None:
        steps += [faiss.NormalizationTransform(start, 2.0), faiss.RemapDimensionsTransform(d, start, False)]
    for step in steps:
        chain.prepend_transform(step)
        step.this.disown()
    return chain


def _principal(vectors: Float32, kept: int, renormalised: bool) -> faiss.LinearTransform:
    """The projection on the leading eigenvectors of E[x xᵀ], which keeps inner products best.

    Unlike faiss's PCAMatrix it takes no mean off: that would add a term of its own to each document's inner product.
    """
    sample = vectors.astype(np.float64)
    if renormalised:
        sample = sample / np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), 1e-12)
    _, directions = np.linalg.eigh(sample.T @ sample)
    rows = np.ascontiguousarray(directions.T[::-1][:kept], np.float32)
    projection = faiss.LinearTransform(vectors.shape[1], kept, False)
    faiss.copy_array_to_vector(rows.ravel(), projection.A)
    projection.is_trained = True
    return projection


def _check_vectors(vectors: Float32) -> None:
    if not np.isfinite(vectors).all():
        raise InputError(
            "the embeddings hold values that are not numbers; train the arm again with a lower learning_rate"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    # A document without a known n-gram has the zero vector, and in an ensemble it may be zero in some parts alone.
    wrong = lengths > 1 + 1e-3
    if wrong.any():
        raise InputError(f"{wrong.sum()} of {len(vectors)} embeddings are longer than 1: normalise them first")
