"""The name of an environment variable, as an experiment file gives it in place of a secret."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
