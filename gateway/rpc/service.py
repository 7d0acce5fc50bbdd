"""FaceSearchService: converts, calls one domain function, converts back."""

from __future__ import annotations

from collections.abc import Mapping

from facegate.search.v1 import face_search_service_pb2 as pb

from gateway.clock import Clock
from gateway.errors import QuotaUnavailable
from gateway.quota.gate import QuotaGate
from gateway.quota.store import StoreUnavailable
from gateway.quota.usage import UsageLedger
from gateway.rpc import codec
from gateway.rpc.call import Call
from gateway.rpc.frame import Method
from gateway.search import FaceSearch

_SERVICE = "/facegate.search.v1.FaceSearchService/"
_DAY_SECONDS = 86_400


class FaceSearchService:
    """The RPCs that callers use."""

    def __init__(self, search: FaceSearch, quota: QuotaGate, usage: UsageLedger, clock: Clock) -> None:
        self._search = search
        self._quota = quota
        self._usage = usage
        self._clock = clock

    def methods(self) -> Mapping[str, Method]:
        """The methods by their full path; those of the contract that are missing answer NOT_IMPLEMENTED."""
        return {
            _SERVICE + "SearchFace": self.search_face,
            _SERVICE + "GetQuota": self.get_quota,
            _SERVICE + "GetUsage": self.get_usage,
        }

    async def search_face(self, call: Call) -> pb.SearchFaceResponse:
        """Searches one image in one face set."""
        record, admission, held = call.record, call.admission, call.held
        assert admission is not None
        assert held is not None
        search = codec.decode_search(codec.parse(pb.SearchFaceRequest, call.take_message()), now=self._clock.now())
        record.image_format, record.image_bytes = search.image.format, len(search.image.content)
        answer = await self._search(admission, search, call.deadline, record, held)
        record.cache_status = answer.cache_status
        record.match_count = len(answer.answer.matches)
        return codec.encode_answer(answer, record.request_id, now=self._clock.now())

    async def get_quota(self, call: Call) -> pb.GetQuotaResponse:
        """The caller's limits and what is left of them."""
        codec.parse(pb.GetQuotaRequest, call.take_message())
        return codec.encode_quota(call.tenant, await self._quota.limits(call.tenant))

    async def get_usage(self, call: Call) -> pb.GetUsageResponse:
        """The caller's use, a row a day."""
        request = codec.parse(pb.GetUsageRequest, call.take_message())
        first, end = codec.decode_period(
            request.start_time if request.HasField("start_time") else None,
            request.end_time if request.HasField("end_time") else None,
            now=self._clock.now(),
        )
        try:
            rows = await self._usage.daily(call.tenant.id, first * _DAY_SECONDS, end * _DAY_SECONDS)
        except StoreUnavailable:
            raise QuotaUnavailable("the use cannot be read at the moment") from None
        return codec.encode_daily_usage(rows)
