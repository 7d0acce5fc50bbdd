"""The requests that client commands send and the JSON that they print. Messages only: `client` calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from facegate.admin.v1.admin_service_pb2 import ListTenantUsageRequest, PurgeCacheRequest
from facegate.search.v1.face_search_service_pb2 import (
    CacheStatus,
    GetQuotaRequest,
    GetUsageRequest,
    SearchFaceRequest,
    SearchFaceResponse,
    SearchOutcome,
)
from google.protobuf.json_format import Error, MessageToDict

from gateway.cli.call_failure import CallFailure
from gateway.cli.terminal import json_line

_Period = TypeVar("_Period", GetUsageRequest, ListTenantUsageRequest)


def search_request(
    face_set: str, content: bytes, threshold: float | None, max_results: int | None
) -> SearchFaceRequest:
    """A search of `content`; None leaves a parameter to the gateway's default."""
    request = SearchFaceRequest(face_set=face_set, threshold=threshold, max_results=max_results)
    request.image.content = content
    return request


def quota_request() -> GetQuotaRequest:
    """Asks for the caller's limits."""
    return GetQuotaRequest()


def usage_request(start: datetime | None, end: datetime | None) -> GetUsageRequest:
    """Asks for the caller's use; None is the gateway's default."""
    return _period(GetUsageRequest(), start, end)


def tenant_usage_request(
    tenant: str, start: datetime | None, end: datetime | None, page_token: str
) -> ListTenantUsageRequest:
    """Asks for a page of tenants' use; an empty `tenant` is all."""
    return _period(ListTenantUsageRequest(tenant=tenant, page_size=1000, page_token=page_token), start, end)


def purge_request(tenant: str | None, face_set: str | None) -> PurgeCacheRequest:
    """Purges a face set of a tenant, a tenant, or (both None) everything."""
    request = PurgeCacheRequest()
    if tenant is None:
        request.all = True
    elif face_set is None:
        request.tenant = tenant
    else:
        request.face_set.tenant = tenant
        request.face_set.face_set = face_set
    return request


def outcome(reply: SearchFaceResponse) -> str:
    """What a search found, in words."""
    return _word(SearchOutcome.Name, reply.outcome)


def cache_status(reply: SearchFaceResponse) -> str:
    """How the cache took part, in a word."""
    return _word(CacheStatus.Name, reply.cache.status)


def as_mapping(message: Any) -> dict[str, Any]:
    """A message as JSON has it, by its proto names; numbers of 64 bits are text. Raises CallFailure if it has no JSON."""
    try:
        return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    except (Error, ValueError):
        raise CallFailure("BAD_ANSWER", "the answer holds a time that does not exist") from None


def as_json_text(message: Any) -> str:
    """A message as one line of JSON."""
    return json_line(as_mapping(message))


def _word(name_of: Callable[[Any], str], value: Any) -> str:
    """An enum value without its prefix; a number that a newer gateway sent stays a number."""
    try:
        name = name_of(value)
    except ValueError:
        return str(value)
    return name.removeprefix("SEARCH_OUTCOME_").removeprefix("CACHE_STATUS_").lower().replace("_", " ")


def _period(request: _Period, start: datetime | None, end: datetime | None) -> _Period:
    if start is not None:
        request.start_time.FromDatetime(start)
    if end is not None:
        request.end_time.FromDatetime(end)
    return request
