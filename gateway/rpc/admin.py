"""AdminService: converts, calls one domain function, converts back. Every method needs the role `operator`."""

from __future__ import annotations

from collections.abc import Mapping

from facegate.admin.v1 import admin_service_pb2 as pb

from gateway.auth.authenticator import Authenticator
from gateway.cache.epochs import Scope
from gateway.cache.results import ResultCache
from gateway.clock import Clock
from gateway.errors import FieldViolation, InvalidRequest, QuotaUnavailable
from gateway.quota.store import StoreUnavailable
from gateway.quota.usage import UsageLedger
from gateway.rpc import codec
from gateway.rpc.call import Call
from gateway.rpc.frame import Method
from gateway.telemetry import audit

_SERVICE = "/facegate.admin.v1.AdminService/"
_DAY_SECONDS = 86_400


class AdminService:
    """The RPCs that operators use."""

    def __init__(self, authenticator: Authenticator, usage: UsageLedger, cache: ResultCache, clock: Clock) -> None:
        self._authenticator = authenticator
        self._usage = usage
        self._cache = cache
        self._clock = clock

    def methods(self) -> Mapping[str, Method]:
        """The methods by their full path; those of the contract that are missing answer NOT_IMPLEMENTED."""
        return {
            _SERVICE + "PurgeCache": self.purge_cache,
            _SERVICE + "ListTenantUsage": self.list_tenant_usage,
        }

    async def purge_cache(self, call: Call) -> pb.PurgeCacheResponse:
        """Makes every cached answer of a scope dead."""
        request = codec.parse(pb.PurgeCacheRequest, call.take_message())
        epoch = await self._cache.purge(self._scope(request))
        kind = request.WhichOneof("scope") or ""
        audit.purged(
            call.record,
            kind,
            epoch,
            of_tenant=request.tenant or request.face_set.tenant,
            face_set=request.face_set.face_set,
        )
        return pb.PurgeCacheResponse(epoch=epoch)

    def _scope(self, request: pb.PurgeCacheRequest) -> Scope:
        match request.WhichOneof("scope"):
            case "all" if request.all:
                return Scope()
            case "tenant" if self._authenticator.tenants.get(request.tenant) is not None:
                return Scope(request.tenant)
            case "face_set":
                tenant = self._authenticator.tenants.get(request.face_set.tenant)
                if tenant is None:
                    raise _invalid("face_set.tenant", "is not a tenant of this gateway")
                if request.face_set.face_set not in tenant.face_sets:
                    raise _invalid("face_set.face_set", "is not an alias in the tenant's list")
                return Scope(tenant.id, tenant.face_sets[request.face_set.face_set])
            case "tenant":
                raise _invalid("tenant", "is not a tenant of this gateway")
            case "all":
                raise _invalid("all", "must be true")
        raise _invalid("scope", "is required: set `all`, `tenant` or `face_set`")

    async def list_tenant_usage(self, call: Call) -> pb.ListTenantUsageResponse:
        """The sums of each tenant's use over a period, a page at a time."""
        request = codec.parse(pb.ListTenantUsageRequest, call.take_message())
        question = codec.decode_tenant_usage(request, now=self._clock.now())
        tenants = sorted(
            tenant.id
            for tenant in self._authenticator.tenants
            if tenant.id > question.after and question.tenant in ("", tenant.id)
        )
        page, first, end = tenants[: question.size], *question.days
        try:
            sums = await self._usage.sums(page, first * _DAY_SECONDS, end * _DAY_SECONDS)
        except StoreUnavailable:
            raise QuotaUnavailable("the use cannot be read at the moment") from None
        return pb.ListTenantUsageResponse(
            tenants=[codec.encode_tenant_usage(tenant, figures) for tenant, figures in sums.items()],
            next_page_token=question.next_page_token(page[-1]) if len(tenants) > len(page) else "",
        )


def _invalid(field: str, description: str) -> InvalidRequest:
    return InvalidRequest((FieldViolation(field, description),))
