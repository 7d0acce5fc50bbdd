"""What somebody can do who writes to, or reads, the shared store without the key file: nothing that counts."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from gateway.cache.epochs import Scope
from gateway.cache.results import Absent, CachedAnswer
from gateway.model import Match, Outcome, UpstreamAnswer
from tests.support.cache import START, asked, keep
from tests.support.cache_replica import IMAGE, Replica, StartReplica
from tests.support.clock import ManualClock
from tests.support.valkey import StoreServer

PERSON, FACE = 7_310_549_455_488_008_194, 4_354_494_554_880_081_941
ANSWER = UpstreamAnswer((Match(PERSON, FACE, 0.98765, START + 5),), Outcome.MATCHED, "TIDcanary0123456789")


async def stored(replica: Replica, image: bytes = IMAGE) -> bytes:
    key = replica.cache.key("kyc", "employees", image)
    assert await keep(replica.cache, key, asked(), ANSWER)
    replica.forget_front()
    return replica.address(image)


@pytest.mark.parametrize("attack", ["altered", "truncated", "emptied", "swapped", "foreign type", "rubbish"])
async def test_a_value_that_no_replica_put_there_is_a_miss_and_an_alert(
    server: StoreServer, start_replica: StartReplica, attack: str
) -> None:
    """It is counted and logged once; the next search puts the right answer in its place."""
    replica = await start_replica()
    address = await stored(replica)
    other = await stored(replica, b"another photo")
    with server.client() as store:
        sealed = store.get(address)
        assert isinstance(sealed, bytes)
        forged = {
            "altered": sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:],
            "truncated": sealed[:-5],
            "emptied": b"",
            "swapped": store.get(other),
            "rubbish": b"\x00" * 4000,
        }.get(attack)
        if forged is None:
            store.delete(address)
            store.hset(address, "a", "b")
        else:
            store.set(address, forged)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert await replica.look() is Absent.MISS
    assert sum(replica.store.faults.counts.values()) == 3
    assert [line["event"] for line in logs] == ["cache.value_refused"]
    assert replica.store.available
    await stored(replica)
    held = await replica.look()
    assert isinstance(held, CachedAnswer)
    assert held.answer.matches == ANSWER.matches


async def test_a_value_put_back_after_its_time_is_a_miss_and_an_alert(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """The time of issue is inside the seal, so keeping the bytes keeps nothing alive."""
    clock = ManualClock()
    replica = await start_replica(clock=clock, reads_on=False)
    address = await stored(replica)
    with server.client() as store:
        sealed = store.get(address)
        assert 0 < store.pttl(address) <= 300_000
        clock.advance(306)
        await replica.store.refresh()
        store.set(address, sealed)
    assert await replica.look() is Absent.MISS
    assert replica.store.faults.counts == {"replayed": 1}


@pytest.mark.parametrize(("keeps_ms", "faults"), [(2_000, {}), (9_000, {"replayed": 1}), (None, {"replayed": 1})])
async def test_a_value_that_died_a_moment_ago_is_an_alert_only_if_the_store_was_told_to_keep_it_longer(
    server: StoreServer, start_replica: StartReplica, keeps_ms: int | None, faults: dict[str, int]
) -> None:
    """Clocks differ a little, so a replica may see a dead value in its last seconds; what was put back stays longer."""
    clock = ManualClock()
    replica = await start_replica(clock=clock, reads_on=False)
    address = await stored(replica)
    with server.client() as store:
        store.persist(address) if keeps_ms is None else store.pexpire(address, keeps_ms)
    clock.advance(301)
    await replica.store.refresh()
    assert await replica.look() is Absent.MISS
    assert replica.store.faults.counts == faults


async def test_a_value_from_before_a_purge_cannot_be_put_back(server: StoreServer, start_replica: StartReplica) -> None:
    """Neither under its own name, which nobody asks for, nor under the new one, for which it was not sealed."""
    replica = await start_replica()
    old = await stored(replica)
    with server.client() as store:
        sealed = store.get(old)
    await replica.cache.purge(Scope("kyc"))
    assert await replica.look() is Absent.MISS
    with server.client() as store:
        store.set(replica.address(), sealed)
    assert await replica.look() is Absent.MISS
    assert replica.store.faults.counts == {"forged": 1}


async def test_a_dump_tells_nothing_without_the_key_file(server: StoreServer, start_replica: StartReplica) -> None:
    """No id, request id, name of a tenant or face set; and no key or value that a known image leads to."""
    replica = await start_replica()
    await stored(replica)
    await replica.cache.purge(Scope("kyc"))
    address = await stored(replica)
    with server.client() as store:
        names = list(store.scan_iter())
        everything = b"\n".join(
            [*names, *(store.dump(name) for name in names), str(store.hgetall("facegate:cache:1:epochs")).encode()]
        )
    assert address in names
    assert len(names) == 3
    secrets = [str(PERSON).encode(), PERSON.to_bytes(8, "little"), str(FACE).encode(), FACE.to_bytes(8, "little")]
    secrets += [PERSON.to_bytes(8, "big"), FACE.to_bytes(8, "big"), b"TIDcanary", b"kyc", b"employees", b"0.98765"]
    for secret in secrets:
        assert secret not in everything
    # Whoever knows the image and everything but the key file computes other names.
    stranger = await start_replica(master=bytes(32))
    assert stranger.address() not in names
    assert await stranger.look() is Absent.MISS


async def test_a_rotated_key_file_leaves_nothing_findable_and_no_alert(start_replica: StartReplica) -> None:
    """Replicas with the new file share again; those with the old one go on among themselves."""
    first, second = await start_replica(), await start_replica()
    await stored(first)
    assert isinstance(await second.look(), CachedAnswer)
    first.ring.replace(bytes(32))
    assert await first.look() is Absent.MISS
    await stored(first)
    second.ring.replace(bytes(32))
    assert isinstance(await second.look(), CachedAnswer)
    assert not first.store.faults.counts
    assert not second.store.faults.counts


async def test_replicas_with_different_key_files_still_share_purges(start_replica: StartReplica) -> None:
    """A purge during a rotation reaches a replica that has not re-read the file yet."""
    old, new = await start_replica(), await start_replica(master=bytes(32))
    await stored(old)
    await new.cache.purge(Scope("kyc"))
    await old.store.refresh()
    assert await old.look() is Absent.MISS


async def test_a_late_reply_never_answers_another_question(server: StoreServer, start_replica: StartReplica) -> None:
    """After time-outs under load every answer still belongs to its image."""
    replica = await start_replica()
    images = [b"photo %d" % n for n in range(20)]
    for number, image in enumerate(images):
        answer = UpstreamAnswer((Match(number, number, 0.9, START),), Outcome.MATCHED, f"T{number}")
        assert await keep(replica.cache, replica.cache.key("kyc", "employees", image), asked(), answer)
    server.pause()
    try:
        replica.forget_front()
        assert set(await asyncio.gather(*(replica.look(image=image) for image in images))) == {Absent.OUT}
    finally:
        server.resume()
    async with asyncio.timeout(30):
        while not replica.store.available:
            await asyncio.sleep(0.01)
    for number, image in enumerate(images):
        held = await replica.look(image=image)
        assert isinstance(held, CachedAnswer)
        assert held.answer.matches[0].person_id == number
    assert not replica.store.faults.counts
