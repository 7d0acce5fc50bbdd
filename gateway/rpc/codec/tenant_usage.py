"""The question for tenants' use, a page at a time."""

from __future__ import annotations

from typing import NamedTuple

from facegate.admin.v1 import admin_service_pb2 as pb

from gateway.rpc.codec.paging import collect_page_size, collect_page_token, encode_page_token
from gateway.rpc.codec.period import collect_period
from gateway.rpc.codec.violations import Violations


class TenantUsageQuestion(NamedTuple):
    """`tenant` is "" for all, `days` the first and the one after the last; of those after `after`, at most `size`."""

    tenant: str
    days: tuple[int, int]
    size: int
    after: str
    same: tuple[object, ...]
    """What a page token is good for."""

    def next_page_token(self, last: str) -> str:
        """The token for what follows the tenant `last`."""
        return encode_page_token(last, self.same)


def decode_tenant_usage(request: pb.ListTenantUsageRequest, *, now: float) -> TenantUsageQuestion:
    """`now` in seconds since 1970. Raises `InvalidRequest` with all violations at once."""
    start = request.start_time if request.HasField("start_time") else None
    end = request.end_time if request.HasField("end_time") else None
    same = (request.tenant, *(None if one is None else (one.seconds, one.nanos) for one in (start, end)))
    violations = Violations()
    days = collect_period(start, end, now=now, violations=violations)
    size = collect_page_size(request.page_size, violations)
    after = collect_page_token(request.page_token, same, violations)
    violations.raise_any()
    assert days is not None
    return TenantUsageQuestion(request.tenant, days, size, after, same)
