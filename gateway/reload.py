"""What a changed configuration file puts in force while the gateway runs: the tenants, with their tokens and limits.

All else is read at the start only; a change there is told, since an operator would wait for it in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from gateway.auth.authenticator import Authenticator
from gateway.auth.build import tenants_of
from gateway.config import Config, ConfigError, load_config
from gateway.watcher import FileRejected

log = structlog.get_logger(__name__)


class ConfigReload:
    """Loads `file` again and swaps the tenants in one step; a file that cannot be loaded changes nothing."""

    def __init__(
        self, file: Path, config: Config, authenticator: Authenticator, on_tenants: Callable[[list[str]], None]
    ) -> None:
        """`config` is what the gateway started with; `on_tenants` is told the ids that are now in force."""
        self._file = file
        self._started = config
        self._in_force = config.version
        self._authenticator = authenticator
        self._on_tenants = on_tenants

    async def __call__(self) -> None:
        """Raises `FileRejected` with the first problem of a file that is no good configuration."""
        try:
            # The files that it names have watches of their own: a bad certificate must not keep a revoked token alive.
            config = await asyncio.to_thread(load_config, self._file, check=False)
        except ConfigError as error:
            more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
            raise FileRejected(self._file, f"is not usable: {error.problems[0]}{more}") from None
        if config.version == self._in_force:
            # Touched, or read again at the start.
            return
        version = config.version
        waiting = sorted(
            section
            for section in Config.model_fields
            if section != "tenants" and getattr(config, section) != getattr(self._started, section)
        )
        if waiting:
            log.warning("config.restart_needed", sections=waiting)
        if self._started.auth.anonymous_tenant is None:
            # Whether strangers may call depends on the listener, and that is the one of the start.
            config = config.model_copy(update={"auth": self._started.auth})
        self._authenticator.replace_tenants(tenants_of(config))
        self._in_force = version
        self._on_tenants([tenant.id for tenant in config.tenants])
        log.info("config.tenants_replaced", tenants=len(config.tenants), config_version=version)
