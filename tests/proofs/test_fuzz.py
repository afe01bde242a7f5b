"""Broken logs and experiment files: each is read right or refused with a clear error (`make prove` tries thousands)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.fuzz import FuzzVerdict, fuzz, shown, tried

SEEN: Counter[str] = Counter()


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(number=st.integers(0, 2**32))
def test_an_input_is_read_right_or_refused(number: int) -> None:
    outcome = tried(number)
    SEEN[outcome.verdict] += 1
    assert outcome.verdict != "bug", f"python -m proofs.fuzz 1 {number}\n{outcome.told}"


def test_both_happen() -> None:
    """Else the test above would prove little."""
    assert min(SEEN["read"], SEEN["refused"]) > 20


def test_what_is_not_read_right_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that loses a row without a word, or breaks, is told as a bug."""
    monkeypatch.setattr("proofs.fuzz_inputs.rows_in", lambda _path: 59)
    found = [tried(number) for number in range(0, 28, 7)]  # in CSV and Parquet, of which some are read
    assert any("59 rows, of which 60 were read" in outcome.told for outcome in found)
    monkeypatch.setattr("flows.app.check.describe_experiment", lambda _path: 1 / 0)
    assert "ZeroDivisionError" in tried(0).told


def test_a_process_that_dies_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proofs.fuzz._work", dies)
    monkeypatch.setattr("multiprocessing.get_context", lambda _way: __import__("multiprocessing").context.ForkContext())
    outcomes = list(fuzz(range(2)))
    assert [(number, one.verdict, one.told) for number, one in outcomes] == [
        (number, "bug", "crashed, -9") for number in (0, 1)
    ]
    assert "| process | 0 / 0 / 1 | 0 / 0 / 1 |" in shown([FuzzVerdict(*one[1]) for one in outcomes])


def dies(pipe: object) -> None:
    """A worker that a native reader takes down with it."""
    import os
    import signal

    pipe.recv()  # type: ignore[attr-defined]
    os.kill(os.getpid(), signal.SIGKILL)
