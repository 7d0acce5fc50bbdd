"""One request to the vendor, and what its answer means.

Sends the form, lets the HTTP code speak, reads the body within strict limits, lets the body speak. It knows nothing of
queues, repeats, credentials in waiting or telemetry, which stand around it (see `build.py`).
"""

from __future__ import annotations

from typing import cast

import httpx

from gateway.clock import Clock
from gateway.errors import (
    GatewayError,
    UpstreamAccessMisconfigured,
    UpstreamBadResponse,
    UpstreamFailure,
    UpstreamTimeout,
)
from gateway.model import UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip
from gateway.upstream.alarms import Alarms
from gateway.upstream.credentials import Credential, CredentialSource
from gateway.upstream.faults import (
    ADDRESS_REFUSED,
    PROXY_ERROR,
    PROXY_LOGIN_REFUSED,
    PROXY_REFUSED,
    PROXY_TLS_ERROR,
    TLS_ERROR,
    failure_of,
)
from gateway.upstream.form import ImageEncoding, search_form
from gateway.upstream.retry_after import parse_retry_after
from gateway.upstream.timer import TimeLimit
from gateway.upstream.transport import RequestUnread
from gateway.upstream.verdicts import by_code, by_code_alone
from gateway.upstream.wire import NoResult, read_answer

MAX_ANSWER_BYTES = 64 * 1024

# What an operator has to act on, and how.
_ALARMS: dict[str, tuple[str, dict[str, str]]] = {
    TLS_ERROR: ("upstream.tls_verification_failed", {}),
    ADDRESS_REFUSED: (
        "upstream.address_refused",
        {
            "problem": "the host of upstream.base_url has no public address; if a host in a private network is meant, set "
            "upstream.allow_private_addresses: true"
        },
    ),
    PROXY_ERROR: (
        "upstream.proxy_failed",
        {
            "problem": "the proxy of upstream.proxy.url cannot be reached, or does not speak HTTP: look at it and its port"
        },
    ),
    PROXY_TLS_ERROR: (
        "upstream.proxy_tls_verification_failed",
        {"problem": "the proxy's certificate is not of its host or its authority: look at upstream.proxy.ca_file"},
    ),
    PROXY_REFUSED: (
        "upstream.proxy_refused",
        {"problem": "the proxy lets nobody to the host of upstream.base_url: allow it there"},
    ),
    PROXY_LOGIN_REFUSED: (
        "upstream.proxy_refused",
        {
            "problem": "the proxy refuses the credentials or wants some: put the right ones into upstream.proxy.credentials_file"
        },
    ),
}


class Unread(Exception):
    """A kept connection ended before the vendor can have read the request, so the vendor has not acted on it."""

    upstream_status = "connection_lost"


class Attempt:
    """Sends one request for a search, with the credential in force, over `transport`. Ends by `trip.ends_at`."""

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport,
        credentials: CredentialSource,
        url: httpx.URL,
        image_encoding: ImageEncoding,
        no_result: NoResult,
        clock: Clock,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._url = url
        self._image_encoding: ImageEncoding = image_encoding
        self._no_result: NoResult = no_result
        self._clock = clock
        self._alarms = Alarms(clock)

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        """See `Upstream.search`. Raises `Unread` too, if the request may be sent once more."""
        credential = self._credentials.current
        failure: GatewayError | Unread
        try:
            with TimeLimit(trip.ends_at - self._clock.monotonic()):
                return await self._ask(query, credential, trip)
        except TimeoutError:
            failure = UpstreamTimeout("timeout")
        except RequestUnread:
            failure = Unread()
        except httpx.TransportError as error:
            failure = failure_of(error)
        except GatewayError as error:
            failure = error
        if isinstance(failure, UpstreamFailure):
            self._alarm(failure, credential)
        # Out of the handlers and without a traceback: either would keep the request with its headers and image alive.
        raise failure.with_traceback(None)

    async def _ask(self, query: UpstreamQuery, credential: Credential, trip: Trip) -> UpstreamAnswer:
        response = await self._transport.handle_async_request(self._request(query, credential, trip))
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            code, now = response.status_code, self._clock.now()
            # httpx looks a header up by way of all of them, nine calls a time.
            headers = {name.lower(): value for name, value in response.headers.raw}
            retry_after = parse_retry_after(headers.get(b"retry-after"), now)
            verdict = by_code(code, retry_after)
            if verdict is not None:
                raise verdict
            # An empty one says as much as none.
            if headers.get(b"content-encoding", b"").strip().lower() not in (b"", b"identity"):
                raise by_code_alone(code, "compressed_body")
            return read_answer(
                code,
                await _read_body(code, stream),
                query.parameters,
                no_result=self._no_result,
                retry_after_seconds=retry_after,
                now=now,
            )
        finally:
            await stream.aclose()

    def _request(self, query: UpstreamQuery, credential: Credential, trip: Trip) -> httpx.Request:
        """The request. Nothing of the caller is in it: no id, no trace, no name."""
        form = search_form(query, self._image_encoding)
        return httpx.Request(
            "POST",
            self._url,
            headers=[
                (b"X-DF-API-ID", credential.api_id.reveal().encode("ascii")),
                (b"X-DF-API-SECRET", credential.api_secret.reveal().encode("ascii")),
                (b"Content-Type", form.content_type),
                (b"Content-Length", b"%d" % form.length),
                (b"Accept", b"application/json"),
                (b"Accept-Encoding", b"identity"),
                (b"User-Agent", b"facegate"),
            ],
            stream=form.body,
            # A request that a kept connection lost goes over a new one: where one was stale, others are.
            extensions={"sending": trip.sending, "fresh": trip.attempts > 0},
        )

    def _alarm(self, failure: UpstreamFailure, credential: Credential) -> None:
        status = failure.upstream_status
        if status in _ALARMS:
            event, more = _ALARMS[status]
            self._alarms.sound(event, status, credential.name, **more)
        elif isinstance(failure, UpstreamAccessMisconfigured):
            self._alarms.sound("upstream.access_refused", status, credential.name)
        elif isinstance(failure, UpstreamBadResponse) and status == "redirect":
            self._alarms.sound("upstream.redirect_refused", status, credential.name)


async def _read_body(code: int, stream: httpx.AsyncByteStream) -> bytes:
    """The body as it came; what is longer than `MAX_ANSWER_BYTES` is left unread."""
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise by_code_alone(code, "oversize_body")
    return bytes(body)
