"""Name servers as tests want them: what a host name leads to, for whoever asks the system."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest


def resolve(monkeypatch: pytest.MonkeyPatch, host: str, *addresses: str, wait: Callable[[], object] = int) -> list[str]:
    """Lets `host` lead to these addresses, after `wait`. Returns the list of lookups of it, which grows."""
    original = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(name: Any, port: Any, *more: Any, **named: Any) -> Any:
        if name != host:
            return original(name, port, *more, **named)
        asked.append(name)
        wait()
        return [
            (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port))
            for one in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked
