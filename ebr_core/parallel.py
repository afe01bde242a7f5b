"""Compiled kernels that divide their rows among threads, if there are enough rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numba

from ebr_core.errors import InputError
from ebr_core.lazy_torch import use_torch_threads

MIN_SHARED_ROWS = 128  # fewer are finished before a sleeping thread wakes: a row takes about a microsecond (LOG.md)


def parallel(rows: str, fastmath: set[str] | bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that compiles a function whose `prange` runs over the parameter named `rows`.

    A call with fewer than MIN_SHARED_ROWS rows runs on the calling thread alone: it wakes no other thread and waits for
    none. The rows of a `prange` do not depend on each other, so the result has the same bytes either way. Arguments are
    positional. Compiled code cannot call the function.
    """

    def compile_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
        kernel = numba.njit(cache=True, nogil=True, parallel=True, fastmath=fastmath)(function)
        rows_position = function.__code__.co_varnames.index(rows)

        @wraps(function)
        def call(*arguments: Any) -> Any:
            threads = numba.get_num_threads()
            if threads == 1 or len(arguments[rows_position]) >= MIN_SHARED_ROWS:
                return kernel(*arguments)
            numba.set_num_threads(1)
            try:
                return kernel(*arguments)
            finally:
                numba.set_num_threads(threads)

        return call

    return compile_kernel


def use_threads(threads: int) -> None:
    """Fix the threads of torch, numba and faiss for the calling thread, so that arms can run side by side.

    Raises InputError if the machine has fewer threads.
    """
    import faiss  # here, because settings are read long before anything computes, and torch takes seconds

    available = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # numba sets its config while importing
    if threads > available:
        raise InputError(f"threads: {threads}, but this machine has {available}; set at most that many")
    numba.set_num_threads(threads)  # first: the first call of a process sets those of OpenMP to all, torch's among them
    use_torch_threads(threads)
    faiss.omp_set_num_threads(threads)
    faiss.cvar.distance_compute_blas_threshold = 20  # its default, 128,000, trains PQ 13 times slower (LOG.md)
