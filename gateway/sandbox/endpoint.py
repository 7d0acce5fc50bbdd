"""The vendor's endpoint: from an HTTP request to an answer of the vendor's form.

What the vendor's page leaves open is decided so: a face set that is not there and one without photos are both
QUERY_FAILED, the latter with the page's `no result`; a search that finds nothing like the photo is OK with an empty
`result`. A field given twice, both forms of the image at once, and `start_time` in the future are INVALID_ARGUMENT.
Any other path or method is NOT_FOUND. Fields that the page does not name are ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from gateway.clock import Clock
from gateway.sandbox import form, parameters
from gateway.sandbox.accounts import API_ID_HEADER, Account, authenticate
from gateway.sandbox.facesets import FaceSets
from gateway.sandbox.faultboard import FaultBoard
from gateway.sandbox.matching import Matcher
from gateway.sandbox.misbehave import JSON, misbehave
from gateway.sandbox.stats import UNKNOWN, Call, Stats
from gateway.sandbox.verdicts import HTTP_CODES, NO_RESULT, Refused, VendorStatus, failure_body, ok_body

PATH = "/faceset/v2/search_face"


class Endpoint:
    """Answers searches."""

    def __init__(
        self,
        accounts: Mapping[str, Account],
        face_sets: FaceSets,
        matcher: Matcher,
        *,
        board: FaultBoard,
        stats: Stats,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._face_sets = face_sets
        self._matcher = matcher
        self._board = board
        self._stats = stats
        self._clock = clock

    async def search_face(self, request: web.Request) -> web.StreamResponse:
        """Answers one search, or strikes it with a fault."""
        api_id = request.headers.get(API_ID_HEADER, "")
        call = self._stats.begin(api_id if api_id in self._accounts else UNKNOWN)
        try:
            fields = await self._fields(request)
            name = _face_set_name(fields)
            self._stats.count_face_set(call, name if name in self._face_sets else UNKNOWN)
            posted = self._board.strike(api_id, name)
            if posted is None:
                code, body = await self._answer(request, fields, call)
                return web.Response(status=code, body=body, content_type=JSON)
            await asyncio.sleep(posted.fault.latency_seconds)
            response = await misbehave(request, posted, self._board, lambda: self._answer(request, fields, call))
            call.status = getattr(posted.fault, "status", posted.fault.kind)
            return response
        finally:
            self._stats.end(call)

    async def not_found(self, request: web.Request) -> web.Response:
        """Answers whatever the vendor's page does not describe."""
        self._stats.statuses[VendorStatus.NOT_FOUND.value] += 1
        reason = f"only POST {PATH} is there"
        return web.Response(status=404, body=failure_body(VendorStatus.NOT_FOUND, reason), content_type=JSON)

    async def _fields(self, request: web.Request) -> form.Form | Refused:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return Refused(VendorStatus.INVALID_ARGUMENT, "the request is too large for an image of 5 MB")
        self._stats.bytes_received += len(body)
        try:
            return form.parse(request.headers.get("Content-Type", ""), body)
        except Refused as refused:
            return refused

    async def _answer(self, request: web.Request, fields: form.Form | Refused, call: Call) -> tuple[int, bytes]:
        try:
            authenticate(self._accounts, request.headers)
            if isinstance(fields, Refused):
                raise fields
            asked = parameters.read(fields, self._clock.now())
            faces = await self._face_sets.get(asked.name)
            if faces is None:
                raise Refused(VendorStatus.QUERY_FAILED, "the face set does not exist")
            found = await self._matcher.match(asked, faces)
            if not faces:
                raise Refused(VendorStatus.QUERY_FAILED, NO_RESULT)
        except Refused as refused:
            call.status = refused.status
            return HTTP_CODES[refused.status], failure_body(refused.status, refused.reason)
        call.status = VendorStatus.OK
        return 200, ok_body(found)


def _face_set_name(fields: form.Form | Refused) -> str:
    return "" if isinstance(fields, Refused) else fields.get("name", b"").decode("utf-8", "replace")
