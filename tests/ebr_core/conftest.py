"""Thread counts are settings of the process: each test starts with one thread, and the counts are restored after it."""

from __future__ import annotations

from collections.abc import Iterator

import faiss
import numba
import pytest
import torch

from ebr_core.parallel import use_threads


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = numba.get_num_threads(), torch.get_num_threads(), faiss.omp_get_max_threads()
    blas = faiss.cvar.distance_compute_blas_threshold
    use_threads(1)
    yield
    numba.set_num_threads(before[0])
    torch.set_num_threads(before[1])
    faiss.omp_set_num_threads(before[2])
    faiss.cvar.distance_compute_blas_threshold = blas
