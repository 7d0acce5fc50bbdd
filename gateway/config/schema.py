"""The whole configuration: one frozen tree that every layer above may read.

It holds no secret value, only where secrets are, so it may be printed.
"""

from __future__ import annotations

import hashlib
from functools import cached_property

from pydantic import Field, PrivateAttr

from gateway.config.auth import AuthConfig
from gateway.config.section import Section
from gateway.config.server import OpsConfig, ServerConfig
from gateway.config.stores import CacheConfig, QuotaConfig, StoresConfig
from gateway.config.telemetry import TelemetryConfig
from gateway.config.tenants import TenantConfig
from gateway.config.upstream import UpstreamConfig
from gateway.pace import Pause, without_pause


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

    _source: bytes = PrivateAttr(default=b"")
    _known: dict[str, TenantConfig] = PrivateAttr(default_factory=dict)

    @property
    def source(self) -> bytes:
        """Digest of the file that the configuration was loaded from; empty if there is none."""
        return self._source

    @property
    def known(self) -> dict[str, TenantConfig]:
        """The tenants by the text of their entries in that file, for when it is loaded again."""
        return self._known

    def loaded_from(self, content: bytes, known: dict[str, TenantConfig]) -> None:
        """Notes the file's content, and which of its entries may be taken over by the next loading."""
        self._source, self._known = source_of(content), known

    @cached_property
    def version(self) -> str:
        """A short digest of the effective configuration: equal on replicas that run the same one."""
        return version_of(self, without_pause)


def version_of(config: Config, pause: Pause) -> str:
    """`config.version`, computed in small steps with a pause between them."""
    digest = hashlib.sha256(config.model_dump_json(exclude={"tenants"}).encode())
    for tenant in config.tenants:
        digest.update(tenant.model_dump_json().encode())
        pause()
    return digest.hexdigest()[:12]


def source_of(content: bytes) -> bytes:
    """What `Config.source` is for a file with this content."""
    return hashlib.blake2b(content, digest_size=32).digest()
