"""Starting and stopping the sandbox."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.sandbox.server import run_sandbox
from tests.support.sandbox import sandbox_caller


async def test_it_binds_loopback_and_a_free_port() -> None:
    """Unless told otherwise; `url` is the real address."""
    async with run_sandbox() as one, run_sandbox() as other:
        assert one.host == "127.0.0.1"
        assert one.port != other.port
        assert one.url == f"http://127.0.0.1:{one.port}"


async def test_a_name_with_several_addresses_is_one_port() -> None:
    """`localhost` may be two addresses; the port that is told is the one that answers."""
    async with sandbox_caller(host="localhost") as caller:
        assert (await caller.search()).code == 200


async def test_a_port_in_use_is_named() -> None:
    """With the remedy, for the command line to print."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another"):
            async with run_sandbox(port=port):
                pass


async def test_an_unknown_host_is_named() -> None:
    """Rather than a resolver's code."""
    with pytest.raises(OSError, match=r"cannot listen on no\.such\.host\.invalid:1: the host is not known"):
        async with run_sandbox("no.such.host.invalid", 1):
            pass


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And the port is free again."""
    missing = tmp_path / "missing"
    with pytest.raises(OSError, match=f"cannot read face sets from {missing}: No such file"):
        async with run_sandbox(faces_dir=missing):
            pass


async def test_after_the_end_nothing_listens() -> None:
    """The port refuses."""
    async with run_sandbox() as sandbox:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((sandbox.host, sandbox.port), timeout=1)
