"""Face sets are folders: what is in them, and since when, is what is found."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.clock import ManualClock
from tests.support.made_faces import made_face
from tests.support.sandbox import sandbox_caller


def _enrol(root: Path, face_set: str, person: str, number: int) -> Path:
    (root / face_set).mkdir(exist_ok=True)
    path = root / face_set / f"{person}.png"
    made_face(number, 160).save(path)
    return path


async def test_start_time_is_honoured(tmp_path: Path) -> None:
    """Faces enrolled before it are not found; six months by calendar is the oldest, now the newest."""
    clock = ManualClock()
    now = int(clock.now())
    for person, age in (("old", 100), ("new", 10)):
        os.utime(_enrol(tmp_path, "set", person, 1), (now - age * 86400,) * 2)
    async with sandbox_caller(tmp_path, clock=clock) as caller:
        image = (tmp_path / "set" / "old.png").read_bytes()

        async def found(start_time: int | None) -> list[int]:
            result = (await caller.search(image, name="set", topN=10, start_time=start_time)).json["result"]
            return sorted(face["create_time"] for face in result)

        both = [now - 100 * 86400, now - 10 * 86400]
        assert await found(None) == both
        assert await found(both[0]) == both
        assert await found(both[0] + 1) == both[1:]
        assert await found(now) == []
        oldest = now - 184 * 86400
        assert (await caller.search(image, name="set", start_time=oldest - 86400)).code == 400
        assert (await caller.search(image, name="set", start_time=now + 3600)).code == 400


async def test_photos_older_than_can_be_searched_count_as_recent(tmp_path: Path) -> None:
    """A folder of old photos is still of use; a file from the future as well."""
    for person, when in (("ancient", 0), ("future", 4_000_000_000)):
        os.utime(_enrol(tmp_path, "set", person, 1), (when, when))
    clock = ManualClock()
    async with sandbox_caller(tmp_path, clock=clock) as caller:
        image = (tmp_path / "set" / "ancient.png").read_bytes()
        result = (await caller.search(image, name="set", topN=10)).json["result"]
    assert {face["create_time"] for face in result} == {int(clock.now()) - 30 * 86400}
    assert len(result) == 2


async def test_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    """People added, replaced and removed, and face sets likewise, without a restart."""
    _enrol(tmp_path, "set", "one", 1)
    (tmp_path / "set" / "notes.txt").write_text("no photo")
    (tmp_path / "set" / "broken.jpg").write_bytes(b"no photo either")
    async with sandbox_caller(tmp_path, refresh_seconds=0) as caller:
        two = _enrol(tmp_path, "set", "two", 2)
        image = two.read_bytes()
        assert [face["score"] for face in (await caller.search(image, name="set")).json["result"]] == [1]
        two.unlink()
        assert (await caller.search(image, name="set")).json["result"] == []
        _enrol(tmp_path, "new", "two", 2)
        assert (await caller.search(image, name="new")).json["status"] == "OK"
        assert caller.sandbox.face_sets.sizes == {"set": 1, "new": 1}


async def test_a_folder_that_goes_away_is_remembered(tmp_path: Path) -> None:
    """What was read before still serves."""
    image = _enrol(tmp_path, "set", "one", 1).read_bytes()
    async with sandbox_caller(tmp_path, refresh_seconds=0) as caller:
        shutil.rmtree(tmp_path)
        assert (await caller.search(image, name="set")).json["result"]
