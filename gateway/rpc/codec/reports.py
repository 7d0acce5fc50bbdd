"""Limits and use as callers and operators get them."""

from __future__ import annotations

from collections.abc import Iterable

from facegate.admin.v1 import admin_service_pb2 as admin_pb
from facegate.search.v1 import face_search_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.model import Tenant
from gateway.quota.status import LimitKind, LimitStatus, QuotaStatus
from gateway.quota.usage import DailyUsage, Figures

_KINDS = {
    LimitKind.RATE: pb.QUOTA_LIMIT_KIND_RATE,
    LimitKind.CONCURRENCY: pb.QUOTA_LIMIT_KIND_CONCURRENCY,
    LimitKind.UPSTREAM_CALLS: pb.QUOTA_LIMIT_KIND_UPSTREAM_CALLS,
}


def encode_quota(tenant: Tenant, status: QuotaStatus) -> pb.GetQuotaResponse:
    """A tenant's limits, and the aliases of its face sets."""
    return pb.GetQuotaResponse(
        tenant=tenant.id,
        limits=[_limit(limit) for limit in status.limits],
        face_sets=sorted(tenant.face_sets),
        degraded=status.degraded,
    )


def _limit(limit: LimitStatus) -> pb.QuotaLimit:
    window, reset = limit.window_seconds, limit.reset_time
    return pb.QuotaLimit(
        id=limit.id,
        kind=_KINDS[limit.kind],
        limit=limit.limit,
        used=limit.used,
        remaining=limit.remaining,
        window=None if window is None else Duration(seconds=int(window), nanos=int(window % 1 * 1e9)),
        reset_time=None if reset is None else Timestamp(seconds=int(reset), nanos=int(reset % 1 * 1e9)),
    )


def encode_daily_usage(days: Iterable[DailyUsage]) -> pb.GetUsageResponse:
    """A row for each day on which anything happened."""
    return pb.GetUsageResponse(
        days=[
            pb.DailyUsage(day=Timestamp(seconds=row.day), **_figures(row.figures))
            for row in days
            if row.figures != Figures()
        ]
    )


def encode_tenant_usage(tenant: str, figures: Figures) -> admin_pb.TenantUsage:
    """One tenant's sums."""
    return admin_pb.TenantUsage(tenant=tenant, **_figures(figures))


def _figures(figures: Figures) -> dict[str, int]:
    return {
        "searches": figures.searches,
        "cache_hits": figures.cache_hits,
        "quota_rejections": figures.quota_rejections,
        "failures": figures.failures,
        "upstream_calls": figures.upstream_calls,
        "charged_units": figures.charged_units,
    }
