"""From the configuration to a working result cache, with its key file watched.

The one place of the package that knows the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cache.keys import KeyRing
from gateway.cache.memory import MemoryCacheStore, Records
from gateway.cache.policy import CachePolicy
from gateway.cache.results import ResultCache
from gateway.clock import Clock
from gateway.config import Config, ConfigError
from gateway.config.store_access import StoreAccess, cache_access
from gateway.watcher import FileRejected, FileWatcher

if TYPE_CHECKING:
    from gateway.cache.shared import ValkeyCacheStore

_SWEEP_SECONDS = 5.0
_SWEEP_RECORDS = 1000
_QUEUE_SECONDS = 5.0
"""How much longer than its time limit a question to the vendor may take: waiting for a connection comes before it."""


@asynccontextmanager
async def open_cache(
    config: Config, *, clock: Clock, watcher: FileWatcher, asked: Callable[[float], None]
) -> AsyncIterator[ResultCache]:
    """The cache that the settings describe. A store that is out does not stop it. Raises `ConfigError`.

    `asked` is told how many seconds each question to a shared store took.
    """
    async with AsyncExitStack() as stack:
        ring = _ring(config.stores.key_file, watcher)
        access = cache_access(config.stores)
        records: Records
        store: MemoryCacheStore | ValkeyCacheStore
        if access.in_memory:
            store = MemoryCacheStore(clock, config.cache.max_bytes)
            records = store.records
        else:
            records = Records(clock, config.cache.max_bytes)
            if access.password.file is not None:
                reload = partial(asyncio.to_thread, access.password.reload)
                watcher.watch([access.password.file], reload, "cache store password")
            store = await _open_valkey(access, records, clock, asked, stack)
        sweeping = asyncio.create_task(_sweep(records))
        stack.push_async_callback(_end, sweeping)
        policy = CachePolicy(
            config.cache.ttl_seconds,
            config.cache.no_match_ttl_seconds,
            config.cache.widen == "max_results",
            flight_seconds=config.upstream.timeout_seconds + _QUEUE_SECONDS,
        )
        yield ResultCache(store, ring, clock, policy, base_url=config.upstream.base_url)


async def _open_valkey(
    access: StoreAccess, front: Records, clock: Clock, asked: Callable[[float], None], stack: AsyncExitStack
) -> ValkeyCacheStore:
    # The client's library takes a tenth of a second to import, which a gateway without it saves at its start.
    from gateway.cache.client import connect
    from gateway.cache.shared import ValkeyCacheStore

    client = connect(access.url, username=access.username, password=access.password, ca_file=access.ca_file)
    stack.push_async_callback(client.aclose)
    store = ValkeyCacheStore(client, clock, front, asked=asked)
    await store.start()
    stack.push_async_callback(store.aclose)
    return store


def _ring(key_file: Path | None, watcher: FileWatcher) -> KeyRing:
    if key_file is None:
        return KeyRing()

    async def reload() -> None:
        try:
            ring.replace(await asyncio.to_thread(key_file.read_bytes))
        except OSError as error:
            raise FileRejected(key_file, f"cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise FileRejected(key_file, str(error)) from None

    watcher.watch([key_file], reload, "cache key")
    try:
        ring = KeyRing(key_file.read_bytes())
    except OSError as error:
        raise ConfigError((f"stores.key_file: cannot read {key_file} ({error.strerror})",)) from None
    except ValueError as error:
        raise ConfigError((f"stores.key_file: {error}",)) from None
    return ring


async def _sweep(records: Records) -> None:
    """Dead records leave when others come; where nothing comes, here."""
    while True:
        await asyncio.sleep(_SWEEP_SECONDS)
        records.drop_expired(_SWEEP_RECORDS)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
