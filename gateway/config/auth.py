"""Settings of how callers prove who they are."""

from __future__ import annotations

from pydantic import Field, model_validator

from gateway.config.section import Section, broken_rule
from gateway.config.values import File, HttpsUrl, TenantId, Text, TrustDomain


class JwtIssuerConfig(Section):
    """An issuer of JWTs whose tokens are accepted (RS256, ES256 or EdDSA, with `exp`)."""

    issuer: Text = Field(description="The exact `iss` of its tokens; unique.")
    audience: Text = Field(description="The audience that its tokens must name; a name of this gateway alone.")
    jwks_url: HttpsUrl | None = Field(
        default=None, description="URL of its keys, fetched in the background. Or `jwks_file`."
    )
    jwks_file: File | None = Field(
        default=None, description="File of its keys, re-read when it changes. Or `jwks_url`."
    )

    @model_validator(mode="after")
    def _one_source(self) -> JwtIssuerConfig:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise broken_rule("jwks_url", "exactly one of jwks_url and jwks_file is required")
        return self


class AuthConfig(Section):
    """What counts as a credential."""

    anonymous_tenant: TenantId | None = Field(
        default=None,
        description="Id of the tenant that calls without credentials belong to. Only while `server.listen` is a "
        "loopback address.",
    )
    jwt_issuers: tuple[JwtIssuerConfig, ...] = Field(
        default=(),
        strict=False,
        max_length=64,
        description="Issuers whose tokens are accepted.",
    )
    spiffe_trust_domain: TrustDomain | None = Field(
        default=None,
        description="The trust domain that client certificates must belong to. Absent: the one of each configured "
        "SPIFFE id.",
    )
