"""The kinds of values that settings hold, each with its check and a message that says what is expected.

The messages go to operators: they never repeat the value, which may be a secret in the wrong place.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

TENANT_ID = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62})")
FACE_SET_ALIAS = TENANT_ID
SHA256_HEX = re.compile(r"[0-9a-f]{64}")
TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
SPIFFE_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
ALLOWED_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,252})")
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


def split_address(address: str) -> tuple[str, int]:
    """Splits `HOST:PORT` or `[IPV6]:PORT`; raises ValueError."""
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif not HOST_NAME.fullmatch(host):
        raise ValueError("no host")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError("no port")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`. Names other than `localhost` count as public: they may move."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _address(value: str) -> str:
    try:
        split_address(value)
    except ValueError:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051, 0.0.0.0:50051 or [::1]:50051") from None
    return value


def _url(value: str) -> str:
    rule = "must be an https:// URL (http:// for loopback hosts only) without a user, query or fragment"
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(rule) from None
    plain_is_safe = parts.scheme == "http" and is_loopback(parts.hostname or "")
    plain_parts = not (parts.query or parts.fragment or "@" in parts.netloc)
    if not (parts.scheme == "https" or plain_is_safe) or not parts.hostname or not plain_parts or not port_is_good:
        raise ValueError(rule)
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        raise ValueError(rule)
    return value


def _collector_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("must be an http:// or https:// URL without a user, such as http://collector:4317")
    return value


def _proxy_url(value: str) -> str:
    rule = (
        "must be http://HOST:PORT or https://HOST:PORT without a user or a path; credentials go into credentials_file"
    )
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        split_address(f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}")
    except ValueError:
        raise ValueError(rule) from None
    rest = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or rest or not parts.port:
        raise ValueError(rule)
    return value


def _store_url(value: str) -> str:
    rule = "must be memory://, valkey://HOST:PORT/DB or valkeys://HOST:PORT/DB (TLS), or a comma list of HOST:PORT"
    if value == "memory://":
        return value
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in ("valkey", "valkeys"):
        raise ValueError(rule)
    user, at, rest = rest.rpartition("@")
    if at and (":" in user or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", user)):
        raise ValueError("must not hold a password: name its file in quota_password_file or cache_password_file")
    hosts, _, database = rest.partition("/")
    if database and not (database.isascii() and database.isdigit() and int(database) < 1024):
        raise ValueError(f"{rule}; DB is a number")
    if "," in hosts and int(database or 0) != 0:
        raise ValueError("a cluster (a comma list of hosts) has database 0 only")
    for host in hosts.split(","):
        try:
            split_address(host if re.search(r":\d+$", host) else f"{host}:6379")
        except ValueError:
            raise ValueError(rule) from None
    return value


def _matching(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"must be {expected}")
        return value

    return AfterValidator(check)


def _published(pattern: re.Pattern[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$"})


def _text(value: str) -> str:
    if not value or len(value) > 512 or not value.isprintable():
        raise ValueError("must be 1 to 512 printable characters")
    return value


def _spiffe_id(value: str) -> str:
    scheme, _, rest = value.partition("://")
    domain, *segments = rest.split("/")
    good_path = bool(segments) and all(SPIFFE_SEGMENT.fullmatch(s) and s not in (".", "..") for s in segments)
    if scheme != "spiffe" or not TRUST_DOMAIN.fullmatch(domain) or not good_path or len(value) > 2048:
        raise ValueError("must be a SPIFFE id such as spiffe://corp.example/ns/kyc/sa/api")
    return value


def _file(value: Path) -> Path:
    if "\x00" in str(value) or str(value) == ".":
        raise ValueError("must be the path of a file")
    return value


Address = Annotated[str, AfterValidator(_address)]
HttpsUrl = Annotated[str, AfterValidator(_url)]
CollectorUrl = Annotated[str, AfterValidator(_collector_url)]
ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
StoreUrl = Annotated[str, AfterValidator(_store_url)]
Text = Annotated[str, AfterValidator(_text)]
File = Annotated[
    Path,
    Field(strict=False),
    AfterValidator(_file),
    WithJsonSchema({"type": "string", "format": "path"}),
]
AllowedHost = Annotated[
    str,
    _matching(ALLOWED_HOST, "a host name in lower case without a port, or *. and a name"),
    _published(ALLOWED_HOST),
]
TenantId = Annotated[
    str, _matching(TENANT_ID, "1 to 63 of a-z 0-9 _ -, and not start with _ or -"), _published(TENANT_ID)
]
Alias = Annotated[
    str, _matching(FACE_SET_ALIAS, "1 to 63 of a-z 0-9 _ -, and not start with _ or -"), _published(FACE_SET_ALIAS)
]
Sha256Hex = Annotated[
    str,
    _matching(SHA256_HEX, "a SHA-256 as 64 lower-case hex digits; see `facegate token new`"),
    _published(SHA256_HEX),
]
TrustDomain = Annotated[
    str,
    _matching(TRUST_DOMAIN, "a trust domain such as corp.example, without spiffe://"),
    _published(TRUST_DOMAIN),
]
EnvironmentName = Annotated[
    str, _matching(ENVIRONMENT_NAME, "the name of an environment variable"), _published(ENVIRONMENT_NAME)
]
SpiffeId = Annotated[str, AfterValidator(_spiffe_id)]
