"""The address that a client command calls: HOST:PORT, and a plain sentence for everything that people write instead."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_PORT = 50051

_URL = re.compile(r"(https?|grpcs?)://([^/?#]*)", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")
# gRPC's own ways to write an address, for whoever needs one.
_GRPC_FORMS = ("dns:", "unix:", "unix-abstract:", "ipv4:", "ipv6:")


class HostPort(NamedTuple):
    """An address in two parts; an IPv6 host has no brackets."""

    host: str
    port: int


def check_address(text: str) -> str:
    """`text` if gRPC can call it. Raises ValueError with what to write instead."""
    if not text.startswith(_GRPC_FORMS):
        host_port(text)
    return text


def host_port(text: str) -> HostPort:
    """The parts of HOST:PORT or [IPV6]:PORT. Raises ValueError with what to write instead."""
    if url := _URL.match(text):
        place = url[2].rpartition("@")[2]
        place = place if re.search(r":\d+$", place) else f"{place or 'HOST'}:{DEFAULT_PORT}"
        how = " with --tls" if url[1].lower() in ("https", "grpcs") else ""
        raise ValueError(f"is a URL, and gRPC takes an address: write {place}{how}")
    if _is_ipv6(text.strip("[]")):
        # Seven colons and an eighth group: the port cannot be told from the address.
        raise ValueError(f"needs brackets and a port: write [{text.strip('[]')}]:{DEFAULT_PORT}")
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"has no port: write {text or 'HOST'}:{DEFAULT_PORT}")
    if host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1]):
        host = host[1:-1]
    elif not _HOST.fullmatch(host):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise ValueError(f"needs a port from 1 to 65535 after its last colon: write {host}:{DEFAULT_PORT}")
    return HostPort(host, int(port))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return False
    return True
