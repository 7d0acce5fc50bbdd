"""The command line against a gateway that means harm: what reaches the terminal, and how much is taken in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from facegate.admin.v1 import admin_service_pb2 as admin
from facegate.search.v1 import face_search_service_pb2 as search
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthServicer

from gateway.cli.main import COMMANDS
from gateway.cli.usage import MAX_PAGES
from tests.support.command import facegate, on_a_terminal
from tests.support.face_search_servicer import FakeGateway, fake_gateway
from tests.support.images import jpeg

# A title, a cleared screen, the eight-bit forms, other writing directions, lines, and what only looks like nothing.
HARM = "\x1b]0;owned\x07\x1b[2J\x1b[1A\x9b31m\x9d0;owned\x9c\u202eabc\u2066\u200f\r\n\x08\x7f\x00\u2028\u2029\ufeff!"
FOREVER = 2**62
# What rich itself writes on a terminal: colours, and the moves that keep the progress bar in its line.
RICHS_OWN = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A)|\r\n|\r")

COMMAND_LINES = {
    "search": ("--face-set", "e"),
    "quota": (),
    "usage": (),
    "usage --all-tenants": (),
    "purge": ("--tenant", f"kyc{HARM}".replace("\x00", ""), "--face-set", f"e{HARM}".replace("\x00", "")),
    "health": ("--service", f"s{HARM}".replace("\x00", "")),
}
# These call no gateway.
LOCAL = {"serve", "sandbox", "demo", "config", "token"}


class Hostile(FakeGateway):
    """Every text is harm, every number as large as it can be, every time one that does not exist."""

    async def SearchFace(self, request: Any, context: Any) -> Any:
        unknown: Any = 77
        reply = search.SearchFaceResponse(outcome=unknown, request_id=HARM)
        match = reply.matches.add(person_id=FOREVER, face_id=FOREVER, score=float("nan"))
        match.create_time.seconds = 1_700_000_000
        reply.cache.status = unknown
        return reply

    async def GetQuota(self, request: Any, context: Any) -> Any:
        reply = search.GetQuotaResponse(tenant=HARM, face_sets=[HARM, HARM])
        reply.limits.add(id=HARM, limit=1, used=FOREVER, remaining=FOREVER).reset_time.seconds = 1_700_000_000
        return reply

    async def GetUsage(self, request: Any, context: Any) -> Any:
        reply = search.GetUsageResponse()
        reply.days.add(searches=FOREVER).day.seconds = 1_700_000_000
        return reply

    async def ListTenantUsage(self, request: Any, context: Any) -> Any:
        return admin.ListTenantUsageResponse(tenants=[admin.TenantUsage(tenant=HARM, searches=FOREVER)])


class Timeless(Hostile):
    """The same with times far outside of the calendar."""

    async def SearchFace(self, request: Any, context: Any) -> Any:
        reply = await super().SearchFace(request, context)
        reply.matches[0].create_time.seconds = FOREVER
        return reply

    async def GetQuota(self, request: Any, context: Any) -> Any:
        reply = await super().GetQuota(request, context)
        reply.limits[0].reset_time.seconds = FOREVER
        return reply

    async def GetUsage(self, request: Any, context: Any) -> Any:
        reply = await super().GetUsage(request, context)
        reply.days[0].day.seconds = FOREVER
        return reply


class Refusing(FakeGateway):
    """Every call fails, with harm in every part of the error."""

    async def SearchFace(self, request: Any, context: Any) -> Any:
        await _refuse(context)

    GetQuota = GetUsage = ListTenantUsage = PurgeCache = SearchFace


async def _refuse(context: Any) -> None:
    details = [
        ErrorInfo(reason=HARM, domain=HARM, metadata={"request_id": HARM}),
        BadRequest(field_violations=[{"field": HARM, "description": HARM}]),
        RetryInfo(retry_delay={"seconds": 10**11, "nanos": -1}),
    ]
    status = Status(code=3, message=HARM)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    await context.abort(
        grpc.StatusCode.INVALID_ARGUMENT, HARM, (("grpc-status-details-bin", status.SerializeToString()),)
    )


class _Unhealthy(HealthServicer):
    async def Check(self, request: Any, context: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=77)


class _Refusing(HealthServicer):
    async def Check(self, request: Any, context: Any) -> Any:
        await _refuse(context)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo whose name is harm."""
    file = tmp_path / f"photo{HARM}.jpg".replace("\x00", "")
    file.write_bytes(jpeg(128, 128))
    return file


def commands(photo: Path) -> dict[str, list[str]]:
    """Each command that calls a gateway, with its arguments."""
    return {
        name: [*name.split(" "), *([str(photo)] if name == "search" else []), *arguments]
        for name, arguments in COMMAND_LINES.items()
    }


def assert_harmless(text: str) -> None:
    """Visible characters and lines, nothing else."""
    assert not [c for line in text.split("\n") for c in line if not c.isprintable()], repr(text)


def test_every_command_is_looked_at() -> None:
    """A new one that calls a gateway goes into the list above."""
    assert {name.split(" ")[0] for name in COMMAND_LINES} | LOCAL == set(COMMANDS)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        *((command, kind) for command in COMMAND_LINES for kind in (Hostile, Refusing)),
        *((command, Timeless) for command in ("search", "quota", "usage")),
    ],
)
async def test_nothing_but_visible_text_is_printed(command: str, kind: type[FakeGateway], photo: Path) -> None:
    """As text and as JSON, of answers and of errors; a file's name and an argument are from outside too."""
    health = _Refusing() if kind is Refusing else _Unhealthy()
    async with fake_gateway(kind=kind, health=health) as (_, address):
        line = [*commands(photo)[command], "--target", address]
        results = [await facegate(*line)]
        if command.split(" ", maxsplit=1)[0] in ("search", "quota", "usage"):
            results.append(await facegate(*line, "--json"))
    for result in results:
        assert_harmless(result.out)
        assert_harmless(result.err)
        assert "Traceback" not in result.err
        assert result.out + result.err
    for row in results[-1].out.splitlines() if len(results) > 1 else ():
        assert row.isascii()
        json.loads(row)


@pytest.mark.parametrize("kind", [Hostile, Refusing])
@pytest.mark.parametrize("command", ["search", "quota", "usage --all-tenants"])
async def test_a_terminal_sees_no_sequence_but_the_tables(command: str, kind: type[FakeGateway], photo: Path) -> None:
    """On a terminal the tables have colours of their own; the cells add none."""
    async with fake_gateway(kind=kind) as (_, address):
        shown = (await on_a_terminal(*commands(photo)[command], "--target", address)).out
    assert shown
    assert_harmless(RICHS_OWN.sub("\n", shown))
    assert not re.search(r"\x1b\[(2J|31m)", shown)


def endless(next_token: Callable[[int], str]) -> type[FakeGateway]:
    """A gateway whose pages of tenants go on."""

    class Endless(FakeGateway):
        async def ListTenantUsage(self, request: Any, context: Any) -> Any:
            self._note(request, context)
            return admin.ListTenantUsageResponse(next_page_token=next_token(len(self.requests)))

    return Endless


@pytest.mark.parametrize(
    ("next_token", "pages", "said"),
    [
        (lambda count: f"page-{count}", MAX_PAGES, f"more than {MAX_PAGES} pages"),
        (lambda count: "same", 2, "never end"),
        (lambda count: f"page-{count % 3}", 4, "never end"),
    ],
)
async def test_pages_without_end_are_not_followed(next_token: Callable[[int], str], pages: int, said: str) -> None:
    """New tokens up to a bound; one that was there before is an error at once."""
    async with fake_gateway(kind=endless(next_token)) as (fake, address):
        result = await facegate("usage", "--all-tenants", "--target", address)
    assert result.status == 1
    assert said in result.err
    assert result.err.count("\n") == 1
    assert len(fake.requests) == pages


class Huge(FakeGateway):
    """Answers far larger than any that a gateway gives."""

    async def SearchFace(self, request: Any, context: Any) -> Any:
        return search.SearchFaceResponse(matches=[search.FaceMatch(face_id=n) for n in range(1_000)])

    async def GetQuota(self, request: Any, context: Any) -> Any:
        return search.GetQuotaResponse(tenant="x" * 3_000_000)


async def test_huge_answers_are_not_taken_in(photo: Path) -> None:
    """Larger than a megabyte, or with more matches than anybody asks for: a failed call, in one line."""
    async with fake_gateway(kind=Huge) as (_, address):
        quota = await facegate("quota", "--target", address)
        found = await facegate("search", str(photo), "--face-set", "e", "--target", address)
    assert (quota.status, quota.out) == (1, "")
    assert quota.err.startswith("facegate: RESOURCE_EXHAUSTED")
    assert quota.err.count("\n") == 1
    assert (found.status, found.out) == (1, "")
    assert "BAD_ANSWER: the answer holds 1000 matches" in found.err
    assert found.err.count("\n") == 1
