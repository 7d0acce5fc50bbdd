"""FaceSearchService: converts, calls one domain function, converts back."""

from __future__ import annotations

from collections.abc import Mapping

from facegate.search.v1.face_search_service_pb2 import SearchFaceRequest, SearchFaceResponse

from gateway.clock import Clock
from gateway.rpc import codec
from gateway.rpc.call import Call
from gateway.rpc.dispatch import Method
from gateway.search import FaceSearch

_SERVICE = "/facegate.search.v1.FaceSearchService/"


class FaceSearchService:
    """The RPCs that callers use."""

    def __init__(self, search: FaceSearch, clock: Clock) -> None:
        self._search = search
        self._clock = clock

    def methods(self) -> Mapping[str, Method]:
        """The methods by their full path; those of the contract that are missing answer NOT_IMPLEMENTED."""
        return {_SERVICE + "SearchFace": self.search_face}

    async def search_face(self, call: Call, raw: bytes) -> SearchFaceResponse:
        """Searches one image in one face set."""
        assert call.principal is not None
        request = codec.parse(SearchFaceRequest, raw)
        search = codec.decode_search(request, now=self._clock.now())
        answer = await self._search(call.principal.tenant, search, call.deadline, call.record)
        return codec.encode_answer(answer, call.request_id, now=self._clock.now())
