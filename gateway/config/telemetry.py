"""Settings of logs, traces and metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gateway.config.section import Section, broken_rule
from gateway.config.values import CollectorUrl, File


class TelemetryConfig(Section):
    """Logs, traces and metrics. The standard `OTEL_*` variables are honoured too."""

    log_format: Literal["json", "console"] = Field(
        default="json",
        description="`json` writes one object a line; `console` is for eyes, coloured on a terminal.",
    )
    log_level: Literal["info", "warning", "error"] = Field(
        default="info",
        description="Lowest level of the lines that are written. A call's line is `info`, or `warning` if the gateway or the "
        "vendor is at fault. It has no effect on audit events.",
    )
    log_fields: Literal["default", "gcp", "ecs"] = Field(
        default="default",
        description="Names of the fields in JSON. `gcp`: `severity` and `message`, as Google Cloud Logging reads them. `ecs`: "
        "`@timestamp`, `log.level`, `message`, `trace.id` and `error.type`, as in the Elastic Common Schema.",
    )
    audit: Literal["stdout", "file", "off"] = Field(
        default="stdout",
        description="Where audit events go: among the log lines, to `audit_file`, or nowhere. With `file` or `off`, stdout "
        "has one line per call.",
    )
    audit_file: File | None = Field(
        default=None,
        description="File that audit events are added to, as JSON. Needs `audit: file`. It may be renamed for rotation: the "
        "gateway then makes a new one.",
    )
    otlp_endpoint: CollectorUrl | None = Field(
        default=None,
        description="Collector that traces and metrics are sent to over OTLP. Absent: none are sent.",
    )
    trace_sample_ratio: float = Field(
        default=0.1,
        ge=0,
        le=1,
        json_schema_extra={"unit": "share"},
        description="Share of calls that are traced when the caller has not decided.",
    )

    @model_validator(mode="after")
    def _audit_file(self) -> TelemetryConfig:
        if self.audit == "file" and self.audit_file is None:
            raise broken_rule("audit_file", "is required with audit: file, such as /var/log/facegate/audit.jsonl")
        if self.audit != "file" and self.audit_file is not None:
            raise broken_rule("audit_file", "has no effect without audit: file")
        return self
