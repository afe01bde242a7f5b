"""Where the stages of an experiment run, when not in one process."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from data.experiment.log_config import refuse_secret
from ebr_core.frozen import Frozen


class Dask(Frozen):
    """Stages run by a Dask cluster. Its workers see the same EBR_HOME, experiment file and logs, under the same paths,
    and have this version installed."""

    kind: Literal["dask"] = "dask"
    address: str | None = Field(
        None, pattern=r"^[a-z]+://\S+$", description="its scheduler, tcp://host:8786; none: a cluster on this machine"
    )
    workers: int = Field(2, ge=1, le=256, description="processes of the cluster on this machine")

    @field_validator("address")
    @classmethod
    def _no_secret(cls, address: str | None) -> str | None:
        refuse_secret(address, "keys of a scheduler belong into Dask's own settings")
        return address
