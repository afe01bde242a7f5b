"""Open an engine by its kind. The clients of engines are optional, and imported here alone."""

from __future__ import annotations

import os
from typing import NamedTuple, assert_never

from data.experiment.export_config import EngineKind, Export, default_alias
from ebr_core.errors import InputError
from ebr_core.extras import install_command
from tasks.engines.search_engine import SearchEngine

ADDRESS = "EBR_ENGINE_URL"  # the variable that holds an address, unless another is named


class EngineAddress(NamedTuple):
    """An engine, its address, which may hold a password, and the alias."""

    kind: EngineKind
    url: str
    alias: str


def address_in(variable: str) -> str:
    """The address in an environment variable. Raises InputError if it is not set."""
    if url := os.environ.get(variable, ""):
        return url
    raise InputError(
        f"the environment variable {variable} is not set; put the engine's address into it, or name another variable "
        "with --url-from (nightly.export.url_from)"
    )


def address_of(export: Export, experiment: str) -> EngineAddress:
    """The engine that an experiment names. Raises InputError if its variable is not set."""
    url = export.url or address_in(export.url_from or ADDRESS)
    return EngineAddress(export.to, url, export.alias or default_alias(experiment))


def open_engine(address: EngineAddress) -> SearchEngine:
    """The engine, connected. Raises InputError if its client is not installed, or if it cannot be reached."""
    kind, url, alias = address
    try:
        match kind:
            case "lancedb":
                from tasks.engines.lancedb_engine import LanceEngine

                return LanceEngine(url, alias)
            case "pgvector":
                from tasks.engines.pgvector_engine import PgvectorEngine

                return PgvectorEngine(url, alias)
            case "opensearch":
                from tasks.engines.opensearch_engine import OpenSearchEngine

                return OpenSearchEngine(url, alias)
            case _:
                assert_never(kind)
    except ModuleNotFoundError as error:
        raise InputError(f"--to {kind} needs a package that is not installed: {install_command(kind)}") from error
