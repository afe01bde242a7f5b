"""Threads that were fixed before torch was there hold once it is, each in the thread that fixed them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import numba
import pytest

from ebr_core.lazy_torch import torch
from ebr_core.parallel import use_threads

TWO_ARMS = """
import sys, threading
from ebr_core.lazy_torch import torch
from ebr_core.parallel import use_threads

assert "torch" not in sys.modules
both = threading.Barrier(2)
counts = {}

def train(threads):
    use_threads(threads)
    both.wait()
    counts[threads] = torch.get_num_threads()
    torch.ones(200, 200) @ torch.ones(200, 200)
    both.wait()
    counts[-threads] = torch.get_num_threads()

arms = [threading.Thread(target=train, args=(threads,)) for threads in (1, 2)]
for arm in arms:
    arm.start()
for arm in arms:
    arm.join()
print(sorted(counts.items()))
"""

FIRST_CALL = """
from ebr_core.lazy_torch import torch
from ebr_core.parallel import parallel, use_threads
import faiss, numba, numpy as np

{first}
use_threads(1)
torch.ones(200, 200) @ torch.ones(200, 200)
print(torch.get_num_threads(), numba.get_num_threads(), faiss.omp_get_max_threads())
"""


@pytest.fixture(autouse=True)
def _two_cores() -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:  # type: ignore[attr-defined]  # numba sets its config while importing
        pytest.skip("this machine has one core")


def test_arms_side_by_side_keep_the_threads_that_they_fixed_before_the_import() -> None:
    done = subprocess.run([sys.executable, "-c", TWO_ARMS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(-2, 2), (-1, 1), (1, 1), (2, 2)]"


@pytest.mark.parametrize("first", ["", "torch.get_num_threads()", "faiss.omp_set_num_threads(2)"])
def test_the_first_call_of_a_process_fixes_the_threads_of_all_libraries(first: str) -> None:
    # numba starts its threads at its first call, and sets the number of OpenMP, which is torch's and faiss's, to all
    done = subprocess.run([sys.executable, "-c", FIRST_CALL.format(first=first)], capture_output=True, text=True)
    assert done.stdout.strip() == "1 1 1", done.stderr


def test_an_arm_keeps_its_thread_when_another_asks_for_more_before_its_first_product() -> None:
    torch.get_num_threads()  # torch is there
    asked_for_one, asked_for_two = threading.Event(), threading.Event()
    counts: dict[str, int] = {}

    def first() -> None:
        use_threads(1)
        asked_for_one.set()
        asked_for_two.wait()
        counts["first"] = torch.get_num_threads()

    def second() -> None:
        asked_for_one.wait()
        use_threads(2)
        asked_for_two.set()
        counts["second"] = torch.get_num_threads()

    _run(first, second)
    assert counts == {"first": 1, "second": 2}


def _run(*functions: Callable[[], None]) -> None:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
