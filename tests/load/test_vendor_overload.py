"""Callers ask for more than the vendor carries: it is kept busy with searches that somebody still waits for.

In virtual time and without gRPC and HTTP, so that the figures are of the queue and not of this machine. `python -m
tests.load.test_vendor_overload` prints them for longer runs.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass

import pytest

from gateway.errors import GatewayError
from gateway.model import UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip
from tests.support.searching import Desk, SlowVendor, places_before
from tests.support.virtual_time import VirtualClock, run_in_virtual_time

PLACES, VENDOR_SECONDS, DEADLINE_SECONDS = 64, 0.3, 0.5
VENDOR_RATE = PLACES / VENDOR_SECONDS
WARM_UP_SECONDS = 1.0


class UnevenVendor(SlowVendor):
    """Takes up to a tenth more or less."""

    def __init__(self, seconds: float, dice: random.Random) -> None:
        super().__init__(seconds)
        self._dice = dice
        self._usual = seconds

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        self.seconds = self._usual * self._dice.uniform(0.9, 1.1)
        return await super().search(query, trip)


@dataclass(frozen=True)
class Figures:
    """Of the vendor's rate, how much was answered in time; how many requests each answer took; how calls ended."""

    goodput: float
    requests_per_answer: float
    ends: Counter[str]


async def overload(times: float, seconds: float, seed: int = 4) -> Figures:
    """Calls at `times` the vendor's rate, come what may, for `seconds` after a warm-up."""
    dice, loop = random.Random(seed), asyncio.get_running_loop()
    vendor = UnevenVendor(VENDOR_SECONDS, dice)
    clock = VirtualClock()
    desk, ends = Desk(places_before(vendor, PLACES, clock), clock), Counter[str]()
    begin = loop.time() + WARM_UP_SECONDS

    async def call() -> None:
        try:
            await desk(deadline_seconds=DEADLINE_SECONDS)
            end = "OK"
        except GatewayError as error:
            end = error.reason.value
        if loop.time() >= begin:
            ends[end] += 1

    calls, due, requests_before = set[asyncio.Task[None]](), loop.time(), 0
    while due < begin + seconds:
        await asyncio.sleep(max(0.0, due - loop.time()))
        if not requests_before and due >= begin:
            requests_before = vendor.requests
        calls.add(asyncio.create_task(call()))
        due += dice.expovariate(times * VENDOR_RATE)
    requests = vendor.requests - requests_before
    answered = ends["OK"]
    await asyncio.gather(*calls)
    await desk.flights.drain(5.0)
    assert desk.usage().upstream_calls == vendor.requests
    return Figures(answered / (VENDOR_RATE * seconds), requests / max(answered, 1), ends)


@pytest.mark.parametrize("times", [0.8, 1.1, 2.0])
def test_the_vendor_works_for_those_who_still_wait(times: float) -> None:
    """At up to twice the vendor's rate nine tenths of it are answers in time, each for at most 1.1 requests."""
    figures = run_in_virtual_time(overload(times, 2.0))
    print(figures)  # noqa: T201 - shown if it fails
    assert figures.goodput >= 0.9 * min(times, 1.0)
    assert figures.requests_per_answer <= 1.1


if __name__ == "__main__":
    for load in (0.8, 1.1, 2.0, 4.0):
        print(load, run_in_virtual_time(overload(load, 30.0)))  # noqa: T201 - a script
