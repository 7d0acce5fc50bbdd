"""Settings of the way to the vendor."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from gateway.config.section import Section, broken_rule
from gateway.config.values import EnvironmentName, File, HttpsUrl, ProxyUrl, TenantId


class CredentialConfig(Section):
    """A pair of the vendor's API id and secret, each in a file (re-read when it changes) or a variable."""

    name: TenantId = Field(description="Name of the pair in logs, metrics and the status page; unique.")
    api_id_file: File | None = Field(default=None, description="File that holds the API id. This or `api_id_env`.")
    api_secret_file: File | None = Field(
        default=None, description="File that holds the API secret. This or `api_secret_env`."
    )
    api_id_env: EnvironmentName | None = Field(
        default=None,
        description="Environment variable that holds the API id. This or `api_id_file`.",
    )
    api_secret_env: EnvironmentName | None = Field(
        default=None,
        description="Environment variable that holds the API secret. This or `api_secret_file`.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> CredentialConfig:
        if self.api_id_file is not None and self.api_id_env is not None:
            raise broken_rule("api_id_env", "is set beside api_id_file: keep one of them")
        if self.api_secret_file is not None and self.api_secret_env is not None:
            raise broken_rule("api_secret_env", "is set beside api_secret_file: keep one of them")
        return self


class ProxyConfig(Section):
    """An HTTP proxy that leads to the vendor (CONNECT). The variables HTTPS_PROXY and HTTP_PROXY are not followed."""

    url: ProxyUrl | None = Field(
        default=None,
        description="The proxy: `http://HOST:PORT`, or `https://HOST:PORT` for one that is spoken to over TLS. TLS with "
        "the vendor goes through it from end to end. If unset, the gateway connects to the vendor directly. With a "
        "proxy, `upstream.allow_private_addresses` has no effect: the proxy looks up the vendor's name.",
    )
    ca_file: File | None = Field(
        default=None,
        description="Authorities that the certificate of an `https://` proxy is verified against, PEM. If unset, the "
        "system's.",
    )
    credentials_file: File | None = Field(
        default=None,
        description="File that holds the proxy's `USER:PASSWORD`, re-read when it changes. If unset, none are sent.",
    )

    @model_validator(mode="after")
    def _complete(self) -> ProxyConfig:
        for key in ("ca_file", "credentials_file"):
            if getattr(self, key) is not None and self.url is None:
                raise broken_rule(key, "needs upstream.proxy.url: set both or none")
        if self.ca_file is not None and self.url is not None and not self.url.startswith("https:"):
            raise broken_rule(
                "ca_file", "needs a proxy that is spoken to over TLS: write upstream.proxy.url with https://"
            )
        return self


class UpstreamConfig(Section):
    """The vendor's endpoint and how it is called."""

    base_url: HttpsUrl = Field(
        default="https://cloudapi.peru.accuauth.com",
        description="The vendor's host, without the path of the API. `https` is required except for loopback hosts.",
    )
    credentials: tuple[CredentialConfig, ...] = Field(
        default=(),
        strict=False,
        max_length=32,
        description="The pool of the vendor's credentials; the next one takes over when the vendor refuses one. At "
        "least one is required to serve.",
    )
    timeout_seconds: float = Field(
        default=10,
        gt=0,
        le=300,
        description="Total time of one search at the vendor, a retry and the answer's body included.",
    )
    max_connections: int = Field(
        default=64,
        ge=1,
        le=10_000,
        json_schema_extra={"unit": "connections"},
        description="Most connections to the vendor at once.",
    )
    keep_alive: bool = Field(
        default=True,
        description="Whether a connection to the vendor is used again. The gateway uses it again only after a plain "
        "answer and while nothing more comes in. HTTP/1.1 cannot tell a second answer to an earlier search, if it comes "
        "after the next search was sent, from the answer to that one. Set `false` if the vendor, or a proxy on the way, "
        "may answer twice: each search then has a connection of its own, which costs a TCP and a TLS handshake.",
    )
    allow_private_addresses: bool = Field(
        default=False,
        description="Whether the host name of `base_url` may lead to addresses that are not public: loopback, link-local, "
        "private, multicast or unspecified ones, and IPv6 forms of them. The gateway refuses to connect to such an "
        "address otherwise. Set `true` for a host in a private network or a cluster. A `base_url` whose host is an IP "
        "address or `localhost` needs no permission.",
    )
    proxy: ProxyConfig = Field(
        default_factory=ProxyConfig,
        description="HTTP proxy between the gateway and the vendor.",
    )
    rate_per_second: float | None = Field(
        default=None,
        gt=0,
        json_schema_extra={"unit": "calls a second"},
        description="Pace toward the vendor, shared fairly between tenants. Not supported yet: a value is refused.",
    )
    ca_file: File | None = Field(
        default=None,
        description="Authorities that the vendor's certificate is verified against, PEM. Absent: the system's.",
    )
    image_encoding: Literal["multipart", "base64"] = Field(
        default="multipart",
        description="How an image is sent: as the part `file` of a form, or as its field `image_base64`.",
    )
    no_result: Literal["ok", "error"] = Field(
        default="ok",
        description="What the vendor's QUERY_FAILED with the reason `no result` is for callers: an empty answer with "
        "the outcome NO_RESULT_REPORTED, or the error FACE_SET_UNUSABLE.",
    )

    @field_validator("base_url")
    @classmethod
    def _without_api(cls, value: str) -> str:
        if "/faceset" in value:
            # With it the path would come twice in every request, and the vendor would answer 404.
            raise ValueError(
                "must end before the API's path, which the gateway adds, such as https://cloudapi.peru.accuauth.com"
            )
        return value.rstrip("/")

    @field_validator("rate_per_second")
    @classmethod
    def _later(cls, value: float | None) -> float | None:
        if value is not None:
            raise ValueError("is not supported yet: remove it")
        return value
