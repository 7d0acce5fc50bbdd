"""A right that is taken away in the configuration file ends on open connections, with the real watcher and clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import yaml

from gateway.app import Gateway
from gateway.auth.tokens import new_token
from gateway.config import load_config
from tests.support.callers import AUDIENCE, ISSUER, WORKLOAD, holder_of, jwt_of, tenant, tls_settings, who
from tests.support.gateway import running
from tests.support.mounted import Mounted
from tests.support.oidc import SigningKey, key_set
from tests.support.pki import Authority
from tests.support.upstream import FakeUpstream

KEY = SigningKey()
DEAD_WITHIN_SECONDS = 10.0


class Served:
    """A gateway of a mounted configuration file, a client of it, and its operators' page."""

    def __init__(self, gateway: Gateway, channel: grpc.aio.Channel, volume: Mounted, settings: dict[str, Any]) -> None:
        self.gateway = gateway
        self.channel = channel
        self._volume = volume
        self._settings = settings

    def write(self, *tenants: dict[str, Any]) -> None:
        """Changes the tenants in the file, as Kubernetes does it."""
        self.write_bytes(yaml.safe_dump(self._settings | {"tenants": list(tenants)}).encode())

    def write_bytes(self, content: bytes) -> None:
        """Changes the file."""
        self._volume.swap(**{"facegate.yaml": content})

    async def until(self, token: str, verdict: str) -> float:
        """Calls until the verdict about a token is this one; seconds that it took."""
        started = time.monotonic()
        async with asyncio.timeout(DEAD_WITHIN_SECONDS):
            while await who(self.channel, token) != verdict:
                await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def problems(self) -> str:
        """What `/readyz` says."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{self.gateway.ops_address}/readyz") as response,
        ):
            assert response.status == 200
            return await response.text()


@asynccontextmanager
async def serving(folder: Path, *tenants: dict[str, Any], **sections: Any) -> AsyncIterator[Served]:
    for name in ("id", "secret"):
        (folder / name).write_text(f"the-{name}")
    credential = {"name": "primary", "api_id_file": str(folder / "id"), "api_secret_file": str(folder / "secret")}
    settings: dict[str, Any] = {
        "server": {"listen": "127.0.0.1:0"},
        "ops": {"listen": "127.0.0.1:0"},
        "upstream": {"credentials": [credential]},
        **sections,
    }
    volume = Mounted(folder / "config", **{"facegate.yaml": yaml.safe_dump(settings | {"tenants": tenants}).encode()})
    file = volume["facegate.yaml"]
    async with (
        running(load_config(file, {}), config_file=file, upstream=FakeUpstream()) as gateway,
        grpc.aio.insecure_channel(gateway.address) as channel,
    ):
        yield Served(gateway, channel, volume, settings)


async def test_whoever_is_removed_from_the_file_is_dead_within_10_seconds(tmp_path: Path) -> None:
    """A tenant with its token, one token of several, and a workload whose verified token is remembered."""
    (tmp_path / "jwks.json").write_bytes(key_set(KEY.jwk()))
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(tmp_path / "jwks.json")}
    stays, leaked, former = new_token(), new_token(), new_token()
    workload = jwt_of(KEY, time.time())
    async with serving(
        tmp_path,
        tenant("kyc", holder_of(stays), holder_of(leaked), WORKLOAD),
        tenant("former", holder_of(former)),
        auth={"jwt_issuers": [issuer]},
    ) as served:
        before = [await who(served.channel, token) for token in (stays, leaked, workload, former)]
        assert before == ["kyc", "kyc", "kyc", "former"]

        served.write(tenant("kyc", holder_of(stays)))
        took = await served.until(former, "CREDENTIALS_INVALID")
        took += await served.until(leaked, "CREDENTIALS_INVALID")
        took += await served.until(workload, "TENANT_NOT_ALLOWED")
        assert took < DEAD_WITHIN_SECONDS
        assert await who(served.channel, stays) == "kyc"


async def test_a_broken_configuration_file_locks_nobody_out(tmp_path: Path) -> None:
    """What was in force stays, `/readyz` names the file, and mending it counts."""
    token, added = new_token(), new_token()
    async with serving(tmp_path, tenant("kyc", holder_of(token))) as served:
        served.write_bytes(b"tenants: [")
        async with asyncio.timeout(DEAD_WITHIN_SECONDS):
            while "facegate.yaml" not in await served.problems():
                await asyncio.sleep(0.02)
        assert await who(served.channel, token) == "kyc"
        served.write(tenant("kyc", holder_of(token)), tenant("new", holder_of(added)))
        await served.until(added, "new")
        assert await who(served.channel, token) == "kyc"
        assert "problem" not in await served.problems()


async def test_a_bad_certificate_does_not_keep_a_token_alive(tmp_path: Path) -> None:
    """A right is revoked whatever state the other files that the configuration names are in."""
    authority = Authority()
    token, revoked = new_token(), new_token()
    tls = tls_settings(tmp_path, authority.server(), authority.pem)
    del tls["client_ca_file"]
    async with serving(
        tmp_path, tenant("kyc", holder_of(token), holder_of(revoked)), server={"listen": "127.0.0.1:0", "tls": tls}
    ) as served:
        port = served.gateway.address.rpartition(":")[2]
        channel = grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(authority.pem))
        async with channel:
            served.channel = channel
            assert await who(channel, revoked) == "kyc"
            (tmp_path / "key_file").write_bytes(authority.server().key)
            (tmp_path / "secret").write_bytes(b"")
            served.write(tenant("kyc", holder_of(token)))
            await served.until(revoked, "CREDENTIALS_INVALID")
            assert await who(channel, token) == "kyc"
