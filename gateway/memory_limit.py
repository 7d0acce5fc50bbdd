"""How much memory the container may use, as its control group says."""

from __future__ import annotations

from pathlib import Path

# Version 1 says "no limit" by a number near 2^63.
_NO_LIMIT = 1 << 60


def container_limit_bytes(root: Path = Path("/sys/fs/cgroup"), process: Path = Path("/proc/self/cgroup")) -> int | None:
    """The lowest limit of the process's control group and those around it; None if there is none.

    Reads both versions of control groups. What cannot be read counts as no limit.
    """
    limits = [
        limit
        for folder, name in _places(root, process)
        for level in (folder, *folder.parents)
        if level.is_relative_to(root)
        if (limit := _limit(level / name)) is not None
    ]
    return min(limits, default=None)


def _places(root: Path, process: Path) -> list[tuple[Path, str]]:
    """The folders of the process's own groups, and the file of the limit in each."""
    try:
        lines = process.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        lines = []
    places = [(root, "memory.max"), (root / "memory", "memory.limit_in_bytes")]
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            places.append((root / path.lstrip("/"), "memory.max"))
        elif "memory" in controllers.split(","):
            places.append((root / "memory" / path.lstrip("/"), "memory.limit_in_bytes"))
    return places


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() and 0 < int(text) < _NO_LIMIT else None
