"""The error that a user can fix."""

from __future__ import annotations


class InputError(ValueError):
    """Raised for input that cannot be used. The message gives what was got, what was expected, and the way out."""
