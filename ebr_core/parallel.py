"""Compiled kernels that divide their rows among threads, if there are enough rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numba

MIN_SHARED_ROWS = (
    128  # rows; fewer are finished before a sleeping thread wakes: a row takes about a microsecond (LOG.md)
)


def parallel(rows: str, fastmath: set[str] | bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that compiles a function whose `prange` runs over the parameter named `rows`.

    A call with fewer than SMALL rows runs on the calling thread alone: it wakes no other thread and waits for none.
    The rows of a `prange` do not depend on each other, so the result has the same bytes either way. Arguments are
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
