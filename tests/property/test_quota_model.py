"""Quota stores against a naive model: any order of calls, refunds, crashes and passing time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from gateway.model import Limits, RateLimit, Window
from gateway.quota.link import ScriptLink, link_to
from gateway.quota.memory import MemoryQuotaStore
from gateway.quota.store import SLOT_LEASE_US, QuotaStore
from gateway.quota.valkey import ValkeyQuotaStore
from gateway.quota.windows import LIMIT_IDS
from tests.support.quota import PATIENCE, HandClock, fresh_prefix, utc
from tests.support.valkey import running_store

LIMITS = Limits(
    rate=RateLimit(0.7, 4), concurrency=3, upstream_calls={Window.MINUTE: 3, Window.DAY: 6, Window.MONTH: 9}
)
NEVER = 10**18
STARTS = ["2028-02-28T23:59:40", "2026-12-31T23:59:40", "2026-03-29T00:59:40", "2026-10-25T00:59:40"]


class Crash(Exception):
    """The replica's process ends here."""


class CrashingLink:
    """A link whose process may end just before a command is sent, or just after it ran."""

    def __init__(self, link: ScriptLink) -> None:
        self._link = link
        self.crash: str | None = None
        self.key = link.key
        self.disconnect = link.disconnect

    async def run(self, *question: Any, **options: Any) -> Any:
        if self.crash == "before":
            raise Crash
        answer = await self._link.run(*question, **options)
        if self.crash == "after":
            raise Crash
        return answer


class Model:
    """The rules, as plainly as they can be said. Times in microseconds."""

    def __init__(self, lease_us: int) -> None:
        self._lease_us = lease_us
        self._theoretical_arrival = Fraction(0)
        self._slots: dict[str, int] = {}
        self._charged: dict[Window, dict[str, object]] = {window: {} for window in LIMITS.upstream_calls}
        self._done: set[str] = set()

    def admit(self, call: str, now: int) -> str:
        assert LIMITS.rate is not None
        interval = 1_000_000 / Fraction(str(LIMITS.rate.per_second))
        arrival = max(self._theoretical_arrival, Fraction(now))
        if arrival - now > interval * (LIMITS.rate.burst - 1):
            return "rate"
        if self.slots(now) >= (LIMITS.concurrency or 0):
            return "concurrency"
        self._theoretical_arrival = arrival + interval
        self._slots[call] = now + self._lease_us
        return ""

    def slots(self, now: int) -> int:
        return sum(end > now for end in self._slots.values())

    def release(self, call: str) -> None:
        self._slots.pop(call, None)

    def reserve(self, reservation: str, now: int) -> bool:
        if any(self.used(window, now) >= limit for window, limit in LIMITS.upstream_calls.items()):
            return False
        for window in LIMITS.upstream_calls:
            self._charged[window][reservation] = period(window, now)
        return True

    def refund(self, reservation: str) -> None:
        if reservation not in self._done:
            self._done.add(reservation)
            for window in LIMITS.upstream_calls:
                self._charged[window].pop(reservation, None)

    def settle(self, reservation: str) -> None:
        self._done.add(reservation)

    def used(self, window: Window, now: int) -> int:
        return sum(one == period(window, now) for one in self._charged[window].values())


def period(window: Window, now_us: int) -> tuple[int, ...]:
    """The calendar's name of the window."""
    moment = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute)
    return parts[: {Window.MONTH: 2, Window.DAY: 3, Window.HOUR: 4, Window.MINUTE: 5}[window]]


class QuotaMachine(RuleBasedStateMachine):
    """Three replicas (or one process) against the model."""

    url: ClassVar[str] = ""
    calls: Bundle[tuple[int, str]] = Bundle("calls")
    reservations: Bundle[tuple[int, str]] = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = HandClock()
        self.prefix = fresh_prefix() + str(os.getpid())
        self.numbers = iter(range(10**9))
        self.model = Model(SLOT_LEASE_US if self.url else NEVER)
        self.memory = MemoryQuotaStore(self.clock)
        self.links: list[CrashingLink] = []
        self.replicas: list[QuotaStore] = [self.open_replica() for _ in range(3)]
        self.crashes = [0, 0, 0]

    def open_replica(self) -> QuotaStore:
        if not self.url:
            return self.memory
        link = CrashingLink(link_to(self.url, prefix=self.prefix))
        self.links.append(link)
        return ValkeyQuotaStore(link, time_us=self.clock.now_us, monotonic=self.clock.monotonic)  # type: ignore[arg-type]

    def fresh(self) -> str:
        return f"n{next(self.numbers)}"

    def teardown(self) -> None:
        async def close() -> None:
            for store in self.replicas:
                await store.aclose()
            for link in self.links:
                link.disconnect()
            await asyncio.sleep(0.001)  # Transports close in the loop's next turns.

        self.runner.run(close())
        self.runner.close()

    def tell(self, replica: int, what: str, name: str) -> None:
        """The replica says it, and all else it has to say, so that the model need not know of 5 ms."""
        store = self.replicas[replica]

        async def say() -> None:
            {"release": store.release, "settle": store.settle, "refund": store.refund}[what]("t", name)
            await store.look("t", LIMITS, PATIENCE)

        self.runner.run(say())

    @rule(start=st.sampled_from(STARTS))
    def jump(self, start: str) -> None:
        moment = utc(start)
        if moment.timestamp() > self.clock.now():
            self.clock.set_wall(moment)

    @rule(seconds=st.sampled_from([0.001, 0.5, 1.4285715, 5, 12, 19.999999, 60, 3600, 86_400]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(target=calls, replica=st.integers(0, 2))
    def admit(self, replica: int) -> Any:
        call = self.fresh()
        verdict = self.runner.run(self.replicas[replica].admit("t", LIMITS, call, PATIENCE))
        assert verdict.limit_id == self.model.admit(call, self.clock.now_us())
        return (replica, call) if not verdict.limit_id else multiple()

    @rule(call=calls)
    def release(self, call: tuple[int, str]) -> None:
        replica, name = call
        self.tell(replica, "release", name)
        self.model.release(name)

    @rule(target=reservations, replica=st.integers(0, 2))
    def reserve(self, replica: int) -> Any:
        reservation = self.fresh()
        verdict = self.runner.run(self.replicas[replica].reserve("t", LIMITS, reservation, PATIENCE))
        admitted = self.model.reserve(reservation, self.clock.now_us())
        assert (verdict.limit_id == "") == admitted
        assert admitted or verdict.limit_id in LIMIT_IDS.values()
        return (replica, reservation) if admitted else multiple()

    @rule(reservation=reservations)
    def ask_again(self, reservation: tuple[int, str]) -> None:
        """The reply was lost and the question is sent again; only while the first can still be open."""
        replica, name = reservation
        if name not in self.model._done:
            assert self.runner.run(self.replicas[replica].reserve("t", LIMITS, name, PATIENCE)).limit_id == ""

    @rule(reservation=reservations)
    def refund(self, reservation: tuple[int, str]) -> None:
        replica, name = reservation
        self.tell(replica, "refund", name)
        self.model.refund(name)

    @rule(reservation=reservations)
    def settle(self, reservation: tuple[int, str]) -> None:
        replica, name = reservation
        self.tell(replica, "settle", name)
        self.model.settle(name)

    @rule(replica=st.integers(0, 2), ran=st.booleans(), step=st.sampled_from(["admit", "reserve", "refund", "settle"]))
    def crash(self, replica: int, ran: bool, step: str) -> None:
        """The process is killed at an await: nothing of the step happened, or all of it did and nobody knows."""
        if not self.url:
            return
        store, link, name, now = self.replicas[replica], self.link_of(replica), self.fresh(), self.clock.now_us()
        if step in {"refund", "settle"}:
            asked = self.runner.run(store.reserve("t", LIMITS, name, PATIENCE))
            if self.model.reserve(name, now) != (asked.limit_id == ""):
                raise AssertionError(asked)
        link.crash = "after" if ran else "before"
        with contextlib.suppress(Crash):
            if step == "admit":
                self.runner.run(store.admit("t", LIMITS, name, PATIENCE))
            elif step == "reserve":
                self.runner.run(store.reserve("t", LIMITS, name, PATIENCE))
            else:
                self.tell(replica, step, name)
            pytest.fail("the replica did not crash")
        if ran:
            match step:
                case "admit":
                    self.model.admit(name, now)
                case "reserve":
                    self.model.reserve(name, now)
                case "refund":
                    self.model.refund(name)
                case _:
                    self.model.settle(name)
        self.runner.run(self.bury(store, link))
        self.replicas[replica] = self.open_replica()

    async def bury(self, store: QuotaStore, link: CrashingLink) -> None:
        """A dead process says nothing more."""
        link.crash = "before"
        with contextlib.suppress(Crash):
            await store.aclose()
        link.disconnect()

    def link_of(self, replica: int) -> CrashingLink:
        store = self.replicas[replica]
        assert isinstance(store, ValkeyQuotaStore)
        link: Any = store._link
        assert isinstance(link, CrashingLink)
        return link

    @invariant()
    def counts_are_the_models(self) -> None:
        """Every replica sees the same, and it is what the model says."""
        now = self.clock.now_us()
        for store in self.replicas[:2]:
            snapshot = self.runner.run(store.look("t", LIMITS, PATIENCE))
            assert snapshot.slots == self.model.slots(now)
            for window, count in snapshot.counts.items():
                assert count.used == self.model.used(window, now)


@pytest.fixture(scope="module")
def valkey_url() -> Iterator[str]:
    with running_store() as store:
        yield store.url


@pytest.mark.parametrize("kind", ["memory", "valkey"])
def test_a_store_does_what_the_model_says(kind: str, valkey_url: str) -> None:
    """All-or-nothing, refunds, double settles, crashes at every await, month's end, leap day: as the model."""

    class Machine(QuotaMachine):
        url = valkey_url if kind == "valkey" else ""

    examples = 40 if kind == "valkey" else 80
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None))
