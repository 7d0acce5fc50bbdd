"""Settings of what is kept between calls: quotas and cached answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from gateway.config.section import Section, broken_rule
from gateway.config.values import File, StoreUrl

_URL_FORMS = (
    "`memory://` (this process), `valkey://HOST:PORT/DB`, or `valkeys://` for TLS; a comma list of hosts is a cluster; "
    "`USER@` before the host names an ACL user"
)


class StoresConfig(Section):
    """Where quotas and cached answers are kept."""

    quota: StoreUrl = Field(default="memory://", description=f"Store of the quotas: {_URL_FORMS}.")
    cache: StoreUrl = Field(default="memory://", description=f"Store of the cached answers: {_URL_FORMS}.")
    key_file: File | None = Field(
        default=None,
        description="File of exactly 32 random bytes that seal cached answers and key the identity of images; the same "
        "on every replica. Required when the cache store is not memory.",
    )
    quota_password_file: File | None = Field(
        default=None, description="File that holds the quota store's password, re-read when it changes."
    )
    cache_password_file: File | None = Field(
        default=None, description="File that holds the cache store's password, re-read when it changes."
    )
    ca_file: File | None = Field(
        default=None,
        description="Authorities that `valkeys://` servers are verified against, PEM. Absent: the system's.",
    )

    @model_validator(mode="after")
    def _sealed(self) -> StoresConfig:
        if self.cache != "memory://" and self.key_file is None:
            raise broken_rule(
                "key_file",
                "is required when the cache store is not memory: head -c 32 /dev/urandom > FILE",
            )
        return self


class QuotaConfig(Section):
    """How quotas behave when their store is out."""

    on_store_failure: Literal["share", "deny", "allow"] = Field(
        default="share",
        description="While the quota store is out: `share` admits this replica's share of each limit, `deny` refuses "
        "every search, `allow` admits every one.",
    )
    expected_replicas: int = Field(
        default=1,
        ge=1,
        le=10_000,
        json_schema_extra={"unit": "replicas"},
        description="Replicas that share the limits while the quota store is out.",
    )


class CacheConfig(Section):
    """How long and how much is cached."""

    ttl_seconds: float = Field(default=300, gt=0, le=3600, description="Longest time that an answer is served again.")
    no_match_ttl_seconds: float = Field(
        default=60,
        gt=0,
        le=3600,
        description="The same for an answer without matches, since the person may be enrolled meanwhile. At most "
        "`ttl_seconds`, which it follows if that is set to less than 60.",
    )
    max_bytes: int = Field(
        default=67_108_864,
        ge=65_536,
        le=1 << 40,
        description="Most memory that the cached answers in this process take.",
    )
    widen: Literal["none", "max_results"] = Field(
        default="none",
        description="`max_results` asks the vendor for 10 matches whatever was asked, so that one search serves every "
        "count; it fetches more personal data than the caller asked for.",
    )

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, data: Any) -> Any:
        if isinstance(data, dict) and "no_match_ttl_seconds" not in data:
            ttl = data.get("ttl_seconds")
            if isinstance(ttl, int | float) and not isinstance(ttl, bool) and 0 < ttl < 60:
                return {**data, "no_match_ttl_seconds": ttl}
        return data

    @model_validator(mode="after")
    def _ordered(self) -> CacheConfig:
        if self.no_match_ttl_seconds > self.ttl_seconds:
            raise broken_rule("no_match_ttl_seconds", "must not be above cache.ttl_seconds")
        return self
