"""The vendor's endpoint as an `Upstream`: sends a search, reads the answer within strict limits, says what it means.

One call: take a slot, send the form, let the HTTP code speak, read the body, let the body speak. Retrying, choosing
between credentials and pacing stand in front of this class, not in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
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
from gateway.upstream.alarms import Alarms
from gateway.upstream.credentials import Credential, CredentialSource
from gateway.upstream.endpoint import search_url
from gateway.upstream.faults import TLS_ERROR, failure_of
from gateway.upstream.form import ImageEncoding, search_form
from gateway.upstream.retry_after import parse_retry_after
from gateway.upstream.slots import Slots, nobody
from gateway.upstream.tls import verifying_context
from gateway.upstream.transport import open_transport
from gateway.upstream.verdicts import by_code, by_code_alone
from gateway.upstream.wire import NoResult, read_answer

MAX_ANSWER_BYTES = 64 * 1024

# The rest of the time is the search's. A vendor that takes longer than this to accept a connection will not answer.
CONNECT_SHARE = 0.5


class UpstreamClient:
    """Searches at the vendor, with the credential in force, over `transport`.

    A search ends within `timeout_seconds`, waiting for a slot included. Besides what `Upstream` names it raises
    `GatewayOverloaded` when every slot is taken. A cancelled search gives its slot and its connection back.
    """

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport,
        credentials: CredentialSource,
        url: httpx.URL,
        slots: Slots,
        timeout_seconds: float,
        image_encoding: ImageEncoding,
        no_result: NoResult,
        clock: Clock,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._url = url
        self._slots = slots
        self._timeout_seconds = timeout_seconds
        self._image_encoding: ImageEncoding = image_encoding
        self._no_result: NoResult = no_result
        self._clock = clock
        self._alarms = Alarms(clock)

    @property
    def waiting(self) -> int:
        """Searches that wait for a connection now."""
        return self._slots.waiting

    async def search(self, query: UpstreamQuery) -> UpstreamAnswer:
        """Searches `query.face_set` for the face in `query.image`."""
        credential = self._credentials.current
        failure: GatewayError
        try:
            async with asyncio.timeout(self._timeout_seconds), self._slots:
                return await self._ask(query, credential)
        except TimeoutError:
            failure = UpstreamTimeout("timeout")
        except httpx.TransportError as error:
            failure = failure_of(error)
        except GatewayError as error:
            failure = error
        self._alarm(failure, credential)
        # Out of the handlers and without a traceback: either would keep the request with its headers and image alive.
        raise failure.with_traceback(None)

    async def _ask(self, query: UpstreamQuery, credential: Credential) -> UpstreamAnswer:
        response = await self._transport.handle_async_request(self._request(query, credential))
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            code, now = response.status_code, self._clock.now()
            # httpx looks a header up by way of all of them, nine calls a time.
            headers = {name.lower(): value for name, value in response.headers.raw}
            retry_after = parse_retry_after(headers.get(b"retry-after"), now)
            verdict = by_code(code, retry_after)
            if verdict is not None:
                raise verdict
            if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
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

    def _request(self, query: UpstreamQuery, credential: Credential) -> httpx.Request:
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
        )

    def _alarm(self, failure: GatewayError, credential: Credential) -> None:
        if not isinstance(failure, UpstreamFailure):
            return
        status = failure.upstream_status
        if status == TLS_ERROR:
            self._alarms.sound("upstream.tls_verification_failed", status, credential.name)
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


@asynccontextmanager
async def open_upstream(
    *,
    base_url: str,
    credentials: CredentialSource,
    clock: Clock,
    timeout_seconds: float = 10.0,
    max_connections: int = 64,
    ca_file: Path | None = None,
    image_encoding: ImageEncoding = "multipart",
    no_result: NoResult = "ok",
    waited: Callable[[float], None] = nobody,
) -> AsyncIterator[UpstreamClient]:
    """The client with connections of its own, closed in the end. Raises `ValueError` or `OSError` for bad settings.

    `waited` is told how many seconds each search waited for a connection, if it had to.
    """
    url = search_url(base_url)
    tls = verifying_context(ca_file) if url.scheme == "https" else None
    transport = open_transport(url, tls, timeout_seconds * CONNECT_SHARE)
    try:
        yield UpstreamClient(
            transport=transport,
            credentials=credentials,
            url=url,
            slots=Slots(max_connections, waited),
            timeout_seconds=timeout_seconds,
            image_encoding=image_encoding,
            no_result=no_result,
            clock=clock,
        )
    finally:
        await transport.aclose()
