"""Why a gateway cannot be reached, in words: gRPC's own say `Socket closed` and quote OpenSSL's source files.

Runs after a call has failed, and knocks once more: is anybody there, and does it speak TLS?
"""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress

from gateway.cli.address import host_port, is_loopback
from gateway.cli.options import Target, Tls

TIMEOUT_SECONDS = 1.0
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def diagnose(target: Target) -> str:
    """A sentence about what is wrong and what to do; empty if nothing is found. Blocks for at most two seconds."""
    try:
        host, port = host_port(target.address)
    except ValueError:
        # One of gRPC's own forms.
        return ""
    if any(os.environ.get(name) for name in _PROXIES) and not is_loopback(host):
        # The call went through a proxy: what is found without it says nothing.
        return ""
    try:
        with socket.create_connection((host, port), TIMEOUT_SECONDS) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            return _of_tls(connection, host, target)
    except ConnectionRefusedError:
        return f"nothing listens at {target.address}: is the gateway running there?"
    except socket.gaierror:
        return f"the name {host} cannot be resolved"
    except TimeoutError:
        return f"{target.address} does not answer"
    except OSError as error:
        return f"{target.address} cannot be reached ({error.strerror or type(error).__name__})"


def _of_tls(connection: socket.socket, host: str, target: Target) -> str:
    try:
        tls = target.tls
        context = _context(Tls() if tls is None else tls, verify=tls is not None)
        with context.wrap_socket(connection, server_hostname=host) as protected:
            if tls is None:
                return f"{target.address} speaks TLS and the call was plaintext: add --tls, or --tls-ca FILE"
            return _after_handshake(protected, target)
    except ssl.SSLCertVerificationError as error:
        if "ostname" in error.verify_message or "IP address" in error.verify_message:
            return f"the certificate of {target.address} is for another name than {host}: call it by a name in it"
        return (
            f"the certificate of {target.address} is not trusted ({error.verify_message}): "
            "name its authorities by --tls-ca FILE"
        )
    except ssl.SSLError as error:
        if "CERTIFICATE_REQUIRED" in (error.reason or "") or "HANDSHAKE_FAILURE" in (error.reason or ""):
            return _wants_a_certificate(target)
        return "" if target.tls is None else f"{target.address} does not speak TLS: call it without --tls and --tls-ca"
    except OSError:
        # It hung up on what it did not understand, or waits for more of it.
        return "" if target.tls is None else f"{target.address} does not speak TLS: call it without --tls and --tls-ca"


def _after_handshake(protected: ssl.SSLSocket, target: Target) -> str:
    """In TLS 1.3 a server says only after the handshake that it wants a certificate, or just hangs up."""
    try:
        if protected.recv(1):
            return ""
    except (ssl.SSLError, ConnectionError):
        pass
    except OSError:
        # It waits for us, as it should.
        return ""
    if target.tls is not None and target.tls.client_cert is not None:
        return f"{target.address} does not take the client certificate: check who signed --client-cert"
    return _wants_a_certificate(target)


def _wants_a_certificate(target: Target) -> str:
    return f"{target.address} wants a client certificate: add --client-cert and --client-key"


def _context(tls: Tls, *, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # A server that finds no common protocol hangs up.
    context.set_alpn_protocols(["h2"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.authorities is None:
        context.load_default_certs()
    else:
        with suppress(ssl.SSLError):
            context.load_verify_locations(cadata=tls.authorities.decode("ascii", "ignore"))
    if tls.pair is not None:
        with suppress(ssl.SSLError, OSError):
            context.load_cert_chain(*tls.pair, password=lambda: b"")
    return context
