"""The way to the vendor: a place for each search, one request, and a second one where the first was surely not read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.clock import Clock
from gateway.errors import ImageRejected, UpstreamFailure, UpstreamUnavailable
from gateway.model import UpstreamAnswer, UpstreamQuery
from gateway.tls import client_context
from gateway.trip import Trip
from gateway.upstream.attempt import Attempt, Unread
from gateway.upstream.credentials import CredentialSource
from gateway.upstream.endpoint import search_url
from gateway.upstream.form import ImageEncoding
from gateway.upstream.port import Upstream
from gateway.upstream.proxy import Proxy
from gateway.upstream.slots import Slots, ignore_wait
from gateway.upstream.timed import OnAttempt, Timed
from gateway.upstream.transport import open_transport
from gateway.upstream.wire import NoResult

# The rest of the time is the search's. A vendor that takes longer than this to accept a connection will not answer.
CONNECT_SHARE = 0.5


class UpstreamClient:
    """Searches at the vendor by `attempt`, never more at once than `slots` has places.

    A search ends `timeout_seconds` after it got its place. A cancelled search gives its place and its connection back.
    """

    def __init__(self, attempt: Upstream, slots: Slots, timeout_seconds: float) -> None:
        self._attempt = attempt
        self._slots = slots
        self._timeout_seconds = timeout_seconds

    @property
    def waiting(self) -> int:
        """Searches that wait for a connection now."""
        return self._slots.waiting

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        """See `Upstream.search`."""
        held_since = await self._slots.take(trip)
        trip.ends_at = held_since + self._timeout_seconds
        failure: UpstreamFailure | ImageRejected
        unread = 0
        try:
            try:
                return await self._attempt.search(query, trip)
            except Unread:
                unread = trip.attempts
            return await self._attempt.search(query, trip)
        except Unread:
            unread = trip.attempts
            failure = UpstreamUnavailable("connection_lost")
        except (UpstreamFailure, ImageRejected) as error:
            failure = error
        finally:
            self._slots.give_back(trip, held_since)
        # Stubs may repeat what the vendor cannot have acted on.
        failure.attempts = 0 if trip.attempts == unread else trip.attempts
        raise failure.with_traceback(None)


def ignore_attempt(status: str, seconds: float, requests: int) -> None:
    """Does nothing with an attempt."""


@asynccontextmanager
async def open_upstream(
    *,
    base_url: str,
    credentials: CredentialSource,
    clock: Clock,
    timeout_seconds: float = 10.0,
    max_connections: int = 64,
    keep_alive: bool = True,
    allow_private_addresses: bool = False,
    proxy: Proxy | None = None,
    ca_file: Path | None = None,
    image_encoding: ImageEncoding = "multipart",
    no_result: NoResult = "ok",
    on_attempt: OnAttempt = ignore_attempt,
    on_wait: Callable[[float], None] = ignore_wait,
) -> AsyncIterator[UpstreamClient]:
    """The client with connections of its own, closed in the end. Raises `ValueError` or `OSError` for bad settings.

    `on_attempt` is called for each request; `on_wait` with the seconds that a search waited for a connection, if it had
    to.
    """
    url = search_url(base_url)
    tls = client_context(ca_file, alpn=("http/1.1",)) if url.scheme == "https" else None
    transport = open_transport(
        url,
        tls,
        timeout_seconds * CONNECT_SHARE,
        keep_alive=keep_alive,
        allow_private_addresses=allow_private_addresses,
        proxy=proxy,
    )
    attempt = Attempt(
        transport=transport,
        credentials=credentials,
        url=url,
        image_encoding=image_encoding,
        no_result=no_result,
        clock=clock,
    )
    # Inside all that repeats: each request is counted.
    timed = Timed(attempt, on_attempt, clock)
    try:
        yield UpstreamClient(timed, Slots(max_connections, clock, on_wait), timeout_seconds)
    finally:
        await transport.aclose()
