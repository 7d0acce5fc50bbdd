"""Settings of the tenants: who they are, what they may search and how much."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from gateway.config.section import Section, broken_rule
from gateway.config.values import Alias, Sha256Hex, SpiffeId, TenantId, Text
from gateway.model import Limits, RateLimit, Role, Tenant, Window


class PrincipalConfig(Section):
    """One way in which a tenant's callers prove themselves: a token, a JWT's issuer and subject, or a SPIFFE id."""

    token_sha256: Sha256Hex | None = Field(
        default=None,
        repr=False,
        description="SHA-256 of a static bearer token, 64 hex digits; `facegate token new` prints it.",
    )
    jwt_issuer: Text | None = Field(
        default=None,
        description="`iss` of a JWT: one of `auth.jwt_issuers`. With `jwt_subject`.",
    )
    jwt_subject: Text | None = Field(default=None, description="`sub` of a JWT, exactly. With `jwt_issuer`.")
    spiffe_id: SpiffeId | None = Field(default=None, description="SPIFFE id of a client certificate, exactly.")

    @model_validator(mode="after")
    def _one_way(self) -> PrincipalConfig:
        if (self.jwt_issuer is None) != (self.jwt_subject is None):
            missing = "jwt_issuer" if self.jwt_issuer is None else "jwt_subject"
            raise broken_rule(missing, "is required: jwt_issuer and jwt_subject go together")
        ways = [w for w in (self.token_sha256, self.jwt_issuer, self.spiffe_id) if w is not None]
        if len(ways) != 1:
            raise broken_rule(
                "",
                "must be exactly one of token_sha256, jwt_issuer with jwt_subject, or spiffe_id",
            )
        return self


class RateConfig(Section):
    """Calls to the gateway, counted before the cache."""

    per_second: float = Field(
        gt=0,
        le=1_000_000,
        json_schema_extra={"unit": "calls a second"},
        description="Sustained rate.",
    )
    burst: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        json_schema_extra={"unit": "calls"},
        description="Calls that may come at once. Absent: `per_second`, rounded up.",
    )


class UpstreamCallsConfig(Section):
    """Searches that go to the vendor, which bills them, in calendar windows (UTC)."""

    per_minute: int | None = Field(
        default=None,
        ge=1,
        le=10**12,
        json_schema_extra={"unit": "calls"},
        description="Most in a minute.",
    )
    per_hour: int | None = Field(
        default=None,
        ge=1,
        le=10**12,
        json_schema_extra={"unit": "calls"},
        description="Most in an hour.",
    )
    per_day: int | None = Field(
        default=None,
        ge=1,
        le=10**12,
        json_schema_extra={"unit": "calls"},
        description="Most in a day.",
    )
    per_month: int | None = Field(
        default=None,
        ge=1,
        le=10**12,
        json_schema_extra={"unit": "calls"},
        description="Most in a month.",
    )


class LimitsConfig(Section):
    """A tenant's limits. An absent one is unlimited."""

    rate: RateConfig | None = Field(default=None, description="Rate of calls to the gateway.")
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        json_schema_extra={"unit": "calls"},
        description="Most calls in flight.",
    )
    upstream_calls: UpstreamCallsConfig = Field(
        default_factory=UpstreamCallsConfig,
        description="Searches that go to the vendor.",
    )

    def to_limits(self) -> Limits:
        """These limits as the domain knows them."""
        rate = None
        if self.rate is not None:
            rate = RateLimit(
                self.rate.per_second,
                self.rate.burst or max(1, math.ceil(self.rate.per_second)),
            )
        calls = self.upstream_calls
        windows = {
            Window.MINUTE: calls.per_minute,
            Window.HOUR: calls.per_hour,
            Window.DAY: calls.per_day,
            Window.MONTH: calls.per_month,
        }
        return Limits(rate, self.concurrency, {w: n for w, n in windows.items() if n is not None})


class TenantConfig(Section):
    """A customer of the gateway."""

    id: TenantId = Field(description="Name of the tenant in answers, logs and metrics; unique.")
    role: Literal["caller", "operator"] = Field(
        default="caller",
        description="`operator` may also purge the cache and see every tenant's usage.",
    )
    principals: tuple[PrincipalConfig, ...] = Field(
        default=(),
        strict=False,
        max_length=1000,
        description="How its callers prove themselves.",
    )
    face_sets: dict[Alias, Text] = Field(
        default_factory=dict,
        repr=False,
        description="Face sets that it may search: the alias that callers use, and the upstream's name.",
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="Its limits.")

    def to_tenant(self) -> Tenant:
        """This tenant as the domain knows it; the same object each time."""
        return self._tenant

    @cached_property
    def _tenant(self) -> Tenant:
        return Tenant(
            id=self.id,
            role=Role(self.role),
            face_sets=dict(self.face_sets),
            limits=self.limits.to_limits(),
        )
