"""Each filter between what the gateway knows and what it tells is needed: without it, the sweep finds a canary."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.cache.epochs import Scope
from gateway.rpc import errors as rpc_errors
from gateway.telemetry import allowed
from tests.support.canaries import leaks
from tests.support.canary_filters import (
    Patch,
    attribute,
    exceptions_are_rendered,
    exceptions_reach_grpc,
    files_are_quoted,
    frames_with_texts,
    images_are_named_by_a_plain_hash,
    library_messages_are_written,
    records_take_matches,
    rows_hold_the_tenant,
    searches_print,
    secrets_print,
    spans_take_all_of_a_record,
    told_events_are_not_looked_at,
    unknown_keys_stay,
    values_are_not_sealed,
    vendors_words_are_a_message,
    vendors_words_are_a_status,
)
from tests.support.canary_stage import staged
from tests.support.canary_sweep import everything
from tests.support.valkey import running_store

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


class Filter(NamedTuple):
    """What stands between, how it is taken out, and what the sweep finds then: (sink, kind of canary)."""

    guards: str
    take_out: tuple[Callable[[Patch], None], ...]
    found: set[tuple[str, str]]
    in_store: bool = False


FILTERS = {
    # Logs.
    "allow-list of keys": Filter(
        "a line with a key that nobody thought about", (unknown_keys_stay,), {("logs", "image"), ("logs", "credential")}
    ),
    "the same for frequent events": Filter(
        "a call's or an audited line with such a key", (told_events_are_not_looked_at,), {("logs", "token")}
    ),
    "values by their class": Filter(
        "an exception or a structure in place of a value", (attribute(allowed, "_shape", str),), {("logs", "bug text")}
    ),
    "constant event names": Filter(
        "data in an event's name",
        (attribute(allowed.AllowList, "_constant", lambda _, name: name),),
        {("logs", "bug text")},
    ),
    "frames without values": Filter(
        "the log line of an exception in a call",
        (attribute(rpc_errors, "_frames", frames_with_texts),),
        {("logs", "bug text")},
    ),
    # A traceback is longer than what a value is cut to, so both have to go.
    "no renderer of exceptions, and the cut": Filter(
        "`exc_info` in a line", (exceptions_are_rendered,), {("logs", "bug text")}
    ),
    "secrets do not print": Filter("a secret in a text", (secrets_print,), {("logs", "credential")}),
    "searches do not print": Filter("a search in a text", (searches_print,), {("logs", "upstream name")}),
    "published statuses alone": Filter(
        "a status that the vendor made up",
        (vendors_words_are_a_status,),
        {("logs", "vendor text"), ("traces", "vendor text"), ("logs", "credential"), ("logs", "upstream name")},
    ),
    "what is wrong with a file": Filter(
        "the content of a file that is rejected",
        (files_are_quoted,),
        {("logs", "credential"), ("/readyz", "credential"), ("/status.json", "credential")},
    ),
    # Standard error.
    "libraries' messages": Filter(
        "whatever a library logs, also of a task that crashed",
        (library_messages_are_written,),
        {("stderr", "bug text")},
    ),
    "excepthook": Filter(
        "the end of the process", (attribute(sys, "excepthook", sys.__excepthook__),), {("stderr", "bug text")}
    ),
    "excepthook of threads": Filter(
        "the end of a thread", (attribute(threading, "excepthook", threading.__excepthook__),), {("stderr", "bug text")}
    ),
    "unraisablehook": Filter(
        "an exception in a finalizer",
        (attribute(sys, "unraisablehook", sys.__unraisablehook__),),
        {("stderr", "bug text")},
    ),
    # Callers.
    "answer_errors": Filter("gRPC's answer to an exception", (exceptions_reach_grpc,), {("errors", "bug text")}),
    "messages of our own": Filter(
        "an error's message and details", (vendors_words_are_a_message,), {("errors", "vendor text")}
    ),
    # Traces and metrics. Spans, lines and trailers choose from a record that has no field for anything private: taking
    # out the choice alone finds nothing, so the record's is taken out too.
    "a record's fields": Filter("lines made of a record", (records_take_matches,), {("logs", "match")}),
    "spans' attributes, and a record's fields": Filter(
        "spans made of a record", (spans_take_all_of_a_record, records_take_matches), {("traces", "match")}
    ),
    "rows of the status page": Filter(
        "a tenant's settings", (rows_hold_the_tenant,), {("/status.json", "upstream name")}
    ),
    # The shared store.
    "sealing": Filter("cached answers", (values_are_not_sealed,), {("valkey", "match")}, in_store=True),
    "keyed names": Filter("names of images", (images_are_named_by_a_plain_hash,), {("valkey", "image")}, in_store=True),
    "opaque scopes": Filter(
        "epochs of face sets",
        (attribute(Scope, "address", property(lambda self: f"{self.tenant} {self.face_set}")),),
        {("valkey", "upstream name")},
        in_store=True,
    ),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_without_a_filter_the_sweep_finds_a_canary(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One filter at a time, the rest in force; each leaves its own trace."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
    one = FILTERS[name]
    with running_store() if one.in_store else nullcontext() as store:
        async with staged(tmp_path, store=store) as stage:
            for take_out in one.take_out:
                take_out(monkeypatch)
            await everything(stage)
            sinks = await stage.sinks()
            # Python's own hooks write in a moment of their own.
            monkeypatch.undo()
    out, err = capfd.readouterr()
    found = leaks({**sinks, "stdout": out.encode(), "stderr": err.encode()})
    assert not one.found - found, (
        f"found only {found}, in sinks of { ({name: len(s) for name, s in sinks.items()}) } bytes"
    )


async def test_spans_have_nothing_private_to_choose_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of a record in every span, still nothing is found: the record has no place for it."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
    async with staged(tmp_path) as stage:
        spans_take_all_of_a_record(monkeypatch)
        await everything(stage)
        sinks = await stage.sinks()
    assert b"quota_remaining" in sinks["traces"]
    assert leaks(sinks) == set()
