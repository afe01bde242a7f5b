"""A failure is on the terminal once."""

from __future__ import annotations

import logging

import pytest

from flows.app.session import _is_news


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Task run failed with exception: InputError('hard_share 0.9 …')", True),
        ("Finished in state Failed('Task run encountered an exception InputError: hard_share 0.9 …')", False),
        ("Finished in state NotReady(\"Upstream task run '01a2' did not reach a 'COMPLETED' state.\")", False),
        ("Finished in state Crashed('Execution was interrupted')", True),
    ],
)
def test_what_follows_from_a_failure_is_not_printed_again(message: str, expected: bool) -> None:
    record = logging.LogRecord("prefect.task_runs", logging.ERROR, __file__, 1, message, None, None)
    assert _is_news(record) is expected
