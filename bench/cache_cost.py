"""What the cache costs: processor time of a hit, and resident memory of the memory store under churn.

    python bench/cache_cost.py [--max-bytes N] [--keys N] [--memory-only]

Times are medians of rounds; memory is the growth of the resident set from before the store was made.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import gc
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.cache import entries
from gateway.cache.entries import Entry
from gateway.cache.keys import KeyRing
from gateway.cache.memory import MemoryCacheStore, Records
from gateway.cache.policy import CachePolicy
from gateway.cache.results import CachedAnswer, ResultCache
from gateway.clock import SystemClock
from gateway.model import Match, Outcome, SearchParameters, UpstreamAnswer

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ASKED = SearchParameters(0.8, 1, 1_780_000_000)


def _answer(count: int) -> UpstreamAnswer:
    matches = tuple(Match(n, 435449455488008194 + n, 0.99 - n / 100, 1_780_000_100) for n in range(count))
    return UpstreamAnswer(
        matches, Outcome.MATCHED if count else Outcome.NO_MATCH, "TID8bf47ab6eda64476973cc5f5b6ebf57e"
    )


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def churn(max_bytes: int, keys: int) -> None:
    """Puts `keys` records of mixed sizes and reads some back; prints the resident memory beside the bound."""
    clock = SystemClock()
    shuffle = random.Random(1)
    records_of = [entries.pack([Entry(clock.monotonic(), _ASKED, _answer(n))] * times) for n, times in _SIZES]
    gc.collect()
    before = resident_bytes()
    records = Records(clock, max_bytes)
    expires_at = clock.monotonic() + 3600
    peak, slowest = 0, 0.0
    recent = collections.deque([b""], maxlen=1000)
    for number in range(keys):
        name = number.to_bytes(4, "big") + shuffle.randbytes(28)
        record = bytes(bytearray(shuffle.choice(records_of)))
        began = time.thread_time()
        records.put(name, record, expires_at)
        slowest = max(slowest, time.thread_time() - began)
        recent.append(name)
        if number % 7 == 0:
            records.get(recent[0])
        if number % 20_000 == 0:
            peak = max(peak, resident_bytes() - before)
    resident = resident_bytes() - before
    peak = max(peak, resident)
    print(
        f"{keys} keys put, {len(records)} held; limit {max_bytes / 2**20:.1f} MiB, counted "
        f"{records.used_bytes / 2**20:.1f} MiB, resident {resident / 2**20:.1f} MiB, peak {peak / 2**20:.1f} MiB, "
        f"slowest put {slowest * 1000:.1f} ms; resident/limit {peak / max_bytes:.3f}"
    )


# (matches, answers to one key): mostly small, some large.
_SIZES = [(0, 1), (1, 1), (1, 1), (1, 1), (1, 2), (3, 1), (10, 1), (10, 3)]


def per_call(call: Callable[[], object], rounds: int = 9, calls: int = 2000) -> float:
    """Median microseconds of processor time a call."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(calls):
            call()
        taken.append((time.process_time() - began) / calls * 1e6)
    return statistics.median(taken)


async def hit_cost() -> None:
    """Prints the cost of a key, a lookup and a store, by the size of the image and the number of matches."""
    clock = SystemClock()
    answer_of = {count: _answer(count) for count in (1, 10)}
    for size, count in ((100_000, 1), (100_000, 10), (1_000_000, 1), (5_000_000, 1)):
        cache = ResultCache(
            MemoryCacheStore(clock, 64 << 20), KeyRing(), clock, CachePolicy(), base_url="https://vendor.example"
        )
        image = random.Random(2).randbytes(size)
        asked = SearchParameters(0.8, max(count, 1), 1_780_000_000)
        key = cache.key("kyc", "employees", image)
        await cache.store(key, asked, _answer(count), asked_at=clock.monotonic())
        moved = SearchParameters(0.8, max(count, 1), 1_780_000_001)

        def lookup(cache: ResultCache = cache, moved: SearchParameters = moved, key: object = key) -> object:
            return cache.peek(key, moved, None)  # type: ignore[arg-type]

        assert isinstance(lookup(), CachedAnswer)

        def store(cache: ResultCache = cache, key: object = key, asked: object = asked, count: int = count) -> None:
            # The memory store never waits, so one step is all of it.
            with contextlib.suppress(StopIteration):
                cache.store(key, asked, answer_of[count], asked_at=clock.monotonic()).send(None)  # type: ignore[arg-type]

        calls = 2000 if size <= 100_000 else 100
        key_us = per_call(lambda c=cache, i=image: c.key("kyc", "employees", i), calls=calls)  # type: ignore[misc]
        print(
            f"image {size:>9,} B, {count:>2} matches: key {key_us:8.1f} µs, lookup {per_call(lookup):5.1f} µs, store {per_call(store):5.1f} µs"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-bytes", type=int, default=64 << 20)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--memory-only", action="store_true")
    options = parser.parse_args()
    if not options.memory_only:
        asyncio.run(hit_cost())
    churn(options.max_bytes, options.keys)


if __name__ == "__main__":
    main()
