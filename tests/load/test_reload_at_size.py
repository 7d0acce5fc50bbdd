"""A configuration of thousands of tenants is loaded while calls go on: in small steps, and only as far as it changed."""

from __future__ import annotations

import gc
import hashlib
import time
from pathlib import Path

import pytest

from gateway.auth.authenticator import Authenticator
from gateway.auth.build import registry_of, tenants_of
from gateway.auth.tokens import token_digest
from gateway.config import Config, config_of, version_of
from gateway.pace import without_pause
from gateway.reload import ConfigReload
from gateway.watcher import FileRejected

TENANTS = 5000
# Of processor time, so that other work on the machine does not count. In one piece the work takes seconds.
LONGEST_STEP_SECONDS = 0.04


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def text_of(tenants: int, *, rate: int = 50, removed: int | None = None) -> str:
    """Tenants with two tokens, two face sets and limits; one of them without its first token."""
    lines = ["tenants:"]
    for number in range(tenants):
        lines.append(f"  - id: tenant-{number}")
        lines.append("    principals:")
        lines += [f"      - token_sha256: {digest(f'{number}-{n}')}" for n in range(2) if (number, n) != (removed, 0)]
        lines.append(f"    face_sets: {{employees: employees-{number}, visitors: visitors-{number}}}")
        lines.append(
            f"    limits: {{rate: {{per_second: {rate}}}, concurrency: 32, upstream_calls: {{per_day: 1000}}}}"
        )
    return "\n".join(lines) + "\n"


class Steps:
    """Notes the longest time between two pauses, in seconds of processor time."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._resumed_at = time.thread_time()

    def __call__(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._resumed_at)
        self._resumed_at = now


def load(text: str, before: Config | None = None) -> tuple[Config, float, float]:
    """The configuration, the longest step, and the processor time of all."""
    steps, started = Steps(), time.thread_time()
    config = config_of(text.encode(), before=before, pause=steps)
    version_of(config, steps)
    registry_of(config.tenants, None, pause=steps)
    steps()
    return config, steps.longest, time.thread_time() - started


@pytest.fixture(scope="module")
def started() -> Config:
    return config_of(text_of(TENANTS).encode())


@pytest.fixture(autouse=True)
def _as_in_the_gateway() -> object:
    """Its collector passes over what the start has made, and makes no full collections during a reload."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(before[0], before[1], 1_000_000)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.timed
def test_a_change_of_every_tenant_is_loaded_in_small_steps(started: Config) -> None:
    """No step holds up the event loop for longer than a call may wait."""
    config, longest, _ = load(text_of(TENANTS, rate=51), started)
    assert len(config.tenants) == TENANTS
    assert longest < LONGEST_STEP_SECONDS


@pytest.mark.timed
def test_a_change_of_one_tenant_costs_a_fraction(started: Config) -> None:
    """So a token that is removed is dead soon, also on half a core."""
    _, _, all_changed = load(text_of(TENANTS, rate=51), started)
    config, longest, one_changed = load(text_of(TENANTS, removed=7), started)
    assert len(config.tenants[7].principals) == 1
    assert longest < LONGEST_STEP_SECONDS
    assert one_changed < all_changed / 3


async def test_a_removed_token_is_dead_and_the_others_are_not(tmp_path: Path, started: Config) -> None:
    """The whole way of a reload, with the registry swapped in one step."""
    file = tmp_path / "facegate.yaml"
    file.write_text(text_of(TENANTS))
    authenticator = Authenticator(tenants_of(started))
    registry = authenticator.tenants
    known: list[list[str]] = []
    reload = ConfigReload(file, config_of(file.read_bytes()), authenticator, known.append)
    await reload()
    assert authenticator.tenants is registry
    file.write_text(text_of(TENANTS, removed=7))
    await reload()
    assert [len(ids) for ids in known] == [TENANTS]
    assert authenticator.tenants.by_token_digest(bytes.fromhex(digest("7-0"))) is None
    assert authenticator.tenants.by_token_digest(bytes.fromhex(digest("7-1"))) is not None
    assert authenticator.tenants.by_token_digest(bytes.fromhex(digest("8-0"))) is not None
    assert authenticator.tenants.by_token_digest(token_digest("made up")) is None


@pytest.mark.timed
async def test_a_bad_file_is_not_parsed_again_at_every_poll(tmp_path: Path, started: Config) -> None:
    """It is looked at every 2 s until it is mended; parsing it each time would take a quarter of a core."""
    file = tmp_path / "facegate.yaml"
    file.write_text(text_of(TENANTS).replace("per_second: 50", "per_second: -1"))
    authenticator = Authenticator(tenants_of(started))
    reload = ConfigReload(file, started, authenticator, lambda _: None)
    texts = []
    for _ in range(2):
        with pytest.raises(FileRejected) as rejected:
            await reload()
        texts.append(str(rejected.value))
    assert texts[0] == texts[1]
    assert "tenants.0.limits.rate.per_second" in texts[0]
    cheap = time.process_time()
    with pytest.raises(FileRejected):
        await reload()
    assert time.process_time() - cheap < 0.1
    file.write_text(text_of(TENANTS, removed=1))
    await reload()
    assert authenticator.tenants.by_token_digest(bytes.fromhex(digest("1-0"))) is None


async def test_full_collections_are_off_during_a_reload_only(tmp_path: Path, started: Config) -> None:
    """At 10,000 tenants each would hold up the event loop for up to 400 ms."""
    usual = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    file = tmp_path / "facegate.yaml"
    file.write_text("tenants: [{id: a}]")
    during: list[tuple[int, int, int]] = []
    reload = ConfigReload(
        file, started, Authenticator(tenants_of(started)), lambda _: during.append(gc.get_threshold())
    )
    await reload()
    assert during == [(700, 10, 1_000_000)]
    assert gc.get_threshold() == (700, 10, 10)
    gc.set_threshold(*usual)


def test_the_largest_documented_file_is_accepted() -> None:
    """10,000 tenants with several principals are below the limits."""
    text = text_of(10_000)
    assert len(text) * 2 < 16 * 1024 * 1024
    assert len(config_of(text.encode(), pause=without_pause).tenants) == 10_000
