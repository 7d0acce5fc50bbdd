"""Which trace a call belongs to: W3C traceparent and the parent-based ratio rule, held against the SDK's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.telemetry.record import CallRecord
from gateway.telemetry.trace_ids import FLAGGED, NEVER, STRANGERS_SAMPLED, Sampler, TraceIds, sampler_of
from tests.support.clock import ManualClock

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


TENTH = Sampler(0.1)


def assigned(traceparent: str, sampler: Sampler = TENTH, tenant: str = "kyc") -> CallRecord:
    """A record with its trace; without a tenant it is one of a caller that is not authenticated."""
    record = CallRecord("/a/B", "r", 0.0, tenant=tenant)
    TraceIds(sampler).assign(record, traceparent)
    return record


@pytest.mark.parametrize(("flags", "sampled"), [("01", True), ("00", False), ("03", True), ("fe", False)])
def test_the_callers_trace_is_continued_and_its_decision_kept(flags: str, sampled: bool) -> None:
    """The ratio is for callers that have not decided."""
    record = assigned(f"00-{TRACE}-{PARENT}-{flags}")
    assert (record.trace_id, record.parent_span_id, record.sampled) == (int(TRACE, 16), int(PARENT, 16), sampled)
    assert record.span_id not in (0, record.parent_span_id)


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "00",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01\n",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE[:-1]}\u0663-{PARENT}-01",
        "00-" + "f" * 100_000,
        f"01-{TRACE}-{PARENT}-01-" + "x" * 100_000,
    ],
)
def test_a_hostile_traceparent_counts_as_none(hostile: str) -> None:
    """A new trace, and no error."""
    record = assigned(hostile)
    assert record.trace_id not in (0, int(TRACE, 16))
    assert record.parent_span_id == 0


@given(st.integers(0, 255), st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.integers(0, 255))
def test_reads_what_the_sdk_reads(version: int, trace: int, parent: int, flags: int) -> None:
    """For every well-formed header of every version."""
    header = f"{version:02x}-{trace:032x}-{parent:016x}-{flags:02x}"
    context = TraceContextTextMapPropagator().extract({"traceparent": header})
    record = assigned(header, Sampler(0.5))
    if context:
        decision = ParentBased(TraceIdRatioBased(0.5)).should_sample(context, trace, "x").decision
        assert (record.trace_id, record.parent_span_id) == (trace, parent)
        assert record.sampled is (decision is Decision.RECORD_AND_SAMPLE)
    else:
        assert record.parent_span_id == 0


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1))
def test_the_ratio_decides_as_the_sdks(trace: int, ratio: float) -> None:
    """So that all services of a trace decide alike."""
    mine = assigned(f"00-{trace:032x}-{PARENT}-00", Sampler(ratio, parent_based=False)).sampled
    parent = SpanContext(trace, int(PARENT, 16), is_remote=True, trace_flags=TraceFlags(0))
    context = set_span_in_context(NonRecordingSpan(parent))
    theirs = TraceIdRatioBased(ratio).should_sample(context, trace, "x").decision
    assert mine is (theirs is Decision.RECORD_AND_SAMPLE)


def test_a_tenth_is_a_tenth() -> None:
    """Without a caller's decision."""
    sampled = sum(assigned("").sampled for _ in range(20_000))
    assert 1700 < sampled < 2300


@pytest.mark.parametrize(
    ("name", "argument", "sampler"),
    [
        ("", "", Sampler(0.1)),
        ("always_on", "", Sampler(1.0, parent_based=False)),
        ("always_off", "", Sampler(0.0, parent_based=False)),
        ("traceidratio", "0.25", Sampler(0.25, parent_based=False)),
        ("parentbased_traceidratio", "0.25", Sampler(0.25)),
        ("parentbased_traceidratio", "nonsense", Sampler(1.0)),
        ("parentbased_always_on", "", Sampler(1.0)),
        ("parentbased_always_off", "", Sampler(0.0)),
        ("jaeger_remote", "", Sampler(0.1)),
    ],
)
def test_the_standard_variables_are_honoured(name: str, argument: str, sampler: Sampler) -> None:
    """They go before the configuration; a sampler that is not known changes nothing."""
    environ = {"OTEL_TRACES_SAMPLER": name, **({"OTEL_TRACES_SAMPLER_ARG": argument} if argument else {})}
    assert sampler_of(environ, 0.1) == sampler


def test_without_a_collector_nothing_is_sampled() -> None:
    """The trace is continued all the same, so that the log line has its id."""
    record = assigned(f"00-{TRACE}-{PARENT}-01", NEVER)
    assert (record.trace_id, record.sampled) == (int(TRACE, 16), False)


def sampled_of(trace_ids: TraceIds, calls: int, tenant: str, traceparent: str = f"00-{TRACE}-{PARENT}-01") -> int:
    """How many of a number of calls are sampled."""
    sampled = 0
    for _ in range(calls):
        record = CallRecord("/a/B", "r", 0.0, tenant=tenant)
        trace_ids.assign(record, traceparent)
        assert record.sampled or not record.flagged
        sampled += record.sampled
    return sampled


def test_a_stranger_decides_nothing_about_traces() -> None:
    """Neither whose trace its calls belong to nor whether they are sampled."""
    record = assigned(f"00-{TRACE}-{PARENT}-01", tenant="")
    assert record.trace_id not in (0, int(TRACE, 16))
    assert (record.parent_span_id, record.flagged) == (0, False)
    assert sampled_of(TraceIds(Sampler(0.0)), 3000, tenant="") == 0


@pytest.mark.parametrize("sampler", [Sampler(1.0), Sampler(1.0, parent_based=False)])
def test_few_calls_of_strangers_are_sampled_whatever_the_ratio(sampler: Sampler) -> None:
    """So that a flood of them fills no queue; what was left out is counted, and calls of tenants are not concerned."""
    clock = ManualClock()
    trace_ids = TraceIds(sampler, clock.monotonic)
    assert sampled_of(trace_ids, 3000, tenant="") == STRANGERS_SAMPLED
    assert trace_ids.limited.values == {(): 3000 - STRANGERS_SAMPLED}
    assert sampled_of(trace_ids, 300, tenant="kyc", traceparent="") == 300
    clock.advance(1.0)
    assert sampled_of(trace_ids, 3000, tenant="") == STRANGERS_SAMPLED


def test_what_callers_ask_for_is_sampled_up_to_a_number_per_second_and_tenant() -> None:
    """One tenant that flags everything takes nothing from another."""
    clock = ManualClock()
    trace_ids = TraceIds(Sampler(0.0), clock.monotonic)
    assert sampled_of(trace_ids, 3000, tenant="greedy") == FLAGGED
    assert trace_ids.limited.values == {(): 3000 - FLAGGED}
    assert sampled_of(trace_ids, 50, tenant="kyc") == 50
    clock.advance(1.0)
    assert sampled_of(trace_ids, 3000, tenant="greedy") == FLAGGED


def test_a_trace_id_that_a_caller_chose_counts_as_its_decision() -> None:
    """With a ratio alone, an id with a small lower half is sampled every time."""
    chosen = assigned(f"00-{'f' * 16}{'0' * 15}1-{PARENT}-00", Sampler(0.001, parent_based=False))
    assert (chosen.sampled, chosen.flagged) == (True, True)
