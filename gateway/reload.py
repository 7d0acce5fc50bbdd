"""What a changed configuration file puts in force while the gateway runs: the tenants, with their tokens and limits.

Everything else is read at the start only; a change there is logged, since an operator would wait for it in vain.

The file is parsed, checked and turned into a registry in a thread that rests after each millisecond of work (`Pace`).
What is left for the event loop is one assignment, so no call ever sees half of a change.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from gateway.auth.authenticator import Authenticator
from gateway.auth.build import registry_of
from gateway.auth.tenants import Tenants
from gateway.config import Config, ConfigError, load_config, source_of, version_of
from gateway.pace import Pace, off_loop
from gateway.watcher import FileRejected, read_together

RELOAD_SECONDS = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a file puts in force. `waiting` are the sections whose change needs a restart."""

    version: str
    source: bytes
    tenants: Tenants
    waiting: list[str]


class ConfigReload:
    """Loads `file` again and swaps the tenants in one step; a file that cannot be loaded changes nothing."""

    def __init__(
        self, file: Path, config: Config, authenticator: Authenticator, on_tenants: Callable[[list[str]], None]
    ) -> None:
        """`config` is what the gateway started with; `on_tenants` gets the ids that are now in force."""
        self._file = file
        self._version = config.version
        self._source = config.source
        # The tenants live on in the registry, in a form that takes a fifth of the memory.
        self._started = config.model_copy(update={"tenants": ()})
        self._authenticator = authenticator
        self._on_tenants = on_tenants

    async def __call__(self) -> None:
        """Raises `FileRejected` with the first problem of a file that is not a usable configuration."""
        pace = Pace()
        try:
            with _without_collector():
                change = await off_loop(partial(self._load, pace))
                if change is not None:
                    self._put_in_force(change)
        except ConfigError as error:
            more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
            raise FileRejected(self._file, f"is not usable: {error.problems[0]}{more}") from None
        finally:
            pace.stop()

    def _load(self, pace: Pace) -> _Change | None:
        """Runs in a thread. None if the file says what is in force."""
        if source_of(read_together([self._file])[self._file]) == self._source:
            # Touched, or looked at for the first time after the start.
            return None
        # The files that it names have watches of their own: a bad certificate must not keep a revoked token alive.
        config = load_config(self._file, check=False, pause=pace)
        version, source = version_of(config, pace), config.source
        if version == self._version:
            # Only its form changed, such as a comment.
            self._source = source
            return None
        waiting = sorted(
            section
            for section in Config.model_fields
            if section != "tenants" and getattr(config, section) != getattr(self._started, section)
        )
        anonymous = config.auth.anonymous_tenant
        if self._started.auth.anonymous_tenant is None:
            # Whether strangers may call depends on the listener, and that is the one of the start.
            anonymous = None
        left = list(config.tenants)
        del config
        tenants = registry_of(left, anonymous, before=self._authenticator.tenants, pause=pace)
        while left:
            # Freed step by step: at once it would hold up the event loop for 50 ms.
            left.pop()
            pace()
        return _Change(version, source, tenants, waiting)

    def _put_in_force(self, change: _Change) -> None:
        if change.waiting:
            log.warning("config.restart_needed", sections=change.waiting)
        self._authenticator.replace_tenants(change.tenants)
        self._version, self._source = change.version, change.source
        self._on_tenants([tenant.id for tenant in change.tenants])
        log.info("config.tenants_replaced", tenants=len(change.tenants), config_version=change.version)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keeps Python's cycle collector from looking at the hundred thousands of new objects, which takes 60 ms a time.

    A configuration has no cycles. Afterwards the new registry is set aside with what the start has made.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
