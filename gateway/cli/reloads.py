"""SIGHUP: looks at every watched file at once, and says in one line what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)


class Reloaded(Protocol):
    """What a reload found."""

    @property
    def files(self) -> tuple[str, ...]:
        """The groups of files that were loaded again."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What cannot be used, a line each."""
        ...


class Reloadable(Protocol):
    """What a signal can ask of a gateway."""

    async def reload(self) -> Reloaded:
        """Looks at every watched file."""
        ...


class Reloads:
    """One reload at a time; a signal during one brings another after it, since files may have changed meanwhile."""

    def __init__(self) -> None:
        self._wanted = asyncio.Event()

    def want(self) -> None:
        """Asks for a reload, now or as soon as there is a gateway."""
        self._wanted.set()

    @asynccontextmanager
    async def of(self, gateway: Reloadable) -> AsyncIterator[None]:
        """Reloads `gateway` whenever it is wanted, while this is entered."""
        task = asyncio.create_task(self._run(gateway))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, gateway: Reloadable) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            found = await gateway.reload()
            if found.problems:
                _log.warning("server.reloaded", files=found.files, problem=found.problems)
            else:
                _log.info("server.reloaded", files=found.files)
