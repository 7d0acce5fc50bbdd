"""Calls of every kind, in turn and by chance, as many callers of many services make them over months.

`mixed` runs in a process of its own (see `attack_process.py`). Each kind says how its calls have to end.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from bench.requests import FACE_SET, Requests, photo
from tests.support.attack_process import Attack
from tests.support.honest import OWN_CONNECTION, name_of

_SEARCH = "/facegate.search.v1.FaceSearchService/SearchFace"
_UNKNOWN = "/facegate.search.v1.FaceSearchService/NoSuchMethod"
_TIMEOUT_SECONDS = 20.0
GIVEN_UP = "given up"


@dataclass(frozen=True)
class Kind:
    """A kind of call: how often it comes among the others, what it does, and the ends that are right."""

    weight: int
    call: Callable[[], Awaitable[Any]]
    ends: frozenset[str]


class _Calls:
    """The calls of one connection."""

    def __init__(self, channel: grpc.aio.Channel, tokens: dict[str, str]) -> None:
        self._search: Any = channel.unary_unary(_SEARCH)
        self._unknown: Any = channel.unary_unary(_UNKNOWN)
        self._health: Any = HealthStub(channel)
        self._reflection: Any = ServerReflectionStub(channel)  # type: ignore[arg-type]
        self._stub: Any = FaceSearchServiceStub(channel)
        self._as = {name: (("authorization", f"Bearer {token}"),) for name, token in tokens.items()}
        self._requests = {
            mode: Requests.of(20_000, mode)
            for mode in ("CACHE_MODE_UNSPECIFIED", "CACHE_MODE_BYPASS", "CACHE_MODE_REFRESH")
        }

    def kinds(self) -> dict[str, Kind]:
        """All of them by name. `limited` is a tenant with a low rate."""
        ok, plain, good = frozenset({"OK"}), "CACHE_MODE_UNSPECIFIED", "good"
        broken = pb.SearchFaceRequest(face_set=FACE_SET, image=pb.Image(content=b"\xff\xd8\xff no picture"))
        elsewhere = pb.SearchFaceRequest(face_set="not-theirs", image=pb.Image(content=photo(20_000)))
        return {
            "hit": Kind(40, lambda: self._of(good, self._requests[plain].same), ok),
            "miss": Kind(20, lambda: self._of(good, self._requests[plain].unlike()), ok),
            "refresh": Kind(3, lambda: self._of(good, self._requests["CACHE_MODE_REFRESH"].same), ok),
            "bypass": Kind(3, lambda: self._of(good, self._requests["CACHE_MODE_BYPASS"].same), ok),
            "no picture": Kind(
                5, lambda: self._of(good, broken.SerializeToString()), frozenset({"INVALID_ARGUMENT IMAGE_REJECTED"})
            ),
            "foreign face set": Kind(
                3,
                lambda: self._of(good, elsewhere.SerializeToString()),
                frozenset({"PERMISSION_DENIED FACE_SET_NOT_ALLOWED"}),
            ),
            "garbage": Kind(2, lambda: self._of(good, b"\xff" * 100), frozenset({"INVALID_ARGUMENT INVALID_REQUEST"})),
            "made-up token": Kind(
                5,
                lambda: self._of("stranger", self._requests[plain].same),
                frozenset({"UNAUTHENTICATED CREDENTIALS_INVALID"}),
            ),
            "over its rate": Kind(
                5,
                lambda: self._of("limited", self._requests[plain].same),
                frozenset({"OK", "RESOURCE_EXHAUSTED TENANT_RATE_LIMITED"}),
            ),
            "given up": Kind(4, self._given_up, frozenset({"OK", GIVEN_UP})),
            "hurried": Kind(
                3,
                lambda: self._of(good, self._requests[plain].unlike(), timeout=0.004),
                frozenset(
                    {
                        "OK",
                        "DEADLINE_EXCEEDED",
                        "DEADLINE_EXCEEDED DEADLINE_TOO_SHORT",
                        "DEADLINE_EXCEEDED DEADLINE_EXCEEDED",
                    }
                ),
            ),
            "quota": Kind(
                3,
                lambda: self._stub.GetQuota(pb.GetQuotaRequest(), metadata=self._as[good], timeout=_TIMEOUT_SECONDS),
                frozenset({"OK", "RESOURCE_EXHAUSTED TENANT_RATE_LIMITED"}),
            ),
            "health": Kind(3, lambda: self._health.Check(HealthCheckRequest(), timeout=_TIMEOUT_SECONDS), ok),
            "reflection": Kind(1, self._reflect, ok),
            "no such method": Kind(
                1,
                lambda: self._unknown(b"", metadata=self._as[good], timeout=_TIMEOUT_SECONDS),
                frozenset({"UNIMPLEMENTED NOT_IMPLEMENTED"}),
            ),
        }

    def _of(self, caller: str, body: bytes, timeout: float = _TIMEOUT_SECONDS) -> Awaitable[Any]:
        call: Awaitable[Any] = self._search(body, metadata=self._as[caller], timeout=timeout)
        return call

    async def _given_up(self) -> None:
        call = asyncio.ensure_future(self._of("good", self._requests["CACHE_MODE_UNSPECIFIED"].unlike()))
        await asyncio.wait((call,), timeout=random.uniform(0, 0.01))
        call.cancel()
        await call

    async def _reflect(self) -> None:
        async def ask() -> Any:
            yield ServerReflectionRequest(list_services="")

        async for _ in self._reflection.ServerReflectionInfo(ask(), timeout=_TIMEOUT_SECONDS):
            return


async def mixed(attack: Attack) -> None:
    """Makes `calls` calls, `at_once` of them at a time over `connections`; notes `counts` by kind and end, and `wrong` ones.

    `tokens`: by caller, of `good`, `limited` and `stranger`.
    """
    options = attack.options
    left, counts, wrong = int(options["calls"]), Counter[str](), Counter[str]()
    channels = [grpc.aio.insecure_channel(attack.address, OWN_CONNECTION) for _ in range(int(options["connections"]))]
    kinds = [_Calls(channel, options["tokens"]).kinds() for channel in channels]
    names = list(kinds[0])
    weights = [kind.weight for kind in kinds[0].values()]

    async def one_after_the_other(of: dict[str, Kind]) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            name = random.choices(names, weights)[0]
            end = await _end(of[name].call())
            counts[f"{name}: {end}"] += 1
            if end not in of[name].ends:
                wrong[f"{name}: {end}"] += 1

    attack.is_on()
    try:
        lanes = int(options["at_once"])
        await asyncio.gather(*(one_after_the_other(kinds[lane % len(kinds)]) for lane in range(lanes)))
    finally:
        attack.notes.update({"counts": dict(counts), "wrong": dict(wrong)})
        for channel in channels:
            await channel.close()


async def _end(call: Awaitable[Any]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return name_of(error)
    except asyncio.CancelledError:
        return GIVEN_UP
    return "OK"
