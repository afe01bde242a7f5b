"""Compiled kernels that share their rows among threads, but only where there are enough rows to share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numba

SMALL = 128  # rows; fewer are done before a sleeping thread wakes: a row takes about a microsecond (LOG.md)


def parallel(rows: str, fastmath: set[str] | bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that compiles a function whose `prange` runs over the parameter named `rows`.

    A call with fewer than SMALL rows takes the calling thread alone and neither wakes another thread nor waits for it.
    The rows of a `prange` do not depend on each other, so the result is the same bytes either way. Arguments are
    positional; compiled code cannot call the function.
    """

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        kernel = numba.njit(cache=True, nogil=True, parallel=True, fastmath=fastmath)(function)
        at = function.__code__.co_varnames.index(rows)

        @wraps(function)
        def call(*arguments: Any) -> Any:
            threads = numba.get_num_threads()
            if threads == 1 or len(arguments[at]) >= SMALL:
                return kernel(*arguments)
            numba.set_num_threads(1)
            try:
                return kernel(*arguments)
            finally:
                numba.set_num_threads(threads)

        return call

    return compiled
