"""The client commands other than `search`, against a server on a real socket."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as search

from tests.support.command import facegate
from tests.support.face_search_servicer import fake_gateway


@pytest.mark.parametrize(
    ("service", "status"),
    [("", 0), (search.DESCRIPTOR.services_by_name["FaceSearchService"].full_name, 0), ("draining", 1)],
)
async def test_health_is_an_exit_status(service: str, status: int) -> None:
    """0 if it serves, 1 if not."""
    async with fake_gateway() as (_, address):
        result = await facegate("health", "--target", address, "--service", service)
    assert result.status == status
    assert (result.out == "SERVING\n") is (status == 0)


async def test_this_machine_is_reached_without_a_proxy() -> None:
    """Clusters set such variables for every container, and probes call the gateway beside them."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    async with fake_gateway() as (_, address):
        result = await facegate("health", "--target", address, environ=proxies)
    assert (result.status, result.out) == (0, "SERVING\n")


async def test_health_of_nobody_is_1() -> None:
    """A gateway that is not there does not serve."""
    result = await facegate("health", "--target", "127.0.0.1:1", "--timeout", "2")
    assert result.status == 1
    assert result.err.startswith("facegate: 127.0.0.1:1: ")
    assert result.err.count("\n") == 1


async def test_quota_is_a_table_with_bars() -> None:
    """Limits, what is used of them and when they are full again."""
    async with fake_gateway() as (_, address):
        result = await facegate("quota", "--target", address)
        as_json = await facegate("quota", "--target", address, "--json")
    assert result.status == 0
    assert "tenant kyc; face sets: employees" in result.out
    assert "upstream_calls_per_day" in result.out
    assert "█████░░░░░░░░░░░░░░░" in result.out
    assert "750" in result.out
    assert "2027-01-15 08:00:00Z" in result.out
    assert json.loads(as_json.out)["limits"][0]["remaining"] == "750"


async def test_usage_is_a_row_a_day_or_a_tenant() -> None:
    """Callers see their days, operators the sums of all tenants, over every page."""
    async with fake_gateway() as (fake, address):
        days = await facegate("usage", "--target", address, "--start", "2026-11-01", "--end", "2026-12-01")
        tenants = await facegate("usage", "--target", address, "--all-tenants", "--json")
    assert "2027-01-15" in days.out
    assert "12" in days.out
    assert fake.requests[0].start_time.ToJsonString() == "2026-11-01T00:00:00Z"
    assert [json.loads(line)["tenant"] for line in tenants.out.splitlines()] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "scope"),
    [
        (["--all"], "all"),
        (["--tenant", "kyc"], "tenant"),
        (["--tenant", "kyc", "--face-set", "employees"], "face_set"),
    ],
)
async def test_purge_names_its_scope(arguments: list[str], scope: str) -> None:
    """Each scope is the one that was asked for, and the epoch is told."""
    async with fake_gateway() as (fake, address):
        result = await facegate("purge", "--target", address, *arguments)
    assert result.status == 0
    assert "epoch 7 is in force" in result.out
    assert fake.requests[0].WhichOneof("scope") == scope


async def test_what_a_server_does_not_have_is_said_clearly() -> None:
    """An older gateway answers UNIMPLEMENTED, in one line."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        result = await facegate("quota", "--target", f"127.0.0.1:{port}")
    finally:
        await server.stop(0)
    assert result.status == 1
    assert result.err.startswith("facegate: UNIMPLEMENTED")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("command", ["config schema", "demo --once"])
async def test_a_reader_that_leaves_is_no_traceback(command: str) -> None:
    """A pipe whose other end is gone ends the command quietly."""
    process = await asyncio.create_subprocess_shell(
        f"exec 3>&2; python -m gateway {command} 2>&3 | true",
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": str(Path(sys.executable).parent) + ":/usr/bin:/bin"},
    )
    _, err = await process.communicate()
    assert err == b""
