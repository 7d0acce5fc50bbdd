"""Where the vendor's search is."""

from __future__ import annotations

import ipaddress

import httpx

SEARCH_PATH = "/faceset/v2/search_face"


def search_url(base_url: str) -> httpx.URL:
    """The search's URL under `base_url`, which may have a path. Raises `ValueError` for one that secrets must not go to."""
    try:
        base = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise ValueError("upstream.base_url is not a URL") from None
    if base.scheme not in ("https", "http") or not base.host:
        raise ValueError("upstream.base_url must be https://HOST")
    if base.userinfo or base.query or base.fragment:
        raise ValueError("upstream.base_url must have no user, query or fragment")
    if base.scheme == "http" and not _is_loopback(base.host):
        raise ValueError("upstream.base_url must be https, save for a loopback host: secrets are sent to it")
    return base.copy_with(raw_path=base.raw_path.rstrip(b"/") + SEARCH_PATH.encode())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
