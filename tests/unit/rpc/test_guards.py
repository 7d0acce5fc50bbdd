"""A call is looked at again when its message is here, and charged before its message is read."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from gateway.auth.authenticator import Authenticator
from gateway.auth.tenants import TenantEntry, Tenants, TokenIdentity
from gateway.auth.tokens import token_digest
from gateway.errors import CredentialsInvalid, OperationNotAllowed, TenantConcurrencyExceeded, TenantRateLimited
from gateway.model import Limits, RateLimit, Role, Tenant
from gateway.quota.build import build_quota
from gateway.rpc.call import Call, Context, call_from_headers
from gateway.rpc.guards.authenticate import Authenticate
from gateway.rpc.guards.limit import Limit
from tests.support.call_context import CallContext
from tests.support.clock import ManualClock

SEARCH = "/facegate.search.v1.FaceSearchService/SearchFace"
GET_QUOTA = "/facegate.search.v1.FaceSearchService/GetQuota"
PURGE = "/facegate.admin.v1.AdminService/PurgeCache"
TOKEN = "a-token"
OPERATOR = Tenant("ops", role=Role.OPERATOR, face_sets={"staff": "staff-1"})


def registry(*tenants: tuple[Tenant, str]) -> Tenants:
    return Tenants(TenantEntry(tenant, (TokenIdentity(token_digest(token)),)) for tenant, token in tenants)


class Stage:
    """Both guards over one tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self.clock = ManualClock()
        self.authenticator = Authenticator(registry((tenant, TOKEN)), clock=self.clock)
        self.quota = build_quota("memory://", clock=self.clock, on_store_failure="share")
        self.authenticate = Authenticate(self.authenticator, self.clock, certificates=False)
        self.limit = Limit(self.quota.gate, self.quota.usage, self.clock)

    def call(self, path: str) -> Call:
        context = CallContext(("authorization", f"Bearer {TOKEN}"))
        return call_from_headers(path, cast("Context", context), self.clock.monotonic(), 15.0)

    def on_headers(self, path: str) -> Call:
        call = self.call(path)
        assert self.authenticate.on_headers(call)
        try:
            assert self.limit.on_headers(call)
        except Exception as error:
            call.record.reason = getattr(error, "reason", "")
            self.limit.on_end(call)
            raise
        return call


def test_a_token_that_was_removed_meanwhile_is_refused() -> None:
    stage = Stage(OPERATOR)
    call = stage.on_headers(PURGE)
    stage.authenticator.replace_tenants(registry((OPERATOR, "another")))
    with pytest.raises(CredentialsInvalid):
        stage.authenticate.on_message(call)


def test_an_operator_that_was_demoted_meanwhile_may_not_purge() -> None:
    stage = Stage(OPERATOR)
    call = stage.on_headers(PURGE)
    stage.authenticator.replace_tenants(registry((replace(OPERATOR, role=Role.CALLER), TOKEN)))
    with pytest.raises(OperationNotAllowed):
        stage.authenticate.on_message(call)


def test_a_token_that_changed_hands_meanwhile_is_refused() -> None:
    """What was charged is the former tenant's."""
    stage = Stage(OPERATOR)
    call = stage.on_headers(SEARCH)
    stage.authenticator.replace_tenants(registry((Tenant("other"), TOKEN)))
    with pytest.raises(CredentialsInvalid):
        stage.authenticate.on_message(call)


def test_a_search_uses_the_face_sets_in_force_when_its_message_is_here() -> None:
    stage = Stage(OPERATOR)
    call = stage.on_headers(SEARCH)
    stage.authenticator.replace_tenants(registry((replace(OPERATOR, face_sets={}), TOKEN)))
    stage.authenticate.on_message(call)
    stage.limit.on_message(call)
    assert call.admission is not None
    assert call.admission.tenant.face_sets == {}


def test_a_caller_that_is_still_known_goes_on() -> None:
    stage = Stage(OPERATOR)
    call = stage.on_headers(SEARCH)
    before = call.principal
    stage.authenticate.on_message(call)
    assert call.principal is before


def test_rate_and_concurrency_count_from_the_headers_on() -> None:
    """Nothing of the message is here yet."""
    stage = Stage(Tenant("a", limits=Limits(rate=RateLimit(100, 100), concurrency=2)))
    first, _ = stage.on_headers(SEARCH), stage.on_headers(SEARCH)
    with pytest.raises(TenantConcurrencyExceeded):
        stage.on_headers(SEARCH)
    stage.limit.on_end(first)
    stage.on_headers(SEARCH)


def test_a_rate_is_charged_on_the_headers() -> None:
    stage = Stage(Tenant("a", limits=Limits(rate=RateLimit(1, 1))))
    stage.limit.on_end(stage.on_headers(SEARCH))
    for _ in range(2):
        with pytest.raises(TenantRateLimited):
            stage.on_headers(SEARCH)


def test_other_calls_have_a_rate_of_their_own_and_leave_the_tenants_alone() -> None:
    stage = Stage(Tenant("a", limits=Limits(rate=RateLimit(1, 1))))
    for _ in range(100):
        stage.limit.on_end(stage.on_headers(GET_QUOTA))
    stage.limit.on_end(stage.on_headers(SEARCH))
    with pytest.raises(TenantRateLimited, match="rate"):
        _many(stage, 1000)


def test_every_search_is_counted_once_by_how_it_ended() -> None:
    stage = Stage(Tenant("a", limits=Limits(rate=RateLimit(1, 2))))
    answered, failed = stage.on_headers(SEARCH), stage.on_headers(SEARCH)
    answered.record.cache_status = "hit"
    failed.record.reason = "IMAGE_REJECTED"
    with pytest.raises(TenantRateLimited):
        stage.on_headers(SEARCH)
    for call in (answered, failed):
        stage.limit.on_end(call)
    stage.limit.on_end(stage.on_headers(GET_QUOTA))
    today = stage.quota.usage.today("a")
    assert (today.searches, today.cache_hits, today.failures, today.quota_rejections) == (3, 1, 1, 1)


def _many(stage: Stage, calls: int) -> None:
    for _ in range(calls):
        stage.on_headers(GET_QUOTA)
