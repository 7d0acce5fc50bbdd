"""Secrets go to https, or to this machine."""

from __future__ import annotations

import pytest

from gateway.upstream.endpoint import search_url


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://vendor.example", "https://vendor.example/faceset/v2/search_face"),
        ("https://vendor.example:8443/api/", "https://vendor.example:8443/api/faceset/v2/search_face"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/faceset/v2/search_face"),
        ("http://127.9.9.9", "http://127.9.9.9/faceset/v2/search_face"),
        ("http://[::1]:1", "http://[::1]:1/faceset/v2/search_face"),
        ("http://localhost", "http://localhost/faceset/v2/search_face"),
    ],
)
def test_where_searches_go(base: str, url: str) -> None:
    """The API's path under the base."""
    assert str(search_url(base)) == url


@pytest.mark.parametrize(
    "base",
    [
        "http://vendor.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://10.0.0.1",
        "ftp://vendor.example",
        "vendor.example",
        "",
        "https://",
        "https://user:password@vendor.example",
        "https://vendor.example?x=1",
        "https://vendor.example#x",
        "https://vendor.example:port",
    ],
)
def test_where_they_do_not_go(base: str) -> None:
    """Plaintext beyond loopback, and anything that is not a plain base, is refused without repeating it."""
    with pytest.raises(ValueError, match=r"upstream\.base_url") as caught:
        search_url(base)
    assert "password" not in str(caught.value)
