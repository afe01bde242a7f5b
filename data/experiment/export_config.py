"""The search engine that a model is exported to: which one, its address, and the name that queries ask for."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from data.experiment.variable_names import Variable
from ebr_core.frozen import Frozen

EngineKind = Literal["pgvector", "lancedb", "opensearch"]
ALIAS = r"^[a-z][a-z0-9_]{0,39}$"


class Export(Frozen):
    """The search engine in which a night's champion also answers. The file names the variable that holds a secret,
    never its value."""

    to: EngineKind = Field(description="the engine")
    url: str | None = Field(
        None,
        description="the engine's address, without a password: postgresql://user@host/database, a LanceDB folder or "
        "s3:// address, or https://host:9200",
    )
    url_from: Variable | None = Field(None, description="the environment variable that holds the engine's address")
    alias: Annotated[str, Field(pattern=ALIAS)] | None = Field(
        None, description="the name that queries use in the engine; default: ebr_ and the name of the experiment"
    )

    @field_validator("url")
    @classmethod
    def _no_secret(cls, url: str | None) -> str | None:
        if url and ("?" in url or "password" in url or urlsplit(url).password is not None):
            raise ValueError(
                "an address with a password or a query may hold a secret; put it into an environment variable named by "
                "url_from"
            )
        return url

    @model_validator(mode="after")
    def _one_address(self) -> Export:
        if bool(self.url) + bool(self.url_from) != 1:
            raise ValueError("give exactly one of url and url_from")
        return self


def default_alias(name: str) -> str:
    """The alias of an experiment or arm of this name: its letters and digits, in lower case.

    >>> default_alias("Shop-2 (new)")
    'ebr_shop_2_new'
    """
    return ("ebr_" + re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"))[:40].rstrip("_")
