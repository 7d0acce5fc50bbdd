"""What a fault on the way to the vendor is for callers: httpx's errors as rows of the error table."""

from __future__ import annotations

import httpx

from gateway.errors import UpstreamBadResponse, UpstreamFailure, UpstreamTimeout, UpstreamUnavailable
from gateway.upstream.route import AddressRefused, TlsVerificationError

TLS_ERROR = "tls_error"
ADDRESS_REFUSED = "address_refused"


def failure_of(error: httpx.TransportError) -> UpstreamFailure:
    """The gateway's error for `error`; nothing of its text is kept."""
    match error:
        case TlsVerificationError():
            return UpstreamUnavailable(TLS_ERROR)
        case AddressRefused():
            return UpstreamUnavailable(ADDRESS_REFUSED)
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
