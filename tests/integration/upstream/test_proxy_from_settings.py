"""From the settings to searches through a proxy, with its credentials watched."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.config.upstream import UpstreamConfig
from gateway.upstream.build import UpstreamUnusable, open_client
from gateway.upstream.client import UpstreamClient, ignore_attempt
from gateway.upstream.slots import ignore_wait
from gateway.watcher import FileWatcher
from tests.support.conditions import eventually
from tests.support.logs import caught_logs
from tests.support.proxy import ConnectProxy
from tests.support.vendor import OK, Vendor, always, upstream_of
from tests.support.vendor_client import query, trip


@asynccontextmanager
async def opened(settings: dict[str, Any], watcher: FileWatcher) -> AsyncIterator[UpstreamClient]:
    """The client that the gateway makes of these settings of `upstream`."""
    client = open_client(
        UpstreamConfig.model_validate_json(json.dumps(settings)),
        clock=SystemClock(),
        watcher=watcher,
        on_attempt=ignore_attempt,
        on_wait=ignore_wait,
    )
    async with client as made:
        yield made


def watching() -> FileWatcher:
    return FileWatcher(clock=SystemClock(), interval_seconds=3600, settle_seconds=0)


async def test_new_credentials_are_used_for_the_next_connection(tmp_path: Path) -> None:
    """What cannot be used leaves the old ones in force, and is reported without being shown."""
    login, watcher = tmp_path / "login", watching()
    login.write_text("gateway:first\n")
    async with Vendor(always(OK)) as vendor, ConnectProxy() as proxy:
        way = {"url": f"http://127.0.0.1:{proxy.port}", "credentials_file": str(login)}
        async with opened(upstream_of(vendor, tmp_path, proxy=way, keep_alive=False), watcher) as upstream:
            for content in ("gateway:first\n", "hunter2 without a user", "gateway:second"):
                login.write_text(content)
                await watcher.poll()
                await watcher.poll()
                await upstream.search(query(), trip())
                problems = " ".join(watcher.problems())
                assert ("does not hold USER:PASSWORD" in problems) is ("hunter2" in content)
                assert "hunter2" not in problems
    sent = [base64.b64decode(head.partition("Basic ")[2].split("\r\n")[0]) for head in proxy.asked]
    assert sent == [b"gateway:first", b"gateway:first", b"gateway:second"]


@pytest.mark.parametrize("content", [None, b"", b"no colon", b":no user", b"a:b\nc:d", b"a:\xff", b"a:" + b"b" * 5000])
async def test_credentials_that_cannot_be_used_end_the_start(content: bytes | None, tmp_path: Path) -> None:
    """With the setting's name."""
    login = tmp_path / "login"
    if content is not None:
        login.write_bytes(content)
    way = {"url": "http://127.0.0.1:9", "credentials_file": str(login)}
    async with Vendor(always(OK)) as vendor:
        with pytest.raises(UpstreamUnusable, match=r"upstream\.proxy\.credentials_file: "):
            async with opened(upstream_of(vendor, tmp_path, proxy=way), watching()):
                pass


async def test_a_proxy_of_the_environment_is_ignored_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches go directly; one line says what would make them go through it. Its value may hold a password."""
    for name in ("HTTPS_PROXY", "https_proxy", "http_proxy", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with caught_logs(tmp_path) as logs:
        async with Vendor(always(OK)) as vendor, opened(upstream_of(vendor, tmp_path), watching()) as upstream:
            await upstream.search(query(), trip())
            assert vendor.accepted == 1
        await eventually(lambda: bool(logs.lines("upstream.proxy_variables_ignored")), "the line is written")
        (line,) = logs.lines("upstream.proxy_variables_ignored")
        assert line["variables"] == ["HTTPS_PROXY", "http_proxy"]
        assert "upstream.proxy.url" in line["problem"]
        assert "hunter2" not in logs.text
