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
from gateway.config import Config, ConfigError, config_of, source_of, version_of
from gateway.pace import Pace, off_loop
from gateway.watcher import FileRejected, read_together

RELOAD_SECONDS = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Change:
    """What a file puts in force; `tenants` None if they are those that are in force."""

    config: Config
    version: str
    tenants: Tenants | None


class ConfigReload:
    """Loads `file` again and swaps the tenants in one step; a file that cannot be loaded changes nothing."""

    def __init__(
        self, file: Path, config: Config, authenticator: Authenticator, on_tenants: Callable[[list[str]], None]
    ) -> None:
        """`config` is what the gateway started with; `on_tenants` gets the ids that are now in force."""
        self._file = file
        self._started = config
        self._in_force = config
        self._version = config.version
        self._refused: tuple[bytes, FileRejected] | None = None
        self._authenticator = authenticator
        self._on_tenants = on_tenants

    @property
    def version(self) -> str:
        """A digest of the configuration in force."""
        return self._version

    async def __call__(self) -> None:
        """Raises `FileRejected` with the first problem of a file that is not a usable configuration."""
        pace = Pace()
        try:
            with _without_full_collections():
                change = await off_loop(partial(self._load, pace))
                if change is None:
                    return
                before = [self._put_in_force(change)]
                del change
                if before[0] is not self._started:
                    await off_loop(partial(_free, before, pace))
                # As after the start: what has come lives long, and no collection need look at it again.
                gc.freeze()
        finally:
            pace.stop()

    def _load(self, pace: Pace) -> _Change | None:
        """Runs in a thread. None if the file says what is in force."""
        content = read_together([self._file])[self._file]
        source = source_of(content)
        if source == self._in_force.source:
            # Touched, or looked at for the first time after the start.
            return None
        if self._refused is not None and self._refused[0] == source:
            # The watcher tries again every 2 s; the same text has the same problem.
            raise self._refused[1]
        try:
            # The files that it names have watches of their own: a bad certificate must not keep a revoked token alive.
            config = config_of(content, before=self._in_force, pause=pace)
        except ConfigError as error:
            more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
            rejected = FileRejected(self._file, f"is not usable: {error.problems[0]}{more}")
            self._refused = source, rejected
            raise rejected from None
        version = version_of(config, pace)
        if version == self._version:
            return _Change(config, version, None)  # only its form changed, such as a comment
        anonymous = config.auth.anonymous_tenant
        if self._started.auth.anonymous_tenant is None:
            # Whether strangers may call depends on the listener, and that is the one of the start.
            anonymous = None
        return _Change(config, version, registry_of(config.tenants, anonymous, pause=pace))

    def _put_in_force(self, change: _Change) -> Config:
        """Swaps the tenants; the configuration that they were of."""
        if change.tenants is not None:
            self._replace(change.config, change.version, change.tenants)
        before, self._in_force, self._version = self._in_force, change.config, change.version
        return before

    def _replace(self, config: Config, version: str, tenants: Tenants) -> None:
        waiting = sorted(
            section
            for section in Config.model_fields
            if section != "tenants" and getattr(config, section) != getattr(self._started, section)
        )
        if waiting:
            log.warning("config.restart_needed", sections=waiting)
        self._authenticator.replace_tenants(tenants)
        self._on_tenants([tenant.id for tenant in tenants])
        log.info("config.tenants_replaced", tenants=len(tenants), config_version=version)


def _free(config: list[Config], pace: Pace) -> None:
    """Frees a configuration step by step: thousands of tenants at once would hold up the event loop for 30 ms."""
    known, tenants = config[0].known, list(config.pop().tenants)
    while known:
        known.popitem()
        pace()
    while tenants:
        tenants.pop()
        pace()


@contextmanager
def _without_full_collections() -> Iterator[None]:
    """Keeps Python's cycle collector from looking at everything again and again while thousands of objects are made.

    A full collection would hold up the event loop for as long as 400 ms at 10,000 tenants. Those of new objects go on.
    """
    young, middle, full = gc.get_threshold()
    gc.set_threshold(young, middle, 1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, full)
