"""The one error that a user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """What the user brought cannot be used. The message says what was got, what was expected, and the way out."""
