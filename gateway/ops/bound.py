"""Sockets of the operators' listener: where `[::]` means every address of the machine, as it does for gRPC's listener."""

from __future__ import annotations

import errno
import ipaddress
import socket

_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def is_every_address(host: str) -> bool:
    """Whether `host` is `[::]`, however it is written."""
    return host.startswith("[") and ipaddress.IPv6Address(host[1:-1]).is_unspecified


def every_address(port: int) -> socket.socket:
    """A listening socket for IPv4 and IPv6, or for IPv4 alone where the system has no IPv6. Raises `OSError`."""
    try:
        # A socket for both is asked for by name: `asyncio` opens one for IPv6 alone.
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
    except ValueError:
        # No IPv6, or no socket for both kinds.
        pass
    return socket.create_server(("0.0.0.0", port), backlog=100)  # noqa: S104 - what the setting says
