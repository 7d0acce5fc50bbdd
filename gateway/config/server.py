"""Settings of the listeners."""

from __future__ import annotations

from pydantic import Field, model_validator

from gateway.config.section import Section, broken_rule
from gateway.config.values import Address, AllowedHost, File


class TlsConfig(Section):
    """TLS of the gRPC listener. The files are re-read while running; bad material keeps the last good."""

    cert_file: File | None = Field(default=None, description="Certificate chain of the server, PEM. Needs `key_file`.")
    key_file: File | None = Field(default=None, description="Private key of `cert_file`, PEM. Needs `cert_file`.")
    client_ca_file: File | None = Field(
        default=None,
        description="Authorities whose client certificates are accepted, PEM. Needs `cert_file`. Absent: callers show "
        "no certificate.",
    )

    @property
    def enabled(self) -> bool:
        """Whether the listener speaks TLS."""
        return self.cert_file is not None

    @model_validator(mode="after")
    def _complete(self) -> TlsConfig:
        if self.cert_file is not None and self.key_file is None:
            raise broken_rule("key_file", "is required beside cert_file: set both or none")
        if self.key_file is not None and self.cert_file is None:
            raise broken_rule("cert_file", "is required beside key_file: set both or none")
        if self.client_ca_file is not None and self.cert_file is None:
            raise broken_rule("client_ca_file", "needs TLS: set cert_file and key_file too")
        return self


class ServerConfig(Section):
    """The gRPC listener that callers use."""

    listen: Address = Field(
        default="127.0.0.1:50051",
        description="Address of the gRPC listener. An address that other machines reach needs TLS or `insecure`. "
        "Port 0 takes a free one.",
    )
    insecure: bool = Field(
        default=False,
        description="Allows plaintext on an address that other machines reach: only where a mesh or a proxy encrypts.",
    )
    tls: TlsConfig = Field(default_factory=TlsConfig, description="TLS of the gRPC listener.")
    reflection: bool = Field(
        default=True,
        description="Serves gRPC reflection, so that grpcurl and buf curl need no schema.",
    )
    health_listen: Address | None = Field(
        default=None,
        description="Address of an optional plaintext listener that serves gRPC health alone, for Kubernetes probes "
        "beside TLS.",
    )
    max_concurrent_rpcs: int = Field(
        default=256,
        ge=1,
        le=100_000,
        json_schema_extra={"unit": "calls"},
        description="Most calls in flight; further ones are refused with GATEWAY_OVERLOADED. Health is exempt.",
    )
    max_body_bytes_in_flight: int | None = Field(
        default=None,
        ge=1,
        le=1 << 40,
        json_schema_extra={"unit": "bytes"},
        description="Maximum bytes of request bodies in memory. A body counts as 7 MiB until it has arrived. Further bodies "
        "wait unread at their callers, as many as would fit; calls beyond those are refused with GATEWAY_OVERLOADED. If "
        "unset: 256 MiB, or a sixteenth of the container's memory limit if that is less.",
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        json_schema_extra={"unit": "connections"},
        description="Maximum number of open connections of callers; further ones are closed at once. If unset: 1024, or "
        "less if the process may have fewer descriptors or the container little memory.",
    )
    default_deadline_seconds: float = Field(
        default=15, gt=0, le=600, description="Deadline of a call that comes without one."
    )
    lame_duck_seconds: float = Field(
        default=0,
        ge=0,
        le=600,
        description="Time after SIGTERM in which the server is not ready but still takes calls. The chart sets 5.",
    )
    drain_seconds: float = Field(
        default=25,
        ge=0,
        le=3600,
        description="Time after the lame duck in which calls in flight may end.",
    )


class OpsConfig(Section):
    """The HTTP listener for operators: `/metrics`, `/livez`, `/readyz` and the status page at `/`."""

    listen: Address = Field(
        default="127.0.0.1:9464",
        description="Address of the operators' HTTP listener. It is plaintext and shows no secrets and no personal "
        "data. Port 0 takes a free one.",
    )
    allowed_hosts: tuple[AllowedHost, ...] = Field(
        default=(),
        strict=False,
        max_length=100,
        description="Names that the `Host` header of a request may hold, such as `facegate.corp.example` or "
        "`*.corp.example`. Always allowed are IP addresses, names without a dot, names that end in `.svc`, "
        "`.svc.cluster.local` or `.internal`, and the machine's own name. Others are refused with status 421, since a "
        "page on the web could use them to read this listener. `/livez` and `/readyz` answer to every name.",
    )
