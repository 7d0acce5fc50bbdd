"""What a process has to put right before anything else is imported. Imports nothing itself but the standard library.

Some environment variables make libraries print or store what they handle: callers' tokens, images, session keys. They are
meant for a developer's machine, but an environment is set by whoever can edit a deployment, so the gateway takes them out
before any library reads them, and says which ones. A standard descriptor that is closed is opened on the null device:
otherwise the next socket gets its number, and whatever is printed goes to a caller.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping


def _always(_: str) -> bool:
    return True


def _chatty(value: str) -> bool:
    return value.strip().lower() in {"debug", "info"}


VARIABLES: Mapping[str, Callable[[str], bool]] = {
    # gRPC's core writes metadata, and with it tokens, and messages to stderr.
    "GRPC_TRACE": _always,
    "GRPC_VERBOSITY": _chatty,
    # OpenSSL's keys of every session, with which recorded traffic can be read: Python's `ssl`, aiohttp and httpx.
    "SSLKEYLOGFILE": _always,
    # asyncio writes the arguments of slow callbacks: data that was received.
    "PYTHONASYNCIODEBUG": _always,
}
"""The variables, and which of their values do harm."""

_removed: list[str] = []


def prepare(environ: MutableMapping[str, str]) -> None:
    """Takes harmful variables out of `environ` and opens closed standard descriptors. Call it before other imports."""
    for name, harmful in VARIABLES.items():
        value = environ.get(name)
        if value is not None and harmful(value):
            del environ[name]
            _removed.append(name)
    open_standard_descriptors()


def open_standard_descriptors() -> None:
    """Opens each closed one of stdin, stdout and stderr on the null device."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one, since those below it are open.
            os.open(os.devnull, os.O_RDWR)


def take_removed() -> list[str]:
    """The names of the variables that were removed, once."""
    removed = _removed[:]
    _removed.clear()
    return removed
