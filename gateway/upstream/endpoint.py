"""Where the vendor's search is, and which addresses its name may lead to."""

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


def names_an_address(host: str) -> bool:
    """Whether `host` is itself an address, or this machine: then whoever wrote it has chosen where requests go."""
    return host == "localhost" or _address(host) is not None


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet, as the vendor's is.

    A name that leads elsewhere (to this machine, a cloud's metadata service, a private network) is a mistake or an
    attack. An IPv6 address that a gateway translates to an IPv4 address is judged by that one too.
    """
    found = _address(address)
    if found is None or not found.is_global or found.is_multicast:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return True
    if found.ipv4_mapped is not None or found.is_site_local:
        return False
    inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF) if found in _NAT64 else found.sixtofour
    return inner is None or is_public(str(inner))


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address is not None else host == "localhost"
