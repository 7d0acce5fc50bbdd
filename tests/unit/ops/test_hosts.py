"""Which `Host` headers the operators' listener answers to."""

from __future__ import annotations

import socket

import pytest

from gateway.ops.hosts import AllowedHosts

HOSTS = AllowedHosts(("faces.corp.example", "*.ops.example"))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.3.7:9464",
        "[::1]:9464",
        "[fd00::7]",
        "localhost:9464",
        "LOCALHOST",
        socket.gethostname(),
        "facegate-headless:9464",
        "facegate-headless.search.svc:9464",
        "facegate-headless.search.svc.cluster.local.",
        "host.docker.internal:9464",
        "faces.corp.example",
        "Faces.Corp.Example:80",
        "a.b.ops.example",
    ],
)
def test_an_address_a_private_name_or_a_listed_one_is_allowed(host: str) -> None:
    """Scrapes by pod address or Service, probes, port-forwards, and what the operator lists."""
    assert HOSTS.allow([host])


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["."],
        [":9464"],
        ["evil.example"],
        ["127.0.0.1.evil.example"],
        ["localhost.evil.example"],
        ["svc.evil.example"],
        ["evil.example:9464"],
        ["evil.example:port"],
        ["faces.corp.example.evil.example"],
        ["sub.faces.corp.example"],
        ["ops.example"],
        ["xops.example"],
        ["[::1"],
        ["[::1].evil.example"],
        ["[evil]"],
        ["user@localhost"],
        ["localhost, evil.example"],
        ["localhost/evil.example"],
        ["localhost", "evil.example"],
        ["localhost", "localhost"],
        ["l\u00f6calhost"],
        ["\u2113ocalhost"],
    ],
)
def test_a_name_that_a_stranger_could_own_is_refused(hosts: list[str]) -> None:
    """As is every header that is not exactly one name."""
    assert not HOSTS.allow(hosts)
