"""The `runner` section of an experiment file: where stages run, if not in one process."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from data.experiment.source_config import refuse_secret
from ebr_core.frozen import Frozen


class Dask(Frozen):
    """A Dask cluster that runs the stages. Its workers see the same EBR_HOME, experiment file and logs under the same
    paths, and have this version installed."""

    kind: Literal["dask"] = "dask"
    address: str | None = Field(
        None,
        pattern=r"^[a-z]+://\S+$",
        description="the scheduler's address, tcp://host:8786; default: a cluster on this machine",
    )
    workers: int = Field(2, ge=1, le=256, description="number of processes of the cluster on this machine")

    @field_validator("address")
    @classmethod
    def _no_secret(cls, address: str | None) -> str | None:
        refuse_secret(address, "put the keys of a scheduler into Dask's own settings")
        return address
