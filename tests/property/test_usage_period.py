"""Periods of usage at the ends of time, over each ledger: an answer, or a refusal that names the field. Nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from facegate.admin.v1 import admin_service_pb2 as admin_pb
from facegate.search.v1 import face_search_service_pb2 as pb
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.quota.link import link_to
from gateway.quota.usage import MemoryUsageStore, UsageLedger, UsageStore
from gateway.quota.usage_valkey import ValkeyUsageStore
from gateway.rpc import codec
from tests.support.quota import PATIENCE, HandClock, fresh_prefix
from tests.support.valkey import running_store

DAY = 86_400
YEAR_1, YEAR_9999 = -62_135_596_800, 253_402_300_799
NOW = 1_763_800_000.0
EDGES = [YEAR_1, YEAR_1 + 30 * DAY, YEAR_1 + 400 * DAY, 0, int(NOW), YEAR_9999 - 400 * DAY, YEAR_9999]
SECONDS = st.one_of(
    st.builds(lambda edge, off: edge + off, st.sampled_from(EDGES), st.integers(-31 * DAY, 31 * DAY)),
    st.builds(lambda edge, off: edge + off, st.sampled_from(EDGES), st.integers(-2, 2)),
    st.sampled_from([-(2**63), 2**63 - 1]),
)
NANOS = st.sampled_from([0, 1, 999_999_999, 1_000_000_000, -1, -(2**31), 2**31 - 1])
TIMES = st.none() | st.builds(lambda seconds, nanos: Timestamp(seconds=seconds, nanos=nanos), SECONDS, NANOS)

Ask = Callable[[Timestamp | None, Timestamp | None], Message]

START_OF_TIME = Timestamp(seconds=YEAR_1)
END_OF_TIME = Timestamp(seconds=YEAR_9999, nanos=999_999_999)


@pytest.fixture(scope="module")
def valkey_url() -> Iterator[str]:
    with running_store() as store:
        yield store.url


class Reports:
    """`GetUsage` and `ListTenantUsage` as the services answer them, on a loop of their own."""

    def __init__(self, url: str) -> None:
        self.runner = asyncio.Runner()
        self.link = link_to(url, prefix=fresh_prefix()) if url else None
        store: UsageStore = ValkeyUsageStore(self.link) if self.link is not None else MemoryUsageStore()
        self.ledger = UsageLedger(store, HandClock(NOW), budget_seconds=PATIENCE)

    def get(self, start: Timestamp | None, end: Timestamp | None) -> pb.GetUsageResponse:
        first, after = codec.decode_period(start, end, now=NOW)
        return codec.encode_daily_usage(self.runner.run(self.ledger.daily("t", first * DAY, after * DAY)))

    def list(self, start: Timestamp | None, end: Timestamp | None) -> admin_pb.ListTenantUsageResponse:
        request = admin_pb.ListTenantUsageRequest(start_time=start, end_time=end)
        first, after = codec.decode_tenant_usage(request, now=NOW).days
        sums = self.runner.run(self.ledger.sums(["t"], first * DAY, after * DAY))
        return admin_pb.ListTenantUsageResponse(tenants=[codec.encode_tenant_usage("t", sums["t"])])

    def close(self) -> None:
        async def close() -> None:
            await self.ledger.aclose()
            if self.link is not None:
                self.link.disconnect()
            await asyncio.sleep(0.001)  # The transport closes in the loop's next turns.

        self.runner.run(close())
        self.runner.close()


def refused(ask: Ask, start: Timestamp | None, end: Timestamp | None) -> set[str] | None:
    """The fields that a period is refused for, or None for a report."""
    try:
        ask(start, end).SerializeToString()
    except InvalidRequest as refusal:
        return {one.field for one in refusal.violations}
    return None


@pytest.fixture(params=["memory", "valkey"], scope="module")
def reports(request: pytest.FixtureRequest, valkey_url: str) -> Iterator[Reports]:
    made = Reports(valkey_url if request.param == "valkey" else "")
    yield made
    made.close()


@settings(max_examples=150, deadline=None)
@given(start=TIMES, end=TIMES)
@example(start=None, end=START_OF_TIME)
@example(start=START_OF_TIME, end=START_OF_TIME)
@example(start=START_OF_TIME, end=Timestamp(seconds=YEAR_1 + 400 * DAY))
@example(start=None, end=Timestamp(seconds=YEAR_1 + 30 * DAY - 1))
@example(start=None, end=Timestamp(seconds=YEAR_1 + 30 * DAY))
@example(start=None, end=END_OF_TIME)
@example(start=Timestamp(seconds=YEAR_9999 - 399 * DAY), end=END_OF_TIME)
@example(start=END_OF_TIME, end=None)
def test_a_period_is_answered_or_refused_by_its_field(
    reports: Reports, start: Timestamp | None, end: Timestamp | None
) -> None:
    """Years 1 and 9999, nanoseconds out of range, ends before starts: INVALID_REQUEST, or a report."""
    for ask in (reports.get, reports.list):
        fields = refused(ask, start, end)
        assert fields is None or (fields and fields <= {"start_time", "end_time"})


@pytest.mark.parametrize(
    ("end", "field"),
    [
        (START_OF_TIME, "end_time"),
        (Timestamp(seconds=YEAR_1 + 30 * DAY - 1), "end_time"),
        (Timestamp(seconds=YEAR_1 + 30 * DAY), None),
        (END_OF_TIME, None),
    ],
)
def test_the_first_days_of_time_have_no_thirty_days_before_them(
    reports: Reports, end: Timestamp, field: str | None
) -> None:
    """Without a start the period would begin before year 1."""
    if field is None:
        assert len(reports.get(None, end).days) == 0
        return
    for ask in (reports.get, reports.list):
        assert refused(ask, None, end) == {field}
