"""What a search costs follows what was sent and what the vendor bills; every search is counted once by its end."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import (
    CacheMiss,
    FaceSetNotAllowed,
    FieldViolation,
    GatewayError,
    GatewayOverloaded,
    ImageRejected,
    TenantQuotaExceeded,
    UpstreamTimeout,
)
from gateway.model import CacheControl, CacheMode, RateLimit, UpstreamAnswer, UpstreamQuery, Window
from gateway.trip import Trip
from tests.support.searching import Desk, tenant_of
from tests.support.upstream import ANSWER, FakeUpstream


class Sends(FakeUpstream):
    """Sends so many requests before it ends as it is told to."""

    def __init__(self, requests: int, end: UpstreamAnswer | Exception) -> None:
        super().__init__(end)
        self.requests = requests

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        for _ in range(self.requests):
            trip.sending()
        await self.hold.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


REJECTED = ImageRejected((FieldViolation("image", "no face"),), upstream_status="INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("requests", "end", "charged"),
    [
        (1, ANSWER, 1),
        (2, ANSWER, 1),
        (1, REJECTED, 1),
        (2, UpstreamTimeout("timeout"), 0),
        (0, UpstreamTimeout("connect_timeout"), 0),
        (0, GatewayOverloaded(), 0),
        (0, REJECTED, 0),
        (1, RuntimeError("a bug"), 0),
    ],
)
async def test_a_charge_follows_what_was_sent(requests: int, end: UpstreamAnswer | Exception, charged: int) -> None:
    """The ledger has every request; the tenant is charged once, if the vendor bills the search."""
    who = tenant_of("kyc", upstream_calls={Window.DAY: 5})
    desk = Desk(Sends(requests, end))
    try:
        await desk(who=who)
    except (GatewayError, RuntimeError) as error:
        assert error is end  # noqa: PT017 - an answer raises nothing
    assert (desk.usage().upstream_calls, desk.usage().charged_units) == (requests, charged)
    assert [limit.used for limit in (await desk.quota.gate.limits(who)).limits] == [charged]


@pytest.mark.parametrize("requests", [0, 1])
async def test_a_search_that_the_drain_cuts_off_is_charged_if_it_was_sent(requests: int) -> None:
    """Whether the vendor bills it is unknown then, so the tenant's limit counts it."""
    upstream, who = Sends(requests, ANSWER), tenant_of("kyc", upstream_calls={Window.DAY: 5})
    desk = Desk(upstream)
    upstream.hold.clear()
    call = asyncio.create_task(desk(who=who))
    await asyncio.sleep(0.01)
    await desk.flights.drain(0.0)
    with pytest.raises(GatewayOverloaded):
        await call
    assert [limit.used for limit in (await desk.quota.gate.limits(who)).limits] == [requests]
    assert desk.usage().charged_units == requests


async def test_every_search_is_counted_once_by_its_end() -> None:
    """Answered, rejected by a limit, or failed: the sum is the number of searches, whatever ended them."""
    upstream = FakeUpstream()
    desk = Desk(upstream)
    limited = tenant_of("kyc", rate=RateLimit(0.001, 10), upstream_calls={Window.DAY: 2})
    await desk(b"known", who=limited)
    await desk(b"known", who=limited)
    upstream.answer = UpstreamTimeout("timeout")
    with pytest.raises(UpstreamTimeout):
        await desk(who=limited)
    upstream.answer = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await desk(who=limited)
    upstream.answer = ANSWER
    with pytest.raises(CacheMiss):
        await desk(who=limited, control=CacheControl(CacheMode.ONLY_IF_CACHED))
    await desk(who=limited)
    with pytest.raises(TenantQuotaExceeded):
        await desk(who=limited)
    with pytest.raises(FaceSetNotAllowed):
        await desk(who=limited, face_set="foreign")
    refused = 0
    for _ in range(5):
        try:
            await desk(b"known", who=limited)
        except GatewayError:
            refused += 1
    figures = desk.usage()
    answered = 3 + (5 - refused)
    assert refused > 0
    assert figures.searches == answered + figures.quota_rejections + figures.failures
    assert (figures.quota_rejections, figures.failures) == (1 + refused, 4)
    assert figures.cache_hits == 1 + (5 - refused)


async def test_a_caller_that_gives_up_is_a_failure() -> None:
    """It was not answered, whatever becomes of its search."""
    upstream = FakeUpstream()
    desk = Desk(upstream)
    upstream.hold.clear()
    call = asyncio.create_task(desk())
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait([call])
    assert (desk.usage().searches, desk.usage().failures) == (1, 1)
    upstream.hold.set()
    await desk.flights.drain(1.0)
