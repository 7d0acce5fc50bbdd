"""What is committed works anywhere: it names no package registry's host and no place on one machine."""

from __future__ import annotations

import re
from pathlib import Path

from tests.architecture.tracked import tracked_files
from tests.support.tools import ROOT

# Written in pieces so that this file passes its own rule.
_HOSTS = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "registry.npm" + "js",
    "proxy.golang" + ".org",
    "repo1.maven" + ".org",
)
_PLACES = (r"/ro" + r"ot/", r"/wo" + r"rk/", r"/ho" + r"me/[a-z]", r"/opt/whe" + r"els")
_FORBIDDEN = re.compile(
    "|".join([*map(re.escape, _HOSTS), *(rf"(?<![\w.\-/}}]){place}" for place in _PLACES)]).encode()
)


def test_no_registry_and_no_machine_is_named() -> None:
    """A clone builds against whatever registry its machine is configured for."""
    found: list[tuple[Path, bytes]] = []
    for path in tracked_files():
        found += [(path, hit.group()) for hit in _FORBIDDEN.finditer((ROOT / path).read_bytes())]
    assert not found


def test_every_requirement_is_pinned_and_hashed() -> None:
    """No requirement file can install something else tomorrow, and none carries an option that chooses an index."""
    for file in sorted((ROOT / "requirements").glob("*.txt")):
        text = re.sub(r"\\\n\s*", "", file.read_text("utf-8"))
        lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert lines, file.name
        for line in lines:
            assert re.match(r"[a-z0-9._\-\[\]]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), f"{file.name}: {line[:80]}"
