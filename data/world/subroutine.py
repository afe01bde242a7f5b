"""Compile the parts of kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def subroutine(function: Function) -> Function:
    """The compiled function, which only compiled functions can call.

    It has no wrappers for calls from Python and C, which take long to compile where an argument holds many arrays.
    """
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # numba's stubs lack them
    compiled: Function = numba.njit(cache=True, **options)(function)
    return compiled
