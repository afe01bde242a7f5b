"""A PostgreSQL with pgvector on a loopback port, with passwords, for the tests of the engine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "correct horse"
UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


class Postgres:
    """A server that runs: its port, and the folder of its programs and extensions, a copy of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.install, self.port = folder / "pgserver" / "pginstall", port

    def url(self, user: str = "postgres", password: str = PASSWORD, database: str = "postgres") -> str:
        """The address for a user."""
        return f"postgresql://{user}:{password.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"


@contextmanager
def run_postgres() -> Iterator[Postgres]:
    """A server with an empty database, which ends with the context."""
    found = importlib.util.find_spec("pgserver")
    assert found, "make test-more installs pgserver"
    package = Path(str(found.origin)).parent
    with tempfile.TemporaryDirectory(prefix="ebr-postgres-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        shutil.copytree(package, folder / "pgserver")
        shutil.copytree(package.with_name("pgserver.libs"), folder / "pgserver.libs")
        user = UNPRIVILEGED if os.geteuid() == 0 else None
        (folder / "password").write_text(PASSWORD)
        (folder / "data").mkdir()
        if user:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, user)
        server = Postgres(folder, _free_port())
        programs = server.install / "bin"
        run = {"check": True, "user": user, "cwd": folder, "stdout": subprocess.DEVNULL}
        access = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--username=postgres"]
        data = ["-D", str(folder / "data")]
        subprocess.run([str(programs / "initdb"), *data, *access, "--encoding=utf8", "--no-sync"], **run)
        options = f"-h 127.0.0.1 -p {server.port} -k '' -c fsync=off"
        subprocess.run(
            [str(programs / "pg_ctl"), *data, "-w", "-t", "120", "-l", str(folder / "log"), "-o", options, "start"],
            **run,
        )
        try:
            yield server
        finally:
            subprocess.run([str(programs / "pg_ctl"), *data, "-m", "immediate", "stop"], **run)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
