"""The status page: one HTML document without a build step, and the policy that lets nothing but its own parts run."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib import resources

_PARTS = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """The HTML and its `Content-Security-Policy`."""

    html: str
    policy: str


def status_page() -> Page:
    """Reads the page; the policy names the digests of its style and its script."""
    folder = resources.files("gateway.ops")
    html = (folder / "status.html").read_text("utf-8")
    for part in ("status.css", "status.js"):
        html = html.replace(f"/* {part} */", "\n" + (folder / part).read_text("utf-8"))
    digests = {
        kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for kind, text in _PARTS.findall(html)
    }
    policy = "; ".join(
        (
            "default-src 'none'",
            *(f"{kind}-src 'sha256-{digest}'" for kind, digest in digests.items()),
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    return Page(html, policy)
