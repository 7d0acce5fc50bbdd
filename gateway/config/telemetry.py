"""Settings of logs, traces and metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gateway.config.section import Section
from gateway.config.values import CollectorUrl


class TelemetryConfig(Section):
    """Logs, traces and metrics. The standard `OTEL_*` variables are honoured too."""

    log_format: Literal["json", "console"] = Field(
        default="json",
        description="`json` writes one object a line; `console` is for eyes, coloured on a terminal.",
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
