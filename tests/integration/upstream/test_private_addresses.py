"""The vendor's name leads to the public Internet, or the gateway does not go there: secrets and photos would go along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.errors import UpstreamUnavailable
from gateway.upstream.form import Pieces
from gateway.upstream.pool import Pool
from gateway.upstream.route import AddressRefused, Direct
from gateway.upstream.transport import open_transport
from tests.support.conditions import eventually
from tests.support.logs import caught_logs
from tests.support.names import resolve
from tests.support.vendor import OK, Vendor, always
from tests.support.vendor_client import client, query, trip

NAME = "vendor.example"
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1%2",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::a00:1",
    "2002:a00:1::",
]
PUBLIC = ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"]


async def tried(monkeypatch: pytest.MonkeyPatch, pool: Pool) -> list[str]:
    """The addresses to which a connection is tried; none can be made."""
    addresses: list[str] = []

    async def note(_: Direct, address: str, _seconds: float) -> Any:
        addresses.append(address)
        raise OSError

    monkeypatch.setattr(Direct, "_connect_to", note)
    with pytest.raises(httpx.ConnectError):
        await pool.connect()
    return addresses


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_private_address_is_refused_untried(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine, a private network, a cloud's metadata service, or another form of one of them."""
    resolve(monkeypatch, NAME, address)
    pool = Pool(Direct(NAME, 443, None), 5.0)
    with pytest.raises(AddressRefused):
        await pool.connect()
    assert await tried(monkeypatch, pool) == []


async def test_public_addresses_are_tried_and_others_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads to both is used for what is public."""
    resolve(monkeypatch, NAME, PUBLIC[0], "10.0.0.1", *PUBLIC[1:], "::1")
    assert await tried(monkeypatch, Pool(Direct(NAME, 443, None), 5.0)) == PUBLIC


async def test_a_private_address_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a proxy in a cluster."""
    resolve(monkeypatch, NAME, "127.0.0.1")
    async with Vendor(always(OK)) as vendor:
        for allowed in (True, False):
            url = httpx.URL(f"http://{NAME}:{vendor.port}/")
            transport = open_transport(url, None, 5.0, allow_private_addresses=allowed)
            headers = [(b"content-length", b"0")]
            request = httpx.Request("POST", url, headers=headers, stream=Pieces(b"", b"", b"", "multipart"))
            if allowed:
                assert (await transport.handle_async_request(request)).status_code == 200
            else:
                with pytest.raises(AddressRefused):
                    await transport.handle_async_request(request)
            await transport.aclose()
        assert vendor.accepted == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_configured_address_needs_no_permission(host: str) -> None:
    """Whoever writes an address has chosen it: the sandbox, or a test's stub."""
    async with Vendor(always(OK), host=host) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(), trip())
        assert vendor.accepted == 1


async def test_callers_and_operators_learn_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """UPSTREAM_UNAVAILABLE and no request for callers; one line that names the setting for operators."""
    resolve(monkeypatch, NAME, "169.254.169.254")
    with caught_logs(tmp_path) as logs:
        async with client(f"https://{NAME}") as upstream:
            for _ in range(3):
                who = trip()
                with pytest.raises(UpstreamUnavailable) as caught:
                    await upstream.search(query(), who)
                assert (caught.value.upstream_status, caught.value.attempts, who.attempts) == ("address_refused", 0, 0)
        await eventually(lambda: bool(logs.lines("upstream.address_refused")), "the line is written")
        (line,) = logs.lines("upstream.address_refused")
    assert "upstream.allow_private_addresses" in line["problem"]
    assert "169.254" not in str(line)
