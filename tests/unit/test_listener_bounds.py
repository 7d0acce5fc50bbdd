"""Connections and windows follow from descriptors and memory, and never from a guess."""

from __future__ import annotations

import pytest

from gateway.listener_bounds import ListenerBounds, bounds_for

KIB, GIB = 1 << 10, 1 << 30


@pytest.mark.parametrize(
    ("configured", "descriptors", "memory", "bounds"),
    [
        (None, 1 << 20, None, ListenerBounds(1024, 1024 * KIB)),
        (None, 512, None, ListenerBounds(320, 1024 * KIB)),
        (None, 64, None, ListenerBounds(1, 1024 * KIB)),
        (None, 1 << 20, GIB, ListenerBounds(1024, 64 * KIB)),
        (None, 1 << 20, GIB // 4, ListenerBounds(256, 64 * KIB)),
        (None, 1 << 20, 64 * GIB, ListenerBounds(1024, 1024 * KIB)),
        (5000, 512, GIB, ListenerBounds(5000, 64 * KIB)),
    ],
)
def test_bounds_follow_from_the_process(
    configured: int | None, descriptors: int, memory: int | None, bounds: ListenerBounds
) -> None:
    assert bounds_for(configured, descriptors, memory) == bounds
