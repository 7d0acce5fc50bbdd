"""Records in this process: which go first, and what they take."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.cache.memory import MemoryCacheStore, Records
from tests.support.cache import asked, found, keep, looked_up, result_cache
from tests.support.clock import ManualClock

ROOT = Path(__file__).parents[3]


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def payload(records: Records) -> int:
    return sum(shard.payload_bytes for shard in records._shards)


def test_the_least_recently_used_goes_first() -> None:
    """Reading counts as using."""
    clock = ManualClock()
    records = Records(clock, 10_000)
    stored = 0
    while len(records) == stored:
        stored += 1
        records.put(name(stored), b"x" * 200, clock.monotonic() + 60)
        records.get(name(1))
    assert records.get(name(1)) == b"x" * 200
    assert records.get(name(2)) is None
    assert records.get(name(3)) is not None


def test_never_holds_more_than_its_bound() -> None:
    """By its own account, at any time, whatever is put."""
    clock = ManualClock()
    records = Records(clock, 50_000)
    for number in range(2_000):
        records.put(name(number), b"x" * (number * 37 % 1500), clock.monotonic() + 60)
        assert records.used_bytes <= 50_000
    records.put(name(1), b"x" * 60_000, clock.monotonic() + 60)
    assert records.get(name(1)) is None


def test_a_dead_record_is_gone_to_the_moment_and_leaves_memory() -> None:
    """What died is not kept for want of a reader: each put drops two such, and a sweep any number."""
    clock = ManualClock()
    records = Records(clock, 1_000_000)
    for number in range(10):
        records.put(name(number), b"x", clock.monotonic() + 60)
    clock.advance(59.9)
    assert records.get(name(9)) == b"x"
    clock.advance(0.1)
    assert records.get(name(9)) is None
    records.put(name(100), b"y", clock.monotonic() + 60)
    assert len(records) == 8
    assert records.drop_expired(100) == 7
    assert len(records) == 1


def test_replacing_and_removing_keep_the_account() -> None:
    """The account of an emptied store is that of a new one."""
    clock = ManualClock()
    records = Records(clock, 1_000_000)
    empty = payload(records)
    for size in (10, 1000, 3):
        records.put(name(1), b"x" * size, clock.monotonic() + 60)
    records.remove(name(1))
    records.remove(name(1))
    assert payload(records) == empty == 0


def test_resident_memory_follows_the_bound() -> None:
    """16 MiB of small records under churn take at most 10 % more than that of resident memory, and not far less."""
    command = [sys.executable, "bench/cache_cost.py", "--memory-only", "--max-bytes", str(16 << 20), "--keys", "80000"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    ratio = float(run.stdout.rsplit("resident/limit", 1)[1].split()[0])
    assert 0.75 <= ratio <= 1.10, run.stdout


@pytest.mark.timed
async def test_time_does_not_tell_a_tenant_what_another_searched() -> None:
    """A lookup of an image that another tenant has takes as long as one of an image that nobody has.

    Held against the difference that a tenant's own hit makes, which is what sharing entries would give away.
    """
    clock = ManualClock()
    cache = result_cache(MemoryCacheStore(clock, 1 << 20), clock)
    theirs, nobodys, own = b"theirs" * 50, b"nobody" * 50, b"owned!" * 50
    await keep(cache, cache.key("kyc", "employees", theirs), asked(), found(0.9))
    await keep(cache, cache.key("hr", "employees", own), asked(), found(0.9))
    taken: dict[bytes, list[int]] = {theirs: [], nobodys: [], own: []}
    for _ in range(1500):
        for image, times in taken.items():
            began = time.perf_counter_ns()
            await looked_up(cache, cache.key("hr", "employees", image), asked(), None)
            times.append(time.perf_counter_ns() - began)
    median = {image: statistics.median(times) for image, times in taken.items()}
    own_hit_shows = median[own] - median[nobodys]
    assert own_hit_shows > 0
    assert abs(median[theirs] - median[nobodys]) < own_hit_shows / 4
