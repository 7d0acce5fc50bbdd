"""The whole configuration: one frozen tree that every layer above may read.

It holds no secret value, only where secrets are, so it may be printed.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

from pydantic import Field

from gateway.config.auth import AuthConfig
from gateway.config.section import Section
from gateway.config.server import OpsConfig, ServerConfig
from gateway.config.stores import CacheConfig, QuotaConfig, StoresConfig
from gateway.config.telemetry import TelemetryConfig
from gateway.config.tenants import TenantConfig
from gateway.config.upstream import UpstreamConfig


class Config(Section):
    """The configuration of a gateway."""

    server: ServerConfig = Field(default_factory=ServerConfig, description="The gRPC listener that callers use.")
    ops: OpsConfig = Field(default_factory=OpsConfig, description="The HTTP listener for operators.")
    upstream: UpstreamConfig = Field(default_factory=UpstreamConfig, description="The vendor's endpoint.")
    stores: StoresConfig = Field(
        default_factory=StoresConfig,
        description="Where quotas and cached answers are kept.",
    )
    quota: QuotaConfig = Field(
        default_factory=QuotaConfig,
        description="How quotas behave when their store is out.",
    )
    cache: CacheConfig = Field(default_factory=CacheConfig, description="How long and how much is cached.")
    auth: AuthConfig = Field(default_factory=AuthConfig, description="What counts as a credential.")
    tenants: tuple[TenantConfig, ...] = Field(default=(), strict=False, max_length=10_000, description="The tenants.")
    telemetry: TelemetryConfig = Field(default_factory=TelemetryConfig, description="Logs, traces and metrics.")

    @cached_property
    def version(self) -> str:
        """A short digest of the effective configuration: equal on replicas that run the same one."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
