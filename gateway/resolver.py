"""Where a host name leads: looked up in threads of our own, remembered for a short time, and kept through an outage.

For every connection that the gateway opens itself: to the vendor, a proxy, the stores. uvloop looks names up in two
threads, so that one name server that hangs holds up every other name. Here each name has a lookup of its own, one at a
time, and hundreds of connections share its answer. Knows no port and no protocol; `dial.py` connects.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from weakref import WeakKeyDictionary

FRESH_SECONDS = 10.0
"""How long addresses are used without another lookup. Libraries do not say how long a name server lets them live."""
AGAIN_SECONDS = 1.0
"""The minimum between two lookups of a name that fails, or whose addresses do."""
KEEP_SECONDS = 3600.0
"""How long the last good addresses are used while lookups fail."""
PATIENCE_SECONDS = 0.25
"""How long a lookup is waited for while there are older addresses."""
HUNG_SECONDS = 10.0
"""After so long another lookup of the same name is begun: the server that the first one asked may be gone."""
BAD_SECONDS = 30.0
"""How long an address that failed comes after the others of its name."""
MAX_LOOKUPS = 32
MAX_NAMES = 256

Addresses = tuple[str, ...]


def system_addresses(host: str) -> Addresses:
    """The addresses of `host` by the system's own means. Blocks. Raises `OSError`."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        # Not even the form of a name.
        raise socket.gaierror(socket.EAI_NONAME, "") from None
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


@dataclass(slots=True, eq=False)
class _Lookup:
    began: float
    ended: asyncio.Future[None]


@dataclass(slots=True)
class _Name:
    addresses: Addresses = ()
    found_at: float = float("-inf")
    looked_at: float = float("-inf")
    doubtful: bool = False
    fault: int | None = None
    lookups: list[_Lookup] = field(default_factory=list)
    bad: dict[str, float] = field(default_factory=dict)

    def sorted(self, now: float) -> Addresses:
        """The addresses, those that failed lately last."""
        bad = {address: since for address, since in self.bad.items() if now - since < BAD_SECONDS}
        return tuple(sorted(self.addresses, key=lambda address: bad.get(address, float("-inf"))))


class Resolver:
    """The names that connections of one event loop go to. `look_up` blocks, and runs in a thread."""

    def __init__(
        self, look_up: Callable[[str], Addresses] = system_addresses, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._look_up = look_up
        self._now = now
        self._names: dict[str, _Name] = {}
        self._running = 0

    async def addresses(self, host: str) -> Addresses:
        """At least one address of `host`, in the order in which to try them. Raises `OSError` if none is known.

        Waits as long as the lookup takes if there are no addresses yet: the time limit is the caller's.
        """
        if _is_address(host):
            return (host.strip("[]"),)
        name, now = self._name(host), self._now()
        usable = now - name.found_at < KEEP_SECONDS
        recent = AGAIN_SECONDS if name.doubtful or name.fault is not None else FRESH_SECONDS
        if now - name.looked_at >= recent:
            lookup = self._begin(host, name, now)
            if lookup is None:
                # The lookup could not be begun: the system has no thread for it, or too many names hang.
                name.fault = socket.EAI_AGAIN
            elif not usable:
                await asyncio.shield(lookup.ended)
            elif (wait := lookup.began + PATIENCE_SECONDS - now) > 0:
                await asyncio.wait((lookup.ended,), timeout=wait)
        if self._now() - name.found_at < KEEP_SECONDS:
            return name.sorted(self._now())
        raise socket.gaierror(name.fault or socket.EAI_AGAIN, "the name cannot be looked up")

    def failed(self, host: str, address: str) -> None:
        """A connection to `address` failed: others of the name come first for a while, and it is looked up again soon."""
        name = self._names.get(host)
        if name is not None and address in name.addresses:
            name.bad[address] = self._now()
            name.doubtful = True

    def answered(self, host: str, address: str) -> None:
        """A connection to `address` was made."""
        name = self._names.get(host)
        if name is not None and name.bad:
            name.bad.pop(address, None)

    def _name(self, host: str) -> _Name:
        name = self._names.pop(host, None) or _Name()
        # The names that were used last stay, however many a cluster's map announces.
        self._names[host] = name
        if len(self._names) > MAX_NAMES:
            del self._names[next(iter(self._names))]
        return name

    def _begin(self, host: str, name: _Name, now: float) -> _Lookup | None:
        """The newest lookup of a name; a new one if none is under way, or if that has hung for long."""
        if name.lookups and now - name.lookups[-1].began < HUNG_SECONDS:
            return name.lookups[-1]
        if self._running >= MAX_LOOKUPS:
            return name.lookups[-1] if name.lookups else None
        loop = asyncio.get_running_loop()
        lookup = _Lookup(now, loop.create_future())

        def run() -> None:
            found: Addresses = ()
            fault: int | None = None
            try:
                found = self._look_up(host)
            except OSError as error:
                fault = error.errno or socket.EAI_AGAIN
            # The loop may be gone when a lookup that hung comes back.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._ended, name, lookup, found, fault)

        try:
            # A daemon: a lookup that hangs must not hold up the end of the process.
            Thread(target=run, name="resolver", daemon=True).start()
        except RuntimeError:
            return None
        self._running += 1
        name.lookups.append(lookup)
        return lookup

    def _ended(self, name: _Name, lookup: _Lookup, found: Addresses, fault: int | None) -> None:
        self._running -= 1
        if lookup in name.lookups:
            # Those that began before it have nothing newer to say.
            newest = name.lookups.index(lookup) + 1
            ended, name.lookups = name.lookups[:newest], name.lookups[newest:]
            now = name.looked_at = self._now()
            name.doubtful, name.fault = False, fault
            if found:
                name.addresses, name.found_at = found, now
                name.bad = {address: since for address, since in name.bad.items() if address in found}
            for one in ended:
                if not one.ended.done():
                    one.ended.set_result(None)


_resolvers: WeakKeyDictionary[asyncio.AbstractEventLoop, Resolver] = WeakKeyDictionary()


def resolver() -> Resolver:
    """The one of the running event loop, which all connections share."""
    loop = asyncio.get_running_loop()
    found = _resolvers.get(loop)
    if found is None:
        found = _resolvers[loop] = Resolver()
    return found


def verified_name(host: str) -> str:
    """`host` as certificates name it: without the dot at the end, which tells a name server that a name is complete."""
    return host.removesuffix(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
