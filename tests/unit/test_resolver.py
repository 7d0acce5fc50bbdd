"""Names are looked up rarely and one at a time, and an outage of name servers is no outage of connections."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from gateway import resolver as module
from gateway.resolver import Addresses, Resolver, system_addresses, verified_name
from tests.support.conditions import eventually

ONE, TWO = "192.0.2.1", "192.0.2.2"


class NameServer:
    """Answers when it is told to. `answers` is what the next lookups get: addresses, or an error."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Addresses | OSError = (ONE, TWO)
        self.events: list[threading.Event] = []
        self.goes = self.renew()
        self.goes.set()
        self.now = 1000.0
        self.resolver = Resolver(self._look_up, lambda: self.now)

    def renew(self) -> threading.Event:
        """Lookups from now on wait for another event."""
        self.goes = threading.Event()
        self.events.append(self.goes)
        return self.goes

    def _look_up(self, host: str) -> Addresses:
        goes, answer = self.goes, self.answer
        self.asked.append(host)
        assert goes.wait(30)
        if isinstance(answer, OSError):
            raise answer
        return answer


@pytest.fixture
def names() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    for event in server.events:
        event.set()


OUTAGE = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def test_many_connections_share_one_lookup(names: NameServer) -> None:
    """60 searches at 200 ms per lookup once waited for 60 lookups, two at a time."""
    names.goes.clear()
    waiting = [asyncio.ensure_future(names.resolver.addresses("vendor.example")) for _ in range(60)]
    await eventually(lambda: bool(names.asked), "the lookup has begun")
    names.goes.set()
    assert set(await asyncio.gather(*waiting)) == {(ONE, TWO)}
    names.now += module.FRESH_SECONDS - 0.1
    assert await names.resolver.addresses("vendor.example") == (ONE, TWO)
    assert names.asked == ["vendor.example"]


async def test_addresses_are_looked_up_again_after_a_short_time(names: NameServer) -> None:
    """A name may lead elsewhere any time."""
    await names.resolver.addresses("vendor.example")
    names.now += module.FRESH_SECONDS
    names.answer = (TWO,)
    assert await names.resolver.addresses("vendor.example") == (TWO,)


async def test_a_name_that_hangs_holds_up_no_other_name(names: NameServer) -> None:
    """Of twenty names that hang none keeps the store's from being found."""
    names.goes.clear()
    hanging = [asyncio.ensure_future(names.resolver.addresses(f"{number}.example")) for number in range(20)]
    await eventually(lambda: len(names.asked) == 20, "all are asked for")
    names.renew().set()
    assert await names.resolver.addresses("store.example") == (ONE, TWO)
    assert not any(one.done() for one in hanging)
    for one in hanging:
        one.cancel()


async def test_the_last_good_addresses_are_used_while_lookups_fail(names: NameServer) -> None:
    """For an hour; then the name counts as unknown."""
    await names.resolver.addresses("vendor.example")
    names.answer = OUTAGE
    for _ in range(3):
        names.now += module.FRESH_SECONDS
        assert await names.resolver.addresses("vendor.example") == (ONE, TWO)
    names.now += module.KEEP_SECONDS
    with pytest.raises(socket.gaierror) as caught:
        await names.resolver.addresses("vendor.example")
    assert caught.value.errno == socket.EAI_AGAIN


async def test_the_last_good_addresses_are_used_while_a_lookup_hangs(names: NameServer) -> None:
    """It is waited for once, and not by every connection."""
    await names.resolver.addresses("vendor.example")
    names.goes.clear()
    names.now += module.FRESH_SECONDS
    async with asyncio.timeout(10):
        assert await names.resolver.addresses("vendor.example") == (ONE, TWO)
    names.now += module.PATIENCE_SECONDS
    waiting = names.resolver.addresses("vendor.example")
    with pytest.raises(StopIteration, check=lambda stop: stop.value == (ONE, TWO)):
        waiting.send(None)
    assert len(names.asked) == 2
    names.goes.set()


async def test_a_lookup_that_hangs_for_long_is_begun_again(names: NameServer) -> None:
    """The name server that the first one asked may be gone; its late answer is older and changes nothing."""
    first = names.renew()
    waiting = asyncio.ensure_future(names.resolver.addresses("vendor.example"))
    await eventually(lambda: len(names.asked) == 1, "the first lookup hangs")
    names.now += module.HUNG_SECONDS
    names.answer = (TWO,)
    names.renew().set()
    assert await names.resolver.addresses("vendor.example") == (TWO,)
    assert await waiting == (TWO,)
    first.set()
    await eventually(lambda: names.resolver._running == 0, "the first lookup ends")
    assert await names.resolver.addresses("vendor.example") == (TWO,)


async def test_a_name_that_is_not_there_is_not_asked_for_by_every_connection(names: NameServer) -> None:
    """An answer that comes at once is remembered for a second, in which the error is the same."""
    names.answer = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    for _ in range(5):
        with pytest.raises(socket.gaierror) as caught:
            await names.resolver.addresses("vendor.example")
        assert caught.value.errno == socket.EAI_NONAME
    assert len(names.asked) == 1
    names.now += module.AGAIN_SECONDS
    names.answer = (ONE,)
    assert await names.resolver.addresses("vendor.example") == (ONE,)


async def test_an_address_that_failed_comes_last_for_a_while(names: NameServer) -> None:
    """So that not every new connection waits for it; and the name is looked up again, for it may have moved."""
    await names.resolver.addresses("vendor.example")
    names.resolver.failed("vendor.example", ONE)
    assert await names.resolver.addresses("vendor.example") == (TWO, ONE)
    assert len(names.asked) == 1
    names.now += module.AGAIN_SECONDS
    assert await names.resolver.addresses("vendor.example") == (TWO, ONE)
    assert len(names.asked) == 2
    names.resolver.failed("vendor.example", TWO)
    assert await names.resolver.addresses("vendor.example") == (ONE, TWO)
    names.resolver.answered("vendor.example", ONE)
    names.now += module.BAD_SECONDS
    assert await names.resolver.addresses("vendor.example") == (ONE, TWO)


async def test_lookups_that_hang_are_bounded(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a thread. A cluster's map can hold any number of names."""
    monkeypatch.setattr(module, "MAX_LOOKUPS", 3)
    names.goes.clear()
    hanging = [asyncio.ensure_future(names.resolver.addresses(f"{number}.example")) for number in range(3)]
    await eventually(lambda: len(names.asked) == 3, "three hang")
    with pytest.raises(socket.gaierror):
        await names.resolver.addresses("one-more.example")
    names.goes.set()
    await asyncio.gather(*hanging)
    assert await names.resolver.addresses("one-more.example") == (ONE, TWO)


async def test_names_that_are_remembered_are_bounded(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were used last stay."""
    monkeypatch.setattr(module, "MAX_NAMES", 2)
    for host in ("a.example", "b.example", "a.example", "c.example", "a.example"):
        await names.resolver.addresses(host)
    assert names.asked == ["a.example", "b.example", "c.example"]


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::1", "[2001:db8::1]", "fe80::1%2"])
async def test_an_address_is_not_looked_up(host: str, names: NameServer) -> None:
    """It leads to itself."""
    assert await names.resolver.addresses(host) == (host.strip("[]"),)
    assert names.asked == []


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "\0", "no-such-name.invalid"])
async def test_what_is_no_name_is_an_error_of_names(host: str) -> None:
    """Whatever the system's own function raises."""
    with pytest.raises(OSError):  # noqa: PT011 - of whichever kind
        await Resolver(system_addresses).addresses(host)


async def test_a_caller_that_gives_up_takes_nobody_s_lookup_away(names: NameServer) -> None:
    """The lookup is everybody's."""
    names.goes.clear()
    impatient = asyncio.ensure_future(names.resolver.addresses("vendor.example"))
    patient = asyncio.ensure_future(names.resolver.addresses("vendor.example"))
    await eventually(lambda: bool(names.asked), "the lookup has begun")
    impatient.cancel()
    await asyncio.wait((impatient,))
    names.goes.set()
    assert await patient == (ONE, TWO)


def test_a_lookup_that_outlives_its_loop_ends_in_silence(names: NameServer) -> None:
    """Its thread is a daemon: it holds up no process either."""
    names.goes.clear()

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(names.resolver.addresses("vendor.example"), 0.01)

    asyncio.run(leave())
    threads = [one for one in threading.enumerate() if one.name == "resolver"]
    assert threads
    assert all(thread.daemon for thread in threads)
    names.goes.set()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_a_dot_at_the_end_is_no_part_of_a_certificate_s_name() -> None:
    """It only tells name servers not to try other endings."""
    assert verified_name("vendor.example.") == verified_name("vendor.example") == "vendor.example"
