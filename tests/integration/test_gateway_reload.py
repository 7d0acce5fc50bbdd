"""A reload on demand: every watched file is looked at now, not at the watcher's next turn."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from gateway.clock import SystemClock
from gateway.config import load_config
from gateway.watcher import FileWatcher
from tests.support.gateway import SETTINGS, running
from tests.support.upstream import FakeUpstream


async def test_a_reload_says_what_it_loaded_and_what_it_could_not(tmp_path: Path) -> None:
    """Nothing if nothing changed; the watcher's own turns are an hour apart."""
    for name in ("id", "secret"):
        (tmp_path / name).write_text(f"the-{name}")
    credential = {"name": "a", "api_id_file": str(tmp_path / "id"), "api_secret_file": str(tmp_path / "secret")}
    settings = {**SETTINGS, "upstream": {"credentials": [credential]}}
    file = tmp_path / "facegate.yaml"
    file.write_text(yaml.safe_dump(settings))
    watcher = FileWatcher(clock=SystemClock(), interval_seconds=3600)
    async with running(load_config(file, {}), config_file=file, upstream=FakeUpstream(), watcher=watcher) as gateway:
        found = await gateway.reload()
        assert (found.files, found.problems) == ((), ())
        file.write_text(yaml.safe_dump({**settings, "tenants": [{"id": "demo", "face_sets": {"other": "other"}}]}))
        found = await gateway.reload()
        assert (found.files, found.problems) == (("configuration",), ())
        file.write_text("tenants: 7")
        found = await gateway.reload()
        assert found.files == ()
        assert len(found.problems) == 1
        assert found.problems[0].startswith(f"configuration: {file} ")


async def test_a_reload_does_not_take_an_earlier_look_for_its_own(tmp_path: Path) -> None:
    """A look that was under way when the files changed again has seen the older ones."""
    file = tmp_path / "file"
    file.write_text("1")
    watcher = FileWatcher(clock=SystemClock(), interval_seconds=3600, settle_seconds=0)
    loading, released, loaded = asyncio.Event(), asyncio.Event(), list[str]()

    async def load() -> None:
        content = file.read_text()
        loading.set()
        await released.wait()
        loaded.append(content)

    async with running(upstream=FakeUpstream(), watcher=watcher) as gateway:
        watcher.watch([file], load, "made")
        file.write_text("2")
        earlier = asyncio.create_task(gateway.reload())
        await loading.wait()
        file.write_text("3")
        reload = asyncio.create_task(gateway.reload())
        # It waits for the earlier look, which is still loading.
        await asyncio.sleep(0)
        released.set()
        await asyncio.gather(earlier, reload)
    assert loaded == ["2", "3"]
