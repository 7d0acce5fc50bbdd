"""From a configuration file to callers with tenants: key files, issuers over HTTP, and re-reading while calls come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.auth.build import Auth, open_auth, tenants_of
from gateway.auth.mtls import PeerCertificate
from gateway.auth.tokens import new_token, token_digest
from gateway.config import Config, load_config
from gateway.errors import GatewayError
from gateway.model import Role
from gateway.watcher import FileWatcher
from tests.support.clock import ManualClock
from tests.support.conditions import eventually
from tests.support.oidc import SigningKey, key_set, serve_keys
from tests.support.pki import Authority

ISSUER = "https://kubernetes.default.svc"
SUBJECT = "system:serviceaccount:kyc:api"
SPIFFE_ID = "spiffe://corp.example/ns/kyc/sa/api"
KEY = SigningKey()


def tenant(name: str, *principals: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"id": name, "principals": list(principals), "face_sets": {"employees": f"{name}-prod"}, **more}


def token_principal(token: str) -> dict[str, str]:
    return {"token_sha256": token_digest(token).hex()}


class Running:
    """An authenticator of a configuration file that is watched, as `app` puts it together."""

    def __init__(self, auth: Auth, watcher: FileWatcher, clock: ManualClock, file: Path) -> None:
        self.auth = auth
        self.watcher = watcher
        self.clock = clock
        self.file = file

    def write(self, *tenants: dict[str, Any]) -> None:
        """Changes the tenants in the file, as an atomic replacement."""
        settings = yaml.safe_load(self.file.read_text()) | {"tenants": list(tenants)}
        new = self.file.with_suffix(".new")
        new.write_text(yaml.safe_dump(settings))
        new.replace(self.file)

    def jwt(self, key: SigningKey = KEY) -> str:
        """A good token of the workload."""
        now = self.clock.now()
        return key.sign({"iss": ISSUER, "aud": ["facegate"], "sub": SUBJECT, "exp": now + 3600, "iat": now})

    async def who(self, token: str | None = None, peer: PeerCertificate | None = None) -> str:
        """Tenant and method of a call, or the reason of its refusal."""
        try:
            principal = await self.auth.authenticator.authenticate((f"Bearer {token}",) if token else (), peer)
        except GatewayError as refusal:
            return refusal.reason
        return f"{principal.tenant.id} {principal.method}"


@asynccontextmanager
async def running(folder: Path, settings: dict[str, Any]) -> AsyncIterator[Running]:
    file = folder / "facegate.yaml"
    file.write_text(yaml.safe_dump(settings))
    clock = ManualClock()
    watcher = FileWatcher(clock=clock, settle_seconds=0)

    def read() -> Config:
        return load_config(file, {}, check=False)

    async with open_auth(read(), clock=clock, watcher=watcher) as auth:
        watcher.watch([file], lambda: auth.authenticator.replace_tenants(tenants_of(read())), "configuration")
        await watcher.poll()
        yield Running(auth, watcher, clock, file)


def issuer(**source: str) -> dict[str, Any]:
    return {"auth": {"jwt_issuers": [{"issuer": ISSUER, "audience": "facegate", **source}]}}


WORKLOAD = {"jwt_issuer": ISSUER, "jwt_subject": SUBJECT}


async def test_a_configuration_becomes_tenants(tmp_path: Path) -> None:
    """Roles, face sets and identities arrive as configured."""
    token = new_token()
    settings = {
        "tenants": [
            tenant("kyc", token_principal(token), WORKLOAD, {"spiffe_id": SPIFFE_ID}),
            tenant("ops", role="operator"),
        ],
        **issuer(jwks_url="https://issuer.example/keys"),
    }
    file = tmp_path / "facegate.yaml"
    file.write_text(yaml.safe_dump(settings))
    tenants = tenants_of(load_config(file, {}, check=False))

    assert [(found.id, found.role) for found in tenants] == [("kyc", Role.CALLER), ("ops", Role.OPERATOR)]
    assert tenants.by_token_digest(token_digest(token)) is not None
    assert tenants.by_jwt(ISSUER, SUBJECT) is not None
    found = tenants.by_spiffe_id(SPIFFE_ID)
    assert found is not None
    assert found.tenant.face_sets == {"employees": "kyc-prod"}


async def test_a_workload_calls_with_its_service_account_token(tmp_path: Path) -> None:
    """The issuer's keys are fetched in the background from the start; the token needs nothing else."""
    async with serve_keys() as server:
        server.document = key_set(KEY.jwk())
        settings = issuer(jwks_url=server.url) | {"tenants": [tenant("kyc", WORKLOAD)]}
        async with running(tmp_path, settings) as gateway:
            await eventually(lambda: gateway.auth.problems() == (), "keys fetched")
            assert await gateway.who(gateway.jwt()) == "kyc jwt"
            assert await gateway.who(gateway.jwt(SigningKey())) == "CREDENTIALS_INVALID"


async def test_the_issuer_down_at_the_start_is_named_and_recovers(tmp_path: Path) -> None:
    """Static tokens work meanwhile."""
    token = new_token()
    async with serve_keys() as server:
        server.status = 503
        settings = issuer(jwks_url=server.url) | {"tenants": [tenant("kyc", WORKLOAD, token_principal(token))]}
        async with running(tmp_path, settings) as gateway:
            await eventually(lambda: len(server.requests) > 0, "a first fetch")
            assert await gateway.who(token) == "kyc token"
            assert await gateway.who(gateway.jwt()) == "CREDENTIALS_INVALID"
            assert [problem.split(": ")[0] for problem in gateway.auth.problems()] == [ISSUER]

            server.status, server.document = 200, key_set(KEY.jwk())
            gateway.clock.advance(60)
            await eventually(lambda: gateway.auth.problems() == (), "keys fetched")
            assert await gateway.who(gateway.jwt()) == "kyc jwt"


async def test_a_key_withdrawn_at_the_issuer_kills_its_tokens_with_the_next_fetch(tmp_path: Path) -> None:
    """Remembered ones too."""
    async with serve_keys() as server:
        server.document = key_set(KEY.jwk())
        settings = issuer(jwks_url=server.url) | {"tenants": [tenant("kyc", WORKLOAD)]}
        async with running(tmp_path, settings) as gateway:
            await eventually(lambda: gateway.auth.problems() == (), "keys fetched")
            token = gateway.jwt()
            assert await gateway.who(token) == "kyc jwt"

            server.document = key_set(SigningKey(key_id="key-2").jwk())
            keys = gateway.auth.fetched[0]
            keys._due_at = gateway.clock.monotonic()
            await eventually(lambda: keys.find("key-2", "ES256") is not None, "the next fetch")
            assert await gateway.who(token) == "CREDENTIALS_INVALID"


async def test_a_key_file_is_re_read_and_its_garbage_harmless(tmp_path: Path) -> None:
    """Twenty rotations with garbage in between: every token of a key in force passes, the old ones do not."""
    file = tmp_path / "jwks.json"
    file.write_bytes(key_set(KEY.jwk()))
    settings = issuer(jwks_file=str(file)) | {"tenants": [tenant("kyc", WORKLOAD)]}
    async with running(tmp_path, settings) as gateway:
        assert await gateway.who(gateway.jwt()) == "kyc jwt"
        old = gateway.jwt()
        for rotation in range(20):
            for garbage in (b"", b"{", key_set(), b'{"keys": [{"kty": "oct"}]}'):
                file.write_bytes(garbage)
                await gateway.watcher.poll()
                assert await gateway.who(old) == "kyc jwt"
                assert len(gateway.watcher.problems()) == 1
            key = SigningKey(key_id=f"rotated-{rotation}")
            file.write_bytes(key_set(key.jwk()))
            await gateway.watcher.poll()
            assert gateway.watcher.problems() == ()
            assert await gateway.who(old) == "CREDENTIALS_INVALID"
            old = gateway.jwt(key)
            assert await gateway.who(old) == "kyc jwt"


async def test_tenants_rotate_twenty_times_under_calls_without_a_failure(tmp_path: Path) -> None:
    """A tenant that stays is never refused while others come and go and its own token is exchanged."""
    stays, tokens = new_token(), [new_token() for _ in range(21)]
    settings = {"tenants": [tenant("kyc", token_principal(stays), token_principal(tokens[0]))]}
    async with running(tmp_path, settings) as gateway:
        verdicts: dict[str, int] = {}
        stop = asyncio.Event()

        async def call() -> None:
            while not stop.is_set():
                verdict = await gateway.who(stays)
                verdicts[verdict] = verdicts.get(verdict, 0) + 1
                await asyncio.sleep(0)

        calls = [asyncio.create_task(call()) for _ in range(4)]
        for before, token in pairwise(tokens):
            assert await gateway.who(before) == "kyc token"
            gateway.write(tenant("kyc", token_principal(stays), token_principal(token)), tenant(f"t-{len(verdicts)}"))
            await gateway.watcher.poll()
            assert await gateway.who(before) == "CREDENTIALS_INVALID"
            assert await gateway.who(token) == "kyc token"
        stop.set()
        await asyncio.gather(*calls)

    assert set(verdicts) == {"kyc token"}
    assert verdicts["kyc token"] > 100


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe\x00",
        b"tenants: [",
        b"tenants: {}\nunknown: 1\n",
        b"tenants: [{id: kyc}, {id: kyc}]",
        b"a: &a [*a]",
    ],
)
async def test_garbage_in_the_configuration_is_harmless(tmp_path: Path, garbage: bytes) -> None:
    """The last good registry stays in force and the file is named; an empty file is no way to lose all tenants."""
    token = new_token()
    async with running(tmp_path, {"tenants": [tenant("kyc", token_principal(token))]}) as gateway:
        good = gateway.file.read_bytes()
        gateway.file.write_bytes(garbage)
        await gateway.watcher.poll()
        assert await gateway.who(token) == "kyc token"
        assert str(gateway.file) in gateway.watcher.problems()[0]

        gateway.file.write_bytes(good)
        await gateway.watcher.poll()
        assert await gateway.who(token) == "kyc token"
        assert gateway.watcher.problems() == ()


async def test_an_svid_calls_without_a_token(tmp_path: Path) -> None:
    """Its trust domain is the configured one."""
    settings = {
        "auth": {"spiffe_trust_domain": "corp.example"},
        "tenants": [tenant("kyc", {"spiffe_id": SPIFFE_ID})],
    }
    async with running(tmp_path, settings) as gateway:
        authority = Authority(now=gateway.clock.now())
        peer = PeerCertificate(authority.workload(SPIFFE_ID).certificate)
        assert await gateway.who(peer=peer) == "kyc mtls"
        foreign = PeerCertificate(authority.workload(SPIFFE_ID.replace("corp", "other")).certificate)
        assert await gateway.who(peer=foreign) == "CREDENTIALS_INVALID"
