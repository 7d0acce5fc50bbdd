"""What a changed configuration file puts in force; it never opens a public listener to callers without credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.auth.authenticator import Authenticator
from gateway.auth.build import tenants_of
from gateway.auth.tokens import new_token
from gateway.config import Config, parse_config
from gateway.errors import CredentialsInvalid
from gateway.reload import ConfigReload
from tests.support.callers import holder_of, tenant

TOKEN = new_token()
KYC = tenant("kyc", holder_of(TOKEN))
PUBLIC = {"server": {"listen": "0.0.0.0:50051", "insecure": True}}
LOCAL = {"server": {"listen": "127.0.0.1:50051"}, "auth": {"anonymous_tenant": "kyc"}}


def config_of(folder: Path, settings: dict[str, Any]) -> tuple[Path, Config]:
    """Writes the file; the configuration in it."""
    for name in ("id", "secret"):
        (folder / name).write_text(name)
    credential = {"name": "primary", "api_id_file": str(folder / "id"), "api_secret_file": str(folder / "secret")}
    text = yaml.safe_dump(settings | {"upstream": {"credentials": [credential]}, "tenants": [KYC]})
    file = folder / "facegate.yaml"
    file.write_text(text)
    return file, parse_config(text)


def nobody_listens(tenants: list[str]) -> None:
    """Metrics are told the tenants; here nobody is."""


async def test_an_anonymous_tenant_needs_a_restart(tmp_path: Path) -> None:
    """The file's listener is loopback, so the file is good; but the one that serves is still the public one."""
    _, public = config_of(tmp_path, PUBLIC)
    authenticator = Authenticator(tenants_of(public))
    file, _ = config_of(tmp_path, LOCAL)
    await ConfigReload(file, public, authenticator, nobody_listens)()

    assert (await authenticator.authenticate((f"Bearer {TOKEN}",), None)).tenant.id == "kyc"
    with pytest.raises(CredentialsInvalid):
        await authenticator.authenticate((), None)


async def test_taking_the_anonymous_tenant_away_counts_at_once(tmp_path: Path) -> None:
    """That closes a door, which must not wait for a restart."""
    _, local = config_of(tmp_path, LOCAL)
    authenticator = Authenticator(tenants_of(local))
    assert (await authenticator.authenticate((), None)).tenant.id == "kyc"
    file, _ = config_of(tmp_path, {"server": LOCAL["server"]})
    await ConfigReload(file, local, authenticator, nobody_listens)()
    with pytest.raises(CredentialsInvalid):
        await authenticator.authenticate((), None)


async def test_a_file_that_says_the_same_changes_nothing(tmp_path: Path) -> None:
    """It is read again after the start and when it is touched; tokens that were verified stay so."""
    file, config = config_of(tmp_path, LOCAL)
    authenticator = Authenticator(tenants_of(config))
    reload = ConfigReload(file, config, authenticator, nobody_listens)
    registry = authenticator.tenants
    await reload()
    assert authenticator.tenants is registry
    file.write_text(file.read_text().replace("kyc", "other"))
    await reload()
    assert authenticator.tenants.get("kyc") is None
    changed = authenticator.tenants
    await reload()
    assert authenticator.tenants is changed
    config_of(tmp_path, LOCAL)
    await reload()
    assert authenticator.tenants.get("kyc") is not None, "back to what it was at the start"


async def test_a_change_that_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What did not come into force must not count as if it had."""
    file, config = config_of(tmp_path, LOCAL)
    authenticator = Authenticator(tenants_of(config))
    reload = ConfigReload(file, config, authenticator, nobody_listens)
    file.write_text(file.read_text().replace("kyc", "other"))

    def fail(_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as failing:
        failing.setattr(authenticator, "replace_tenants", fail)
        with pytest.raises(RuntimeError):
            await reload()
    await reload()
    assert authenticator.tenants.get("other") is not None
