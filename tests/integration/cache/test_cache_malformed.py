"""A store that answers with what makes no sense: whatever it is and to whichever command, a search goes on without it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

import gateway.cache
from gateway.cache.epochs import Scope
from gateway.cache.replies import MAX_REPLY_BYTES
from gateway.cache.results import Absent, CachedAnswer
from gateway.cache.store import StoreOut
from gateway.cache.valkey import Script
from gateway.errors import GatewayOverloaded
from tests.support.cache import asked, found, keep
from tests.support.cache_replica import IMAGE, Replica, StartReplica, warm
from tests.support.lying_cache_store import LyingStore, lying_store
from tests.support.valkey import StoreServer

FOREIGN = {
    "integer": b":5\r\n",
    "negative": b":-7\r\n",
    "status": b"+OK\r\n",
    "text": b"$3\r\nabc\r\n",
    "empty text": b"$0\r\n\r\n",
    "list": b"*2\r\n:1\r\n$1\r\na\r\n",
    "empty list": b"*0\r\n",
    "list of errors": b"*1\r\n-ERR no\r\n",
    "too large": b"$20000\r\n" + bytes(20000) + b"\r\n",
    "endless": b"$2000000000\r\n",
}
"""Replies that are well formed, but not what was asked for."""
BROKEN = {
    "nil list": b"*-1\r\n",
    "error": b"-ERR no\r\n",
    "empty error": b"-\r\n",
    "not ours": b"-READONLY no\r\n",
    "full": b"-OOM no\r\n",
    "moved": b"-MOVED 1 127.0.0.1:1\r\n",
    "moved nowhere": b"-MOVED\r\n",
    "moved to rubbish": b"-MOVED x y\r\n",
    "ask": b"-ASK 1 127.0.0.1:1\r\n",
    "no script": b"-NOSCRIPT no\r\n",
    "no login": b"-NOAUTH no\r\n",
    "loading": b"-LOADING no\r\n",
    "integer too large": b":" + b"9" * 400 + b"\r\n",
    "no integer": b":1e5\r\n",
    "no length": b"$abc\r\n",
    "negative length": b"$-5\r\n",
    "longer than said": b"$1\r\nabcdef\r\n",
    "array of a hundred million": b"*100000000\r\n",
    "negative array": b"*-3\r\n",
    "arrays in arrays": b"*1\r\n" * 5000,
    "RESP 3 map": b"%1\r\n+a\r\n+b\r\n",
    "RESP 3 push": b">1\r\n+a\r\n",
    "garbage": b"\xff\x00garbage\r\n",
    "endless line": b"+" + b"x" * 70_000,
    "cut": b"$10\r\nabc",
    "silence": b"",
}
REPLIES = FOREIGN | BROKEN
READ, RAISE, SWAP = (Script(name).sha.encode() for name in ("read_epochs.lua", "raise_epoch.lua", "swap_record.lua"))
COMMANDS: dict[str, Callable[[list[bytes]], bool]] = {
    "GET": lambda words: words[0] == b"GET",
    "PTTL": lambda words: words[0] == b"PTTL",
    "PING": lambda words: words[0] == b"PING",
    "read": lambda words: READ in words or (words[0] == b"EVAL" and b"HGETALL" in words[1] and b"HSET" not in words[1]),
    "raise": lambda words: RAISE in words or (words[0] == b"EVAL" and b"HSET" in words[1]),
    "swap": lambda words: SWAP in words or (words[0] == b"EVAL" and b"PX" in words[1]),
}


def tell(store: LyingStore, command: str, reply: bytes) -> None:
    matches = COMMANDS[command]
    store.lie = lambda words: reply if matches(words) else None


async def search_and_purge(replica: Replica) -> None:
    """What calls do with the cache; nothing but an answer, a miss or an outage comes of it."""
    key = replica.cache.key("kyc", "employees", IMAGE)
    replica.forget_front()
    assert isinstance(await replica.look(), CachedAnswer | Absent)
    assert isinstance(await keep(replica.cache, key, asked(), found(0.9)), float | None)
    await replica.store.refresh()
    assert isinstance(await replica.look(), CachedAnswer | Absent)


async def recovered(replica: Replica) -> None:
    """Waits until the store is in use again. Here nothing else reads the epochs, which is what finds it."""
    key = replica.cache.key("kyc", "employees", IMAGE)
    async with asyncio.timeout(30):
        while not (await replica.store.refresh() and await keep(replica.cache, key, asked(), found(0.9))):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("command", ["GET", "PTTL", "PING", "read", "swap"])
async def test_no_reply_to_any_command_fails_a_search(
    server: StoreServer, start_replica: StartReplica, command: str
) -> None:
    """And once the store answers properly again, it is used again."""
    async with lying_store(server) as store:
        replica = await start_replica(url=store.url, reads_on=False, budget=0.2)
        for name, reply in REPLIES.items():
            await recovered(replica)
            tell(store, command, reply)
            try:
                await search_and_purge(replica)
                if command == "PTTL":
                    await expired_record(replica)
            except Exception as error:
                raise AssertionError(f"{name}: {error!r}") from error
            store.lie = lambda _: None


async def expired_record(replica: Replica) -> None:
    """A record past its time, whose remaining life the store is asked for."""
    key = replica.cache.key("kyc", "employees", IMAGE)
    sealed = await replica.store._sealed(key)
    ahead = replica.store._clock
    ahead._offset += 301
    try:
        with contextlib.suppress(StoreOut):
            assert sealed is None or await replica.store._opened(key, sealed) is None
    finally:
        ahead._offset -= 301


async def test_a_value_that_is_none_is_a_miss_and_counted(server: StoreServer, start_replica: StartReplica) -> None:
    """The store stays in use: it is the value that is at fault. The next answer takes its place."""
    async with lying_store(server) as store:
        replica = await start_replica(url=store.url, reads_on=False)
        for number, (name, reply) in enumerate(FOREIGN.items(), 1):
            tell(store, "GET", reply)
            replica.forget_front()
            assert await replica.look() is Absent.MISS, name
            assert replica.store.available, name
            assert replica.store.faults.counts == {"malformed": number}, name


async def test_a_reply_to_an_update_that_is_neither_yes_nor_no_is_an_outage(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """It is not tried again and again: a store that says this of one update says it of all."""
    async with lying_store(server) as store:
        replica = await start_replica(url=store.url, reads_on=False, budget=0.2)
        for name in ("negative", "integer", "status", "text", "list", "nil list"):
            await recovered(replica)
            tell(store, "swap", REPLIES[name])
            key = replica.cache.key("kyc", "employees", IMAGE)
            assert await keep(replica.cache, key, asked(), found(0.9)) is None, name
            assert not replica.store.available, name
            store.lie = lambda _: None


async def test_no_reply_to_a_purge_is_taken_for_a_purge(server: StoreServer, start_replica: StartReplica) -> None:
    """It says that it failed, and succeeds when the store answers properly."""
    async with lying_store(server) as store:
        replica = await start_replica(url=store.url, reads_on=False, budget=0.2)
        for name in ("integer", "status", "text", "list", "endless", "error", "moved to rubbish", "cut", "silence"):
            await recovered(replica)
            tell(store, "raise", REPLIES[name])
            try:
                with pytest.raises(GatewayOverloaded):
                    await replica.cache.purge(Scope("kyc"))
            except Exception as error:
                raise AssertionError(f"{name}: {error!r}") from error
            store.lie = lambda _: None
            assert await replica.cache.purge(Scope("kyc")) > 1


@pytest.mark.parametrize(
    "flood", [b"x" * 65536, b":1\r\n" * 10_000, b"*1\r\n" * 10_000], ids=["text", "list", "nested"]
)
@pytest.mark.parametrize("command", ["GET", "read", "swap"])
async def test_an_endless_reply_is_cut_off(
    server: StoreServer, start_replica: StartReplica, command: str, flood: bytes
) -> None:
    """After the largest possible reply, and what lies in the buffers on the way; a few connections are tried."""
    async with lying_store(server) as store:
        replica = await start_replica(url=store.url, reads_on=False, budget=2.0)
        await warm(replica)
        header = b"$2000000\r\n" if flood.startswith(b"x") else b"*99999\r\n"
        tell(store, command, header)
        store.flood = flood
        await search_and_purge(replica)
        assert 0 < store.flooded_bytes < 8 * (MAX_REPLY_BYTES + (8 << 20))
        store.flood = b""


def test_every_script_and_command_is_covered() -> None:
    """A new one has to be added here."""
    scripts = {path.name for path in Path(gateway.cache.__file__).parent.glob("*.lua")}
    assert scripts == {"read_epochs.lua", "raise_epoch.lua", "swap_record.lua"}
