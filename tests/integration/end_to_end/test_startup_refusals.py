"""`facegate serve` with a configuration that must not serve: a line a problem, with key and remedy, and status 1."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command import Ended, facegate

ENVIRON = {"E2E_ID": "an-id", "E2E_SECRET": "hunter2"}


def settings(**sections: Any) -> dict[str, Any]:
    """A configuration that would serve, with sections changed."""
    good: dict[str, Any] = {
        "server": {"listen": "127.0.0.1:0"},
        "ops": {"listen": "127.0.0.1:0"},
        "upstream": {
            "base_url": "http://127.0.0.1:9",
            "credentials": [{"name": "primary", "api_id_env": "E2E_ID", "api_secret_env": "E2E_SECRET"}],
        },
        "auth": {"anonymous_tenant": "kyc"},
        "tenants": [{"id": "kyc", "face_sets": {"staff": "staff-prod"}}],
    }
    return {name: {**good.get(name, {}), **sections.get(name, {})} for name in good if name != "tenants"} | {
        "tenants": good["tenants"]
    }


async def serve(folder: Path, **sections: Any) -> Ended:
    """How `facegate serve` with these settings ends."""
    file = folder / "facegate.yaml"
    file.write_text(yaml.safe_dump(settings(**sections)))
    return await facegate("serve", "--config", str(file), environ=ENVIRON)


def missing_secret(folder: Path) -> dict[str, Any]:
    """A pair whose secret file is not there."""
    (folder / "id").write_text("an-id")
    files = {"api_id_file": str(folder / "id"), "api_secret_file": str(folder / "nowhere")}
    return {"upstream": {"credentials": [{"name": "primary", **files}]}}


PROBLEMS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "an unknown key": (lambda _: {"server": {"listn": "x"}}, ("server.listn", "unknown key", '"server.listen"')),
    "a missing secret file": (missing_secret, ("upstream.credentials", "api_secret_file", "nowhere")),
    "a public plaintext listener": (
        lambda _: {"server": {"listen": "0.0.0.0:0"}, "auth": {"anonymous_tenant": None}},
        ("server.listen", "server.tls", "insecure"),
    ),
    "anonymous callers on a public listener": (
        lambda _: {"server": {"listen": "0.0.0.0:0", "insecure": True}},
        ("auth.anonymous_tenant", "loopback"),
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
async def test_it_says_what_is_wrong_and_what_to_do(problem: str, tmp_path: Path) -> None:
    """One line for the one problem, with the key's path; no traceback, and nothing of a secret."""
    sections, expected = PROBLEMS[problem]
    result = await serve(tmp_path, **sections(tmp_path))
    assert result.status == 1
    (line,) = result.err.splitlines()
    assert line.startswith("facegate: ")
    assert [text for text in expected if text not in line] == []
    assert "hunter2" not in result.out + result.err


async def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """A file with three is mended in one go."""
    sections = missing_secret(tmp_path) | {"server": {"listn": "x", "listen": "0.0.0.0:0"}}
    result = await serve(tmp_path, **sections)
    assert result.status == 1
    file = tmp_path / "facegate.yaml"
    keys = [line.removeprefix(f"facegate: {file}:").split(":")[1].strip() for line in result.err.splitlines()]
    # The last follows from the second: strangers may call on loopback alone.
    assert keys == [
        "server.listn",
        "server.listen",
        "auth.anonymous_tenant",
        "upstream.credentials.0.api_secret_file",
    ]


@pytest.mark.parametrize("section", ["server", "ops"])
async def test_a_taken_port(section: str, tmp_path: Path) -> None:
    """Whoever has it, a gateway or not: the address is named, and nothing is half started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        result = await serve(tmp_path, **{section: {"listen": address}})
    assert result.status == 1
    (line,) = [line for line in result.err.splitlines() if line.startswith("facegate: ")]
    assert address in line
    assert "in use" in line
    assert "Traceback" not in result.err
