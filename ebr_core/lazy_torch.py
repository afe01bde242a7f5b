"""torch, imported when something first computes with it: the import takes seconds, and most commands need none of it.

    from ebr_core.lazy_torch import torch

stands where `import torch` would, in every module of this project.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

_thread = threading.local()  # `wanted`: the threads that the calling thread asked for before torch was there


def use_torch_threads(threads: int) -> None:
    """Fix the threads of torch for the calling thread, whether torch is there or is imported later, by any thread."""
    _thread.wanted = threads
    if "torch" in sys.modules:
        _imported()


def _imported() -> Any:
    """torch, with the threads that the calling thread asked for."""
    import torch  # waits for another thread that is importing it

    wanted = _thread.__dict__.pop("wanted", None)
    if wanted is not None:
        torch.get_num_threads()  # else the first product of this thread takes the number that another has set since
        torch.set_num_threads(wanted)
    return torch


class _Torch:
    def __getattr__(self, name: str) -> Any:
        return getattr(_imported(), name)


if TYPE_CHECKING:
    import torch as torch
else:
    torch = _Torch()
