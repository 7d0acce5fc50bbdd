"""Which names the operators' listener answers to.

A page on the web can point its own host name at this address and then read what is served here (DNS rebinding). The
browser still sends the page's name as `Host`, so a name that a stranger could own is refused.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9_.-]{1,253})(:[0-9]{1,5})?")
# Nobody can register a name below these: only Kubernetes or a private network knows them.
_PRIVATE_SUFFIXES = (".svc", ".svc.cluster.local", ".internal")


class AllowedHosts:
    """Decides by the `Host` header.

    Allowed without any setting are IP addresses, names without a dot (`localhost`, a Service of the same namespace),
    names that end in `.svc`, `.svc.cluster.local` or `.internal`, and the machine's own name. `names` adds others, in
    lower case; `*.corp.example` allows every name below `corp.example`.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = {socket.gethostname().lower(), *(name for name in names if not name.startswith("*."))}
        self._suffixes = (*_PRIVATE_SUFFIXES, *(name[1:] for name in names if name.startswith("*.")))

    def allow(self, hosts: Sequence[str]) -> bool:
        """Whether a request with these `Host` headers is answered. It must have exactly one."""
        found = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        if found is None:
            return False
        name = found["name"].removesuffix(".")
        if name.startswith("["):
            return _is_address(name[1:-1])
        if "." not in name:
            return bool(name)
        return name in self._names or name.endswith(self._suffixes) or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
