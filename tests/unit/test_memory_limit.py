"""The container's limit is found in both versions of control groups, and garbage is no limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.memory_limit import container_limit_bytes


def written(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "groups", "limit"),
    [
        ({}, "", None),
        ({"memory.max": "max\n"}, "0::/\n", None),
        ({"memory.max": "1073741824\n"}, "0::/\n", 1 << 30),
        ({"memory.max": "max", "pod/memory.max": "536870912", "pod/box/memory.max": "max"}, "0::/pod/box\n", 1 << 29),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, "4:memory:/\n", None),
        ({"memory/memory.limit_in_bytes": "268435456"}, "4:cpu,memory:/somewhere/else\n", 1 << 28),
        ({"memory/box/memory.limit_in_bytes": "1048576"}, "4:memory:/box\n", 1 << 20),
        ({"memory.max": "-5"}, "garbage", None),
    ],
)
def test_the_lowest_limit_counts(tmp_path: Path, files: dict[str, str], groups: str, limit: int | None) -> None:
    root = tmp_path / "cgroup"
    for name, text in files.items():
        written(root, name, text)
    written(tmp_path, "groups", groups)
    assert container_limit_bytes(root, tmp_path / "groups") == limit


def test_what_cannot_be_read_is_no_limit(tmp_path: Path) -> None:
    assert container_limit_bytes(tmp_path / "nowhere", tmp_path / "nothing") is None
