"""Remarks on what an arm has learned from."""

from __future__ import annotations


def is_leak(remark: str | None) -> bool:
    """True for a remark of leak_remark on answers of the test; False for one on what may be some, and without one."""
    return (remark or "").startswith("leaks")
