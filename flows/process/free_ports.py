"""The check that a port is free, before a server is started."""

from __future__ import annotations

import socket

from ebr_core.errors import InputError


def refuse_taken(host: str, port: int, flag: str) -> None:
    """Raise InputError if another process listens on the port, or the address is none of this machine. flag: the option
    that changes the port."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except socket.gaierror as error:
        raise InputError(f"{host}: no address of this machine ({error.strerror})") from error
    except OSError as error:
        raise InputError(f"port {port} on {host} is taken ({error.strerror}); choose another with {flag}") from error
