"""Prefect's server without its pages, as a process of its own: python -m flows.process.prefect_server PORT."""

from __future__ import annotations

import asyncio
import sys

from flows.process.prefect_database import create_database


def main(port: int) -> None:
    """Serve Prefect's API on loopback until the process is asked to end."""
    import uvicorn

    asyncio.run(create_database())
    app = "prefect.server.api.server:create_app"
    uvicorn.run(app, factory=True, host="127.0.0.1", port=port, log_level="error", lifespan="on")


if __name__ == "__main__":
    main(int(sys.argv[1]))
