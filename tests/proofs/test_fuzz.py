"""Broken logs and experiment files are read correctly or refused with a clear error (`make prove` tries thousands)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.fuzz import FuzzVerdict, format_table, fuzz, try_input

pytestmark = pytest.mark.more

VERDICTS: Counter[str] = Counter()


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(number=st.integers(0, 2**32))
def test_an_input_is_read_correctly_or_refused(number: int) -> None:
    outcome = try_input(number)
    VERDICTS[outcome.verdict] += 1
    assert outcome.verdict != "bug", f"python -m proofs.fuzz 1 {number}\n{outcome.message}"


def test_some_inputs_are_read_and_some_refused() -> None:
    """Otherwise the test above would prove little."""
    assert min(VERDICTS["read"], VERDICTS["refused"]) > 20


def test_an_input_that_is_read_wrongly_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product that silently loses a row, or breaks, is reported as a bug."""
    monkeypatch.setattr("proofs.fuzz_inputs.rows_in", lambda _path: 59)
    outcomes = [try_input(number) for number in range(0, 28, 7)]  # CSV and Parquet, some of which are read
    assert any("59 rows, of which 60 were read" in outcome.message for outcome in outcomes)
    monkeypatch.setattr("flows.app.check.describe_experiment", lambda _path: 1 / 0)
    assert "ZeroDivisionError" in try_input(0).message


def test_a_process_that_dies_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proofs.fuzz._work", kill_worker)
    monkeypatch.setattr("multiprocessing.get_context", lambda _way: __import__("multiprocessing").context.ForkContext())
    outcomes = list(fuzz(range(2)))
    assert [(number, verdict.verdict, verdict.message) for number, verdict in outcomes] == [
        (number, "bug", "crashed, -9") for number in (0, 1)
    ]
    assert "| process | 0 / 0 / 1 | 0 / 0 / 1 |" in format_table([FuzzVerdict(*verdict[1]) for verdict in outcomes])


def kill_worker(pipe: object) -> None:
    """A worker that a crash of a native reader ends."""
    import os
    import signal

    pipe.recv()  # type: ignore[attr-defined]
    os.kill(os.getpid(), signal.SIGKILL)
