"""What people write for an address, and what they are told."""

from __future__ import annotations

import re

import pytest

from gateway.cli.address import DEFAULT_TARGET, check_address, is_loopback
from gateway.cli.demo import command as demo
from gateway.config import Config


@pytest.mark.parametrize(
    "text", ["127.0.0.1:50051", "gateway:443", "[::1]:50051", "a.b.example.:1", "dns:///gateway:1", "unix:/run/x.sock"]
)
def test_an_address_is_taken(text: str) -> None:
    """HOST:PORT, and gRPC's own forms."""
    assert check_address(text) == text


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("gateway", "has no port: write gateway:50051"),
        ("", "has no port: write HOST:50051"),
        ("http://gateway:9", "is a URL, and gRPC takes an address: write gateway:9"),
        ("https://gateway/search", "is a URL, and gRPC takes an address: write gateway:50051 with --tls"),
        ("grpcs://user:hunter2@gateway", "is a URL, and gRPC takes an address: write gateway:50051 with --tls"),
        ("::1", "needs brackets and a port: write [::1]:50051"),
        ("[::1]", "needs brackets and a port: write [::1]:50051"),
        ("gateway:", "needs a port from 1 to 65535 after its last colon: write gateway:50051"),
        ("gateway:grpc", "needs a port from 1 to 65535 after its last colon: write gateway:50051"),
        ("gateway:0", "needs a port from 1 to 65535 after its last colon: write gateway:50051"),
        ("gateway:70000", "needs a port from 1 to 65535 after its last colon: write gateway:50051"),
        ("two words:1", "must be HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051"),
    ],
)
def test_what_is_no_address_is_answered_with_one(text: str, remedy: str) -> None:
    """The sentence holds what to write instead."""
    with pytest.raises(ValueError, match=f"^{re.escape(remedy)}$"):
        check_address(text)


def test_every_command_calls_where_the_gateway_listens() -> None:
    """The demo, a gateway without settings and the client commands agree, so that nothing has to be typed."""
    defaults = {option.name: option.default for option in demo.params}
    assert defaults["listen"] == DEFAULT_TARGET == Config().server.listen
    assert defaults["ops_listen"] == Config().ops.listen


def test_loopback_is_this_machine_alone() -> None:
    """A token in plaintext is warned of everywhere else."""
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "LOCALHOST")))
    assert not any(map(is_loopback, ("0.0.0.0", "gateway", "10.0.0.1", "::")))
