"""Opens telemetry for a gateway and closes it within a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from threading import Thread
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.config.telemetry import TelemetryConfig
from gateway.telemetry import catalogue_telemetry, otel_variables
from gateway.telemetry.call_metrics import CallMetrics
from gateway.telemetry.calls import CallLog, Calls
from gateway.telemetry.delivery import Delivery
from gateway.telemetry.history import History
from gateway.telemetry.instruments import Collected, Counter
from gateway.telemetry.lag import lag_histogram, watch_lag
from gateway.telemetry.logging import output
from gateway.telemetry.observed import Observed, process_state
from gateway.telemetry.otel_variables import TelemetryUnusable
from gateway.telemetry.prometheus import exposition
from gateway.telemetry.record import CallRecord
from gateway.telemetry.refusals import Refusals
from gateway.telemetry.trace_ids import NEVER, Sampler, TraceIds, sampler_of

if TYPE_CHECKING:
    from gateway.telemetry.otlp import MetricExport, SpanExport

# All closing together, so that a collector that swallows everything holds up nobody's rolling restart.
CLOSE_SECONDS = 1.2

_UNUSABLE = (
    "an OTEL_EXPORTER_OTLP_* variable cannot be used: look at _ENDPOINT, and at the PEM files of _CERTIFICATE, _CLIENT_KEY "
    "and _CLIENT_CERTIFICATE"
)


class Telemetry:
    """What a gateway tells. Made by `open_telemetry`.

    `calls` is for the interceptor around every call, `refusals` for whatever refuses something that is no call, and
    `open_calls` counts those of health and reflection, by what was called.
    """

    def __init__(self, methods: Collection[str], tenants: Iterable[str], clock: Clock) -> None:
        self.version = _version()
        self.metrics = CallMetrics(methods, tenants)
        self.faults = Counter(catalogue_telemetry.FAULTS)
        self.lag = lag_histogram()
        self.history = History(self.metrics, clock)
        self.observed = Observed()
        self.refusals = Refusals(clock)
        self.open_calls = Counter(catalogue_telemetry.OPEN_CALLS)
        for label in catalogue_telemetry.OPEN_CALLS.labels:
            for value in label.values:
                self.open_calls.add((value,), 0)
        self.spans: SpanExport | None = None
        self.exports: MetricExport | None = None
        self._methods = methods
        self._clock = clock
        self._each_second: list[Callable[[], None]] = []
        self.sample(NEVER)

    def sample(self, sampler: Sampler) -> None:
        """Samples calls by `sampler` from now on, and hands them to `spans`, if there are any."""
        spans = self.spans
        self.trace_ids = TraceIds(sampler, self._clock.monotonic)
        self.calls = Calls(
            CallLog(),
            self.metrics,
            self.refusals,
            self.trace_ids,
            spans.of_call if spans is not None else _ignore,
            spans.of_item if spans is not None else _ignore,
            self.faults,
            self._methods,
        )

    def each_second(self) -> None:
        """Moves on what goes by periods."""
        self.history.tick()
        self.refusals.tick()
        for listener in self._each_second:
            listener()

    def on_second(self, listener: Callable[[], None]) -> None:
        """Calls `listener` about once a second from now on, on the event loop. It has to be quick, and must not fail."""
        self._each_second.append(listener)

    def observe(self, observed: Observed) -> None:
        """Shows the states of other parts from now on."""
        self.observed = observed

    def collect(self) -> list[Collected]:
        """Every metric now. Run it on the event loop."""
        self.calls.tell()
        return [
            *self.metrics.collect(),
            self.lag.collect(),
            self.faults.collect(),
            self.refusals.counter.collect(),
            self.open_calls.collect(),
            self.trace_ids.limited.collect(),
            *self._export_state(),
            *process_state(self.version),
            *self.observed.collect(),
        ]

    def _export_state(self) -> list[Collected]:
        failed = tuple(((one.signal,), float(one.failed)) for one in self._deliveries())
        found = [] if self.spans is None else [self.spans.dropped.collect()]
        return [*found, Collected(catalogue_telemetry.EXPORTS_FAILED, failed)] if failed else found

    def _deliveries(self) -> list[Delivery]:
        return [export.delivery for export in (self.spans, self.exports) if export is not None]

    def problems(self) -> tuple[str, ...]:
        """What is wrong with the collector and with the log, for `/readyz`; calls do not depend on them."""
        found = [f"collector: does not take {one.signal}" for one in self._deliveries() if one.stuck]
        logs = output()
        if logs is not None and logs.stuck:
            found.append("log: lines and audit events cannot be written")
        return tuple(found)

    def exposition(self) -> str:
        """The page of `/metrics`. Run it on the event loop."""
        return exposition(self.collect())


def _ignore(_: CallRecord) -> None:
    """Exports nothing."""


@asynccontextmanager
async def open_telemetry(
    config: TelemetryConfig,
    *,
    methods: Collection[str],
    tenants: Iterable[str],
    clock: Clock,
    environ: Mapping[str, str],
) -> AsyncIterator[Telemetry]:
    """Telemetry that runs. `methods` are the paths of all RPCs, `tenants` the configured ids.

    Sends to `config.otlp_endpoint`, or where `OTEL_EXPORTER_OTLP_ENDPOINT` says; without either it sends nothing. Closing
    takes at most `CLOSE_SECONDS`. Raises `TelemetryUnusable`.
    """
    telemetry = Telemetry(methods, tenants, clock)
    closing: list[Callable[[], None]] = []
    sampler = NEVER
    signals = otel_variables.wanted(config.otlp_endpoint, environ)
    if signals:
        otel_variables.check(signals, environ)
        otel_variables.log_ignored(environ)
        try:
            sampler = _open_exports(telemetry, config, clock, environ, closing, signals)
        except Exception:  # noqa: BLE001 - the SDK raises what comes to hand, with the value in its text
            raise TelemetryUnusable(_UNUSABLE) from None
    tasks = [asyncio.create_task(watch_lag(telemetry.lag, clock, telemetry.each_second))]
    if telemetry.exports is not None:
        tasks.append(asyncio.create_task(telemetry.exports.run()))
    telemetry.sample(sampler)
    try:
        yield telemetry
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        telemetry.calls.tell()
        telemetry.refusals.sum()
        if telemetry.exports is not None:
            telemetry.exports.send_last()
        await _all_within(CLOSE_SECONDS, closing)


def _open_exports(
    telemetry: Telemetry,
    config: TelemetryConfig,
    clock: Clock,
    environ: Mapping[str, str],
    closing: list[Callable[[], None]],
    signals: Collection[str],
) -> Sampler:
    """Opens what is to be sent, with its end in `closing`; gives the sampler of calls that nobody has decided on."""
    sampler = NEVER
    if "TRACES" in signals:
        from gateway.telemetry.otlp import SpanExport, resource_of

        sampler = sampler_of(environ, config.trace_sample_ratio)
        telemetry.spans = SpanExport(config.otlp_endpoint, resource_of(telemetry.version), clock, environ)
        closing.append(telemetry.spans.close)
    if "METRICS" in signals:
        from gateway.telemetry.otlp import MetricExport, resource_of

        telemetry.exports = MetricExport(
            config.otlp_endpoint, resource_of(telemetry.version), clock, environ, telemetry.collect
        )
        closing.append(telemetry.exports.close)
    return sampler


async def _all_within(seconds: float, closing: list[Callable[[], None]]) -> None:
    """Runs blocking calls side by side. Their threads are daemons: what does not end in time holds up nothing."""
    loop = asyncio.get_running_loop()
    done = []
    for close in closing:
        ended = asyncio.Event()

        def run(close: Callable[[], None] = close, ended: asyncio.Event = ended) -> None:
            with suppress(Exception):
                close()
            with suppress(RuntimeError):  # the loop did not wait for this thread
                loop.call_soon_threadsafe(ended.set)

        Thread(target=run, name="telemetry-close", daemon=True).start()
        done.append(ended.wait())
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*done)


def _version() -> str:
    try:
        return version("facegate")
    except PackageNotFoundError:
        return "unknown"
