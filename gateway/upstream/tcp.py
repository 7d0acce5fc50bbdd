"""What the kernel knows of a TCP connection."""

from __future__ import annotations

import socket
import struct

# Where Linux keeps `tcpi_bytes_acked` in its `tcp_info`.
_INFO_BYTES = 128
_BYTES_ACKED = struct.Struct("@120xQ")


def acknowledged_bytes(descriptor: int) -> int | None:
    """How many bytes the peer's kernel has acknowledged since the connection began; None where that cannot be known."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    # The plain C type: with the family given it asks the kernel nothing, and `detach` leaves the descriptor to its owner.
    # uvloop's own `getsockopt` duplicates the descriptor each time, which takes three times as long.
    borrowed = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, option, _INFO_BYTES)
    except OSError:
        return None
    finally:
        borrowed.detach()
    return _BYTES_ACKED.unpack(info)[0] if len(info) == _INFO_BYTES else None
