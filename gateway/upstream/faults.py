"""What a fault on the way to the vendor is for callers: httpx's errors as rows of the error table."""

from __future__ import annotations

import httpx

from gateway.errors import UpstreamBadResponse, UpstreamFailure, UpstreamTimeout, UpstreamUnavailable
from gateway.upstream.proxy import ProxyFailed, ProxyLoginRefused, ProxyRefused, ProxyUnverified
from gateway.upstream.route import AddressRefused, TlsVerificationError

TLS_ERROR = "tls_error"
ADDRESS_REFUSED = "address_refused"
PROXY_ERROR = "proxy_error"
PROXY_TLS_ERROR = "proxy_tls_error"
PROXY_REFUSED = "proxy_refused"
PROXY_LOGIN_REFUSED = "proxy_login_refused"

_ON_THE_WAY: dict[type[httpx.TransportError], str] = {
    TlsVerificationError: TLS_ERROR,
    AddressRefused: ADDRESS_REFUSED,
    ProxyFailed: PROXY_ERROR,
    ProxyUnverified: PROXY_TLS_ERROR,
    ProxyRefused: PROXY_REFUSED,
    ProxyLoginRefused: PROXY_LOGIN_REFUSED,
}


def failure_of(error: httpx.TransportError) -> UpstreamFailure:
    """The gateway's error for `error`; nothing of its text is kept."""
    status = _ON_THE_WAY.get(type(error))
    if status is not None:
        return UpstreamUnavailable(status)
    match error:
        case httpx.ConnectTimeout():
            return UpstreamTimeout("connect_timeout")
        case httpx.TimeoutException():
            return UpstreamTimeout("timeout")
        case httpx.ConnectError():
            return UpstreamUnavailable("connect_error")
        case httpx.NetworkError():
            return UpstreamUnavailable("connection_lost")
        case _:
            return UpstreamBadResponse("protocol_error")
