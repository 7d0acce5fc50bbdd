"""Where an issuer's keys come from: a URL that is fetched in the background, or a file.

Stands between the verifier, which asks for a key by id, and the network. Knows no token: what a caller sends can make
it fetch at most once in `UNKNOWN_KEY_SECONDS`, always the same URL.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from jwt import PyJWK

from gateway.auth.jwks import NO_KEYS, KeySet, KeySetInvalid, parse_key_set
from gateway.clock import Clock

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 15.0
UNKNOWN_KEY_SECONDS = 30.0
KEPT_SECONDS = 86_400.0
WAIT_SECONDS = 2.0
MAX_WAITING = 256

Fetch = Callable[[], Awaitable[bytes]]

_log = structlog.get_logger(__name__)


class KeySource(Protocol):
    """An issuer's keys. `find` never waits; `find_fresh` may look again, within bounds, for a key that is not there."""

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key, if it is known."""
        ...

    async def find_fresh(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key, if it is known after having looked again. Waits at most `WAIT_SECONDS`."""
        ...


class FileKeys:
    """Keys of a file. What reads the file hands its bytes to `load`; until the first time there are none."""

    def __init__(self) -> None:
        self._keys = NO_KEYS

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key, if it is known."""
        return self._keys.find(key_id, algorithm)

    async def find_fresh(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The same as `find`: a file is read again when it changes, not when a token asks."""
        return self.find(key_id, algorithm)

    def load(self, document: bytes) -> None:
        """Replaces the keys. Raises `KeySetInvalid`, and keeps the ones it has, if the document holds none."""
        self._keys = parse_key_set(document)


class FetchedKeys:
    """Keys of a URL, kept through an outage of it for `KEPT_SECONDS` after the last good fetch.

    `issuer` is for the log; `fetch` returns the document or raises; `on_change` is called when a document differs from
    the one before. Nothing runs until `fetch_if_due` is called, about once a second.
    """

    def __init__(
        self, issuer: str, fetch: Fetch, *, clock: Clock, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._on_change = on_change
        self._keys: KeySet = NO_KEYS
        self._digest = b""
        self._fetched_at: float | None = None
        self._due_at = clock.monotonic()
        self._unknown_allowed_at = self._due_at
        self._task: asyncio.Task[None] | None = None
        self._waiting = 0
        self._problem: str | None = "its keys have not been fetched yet"

    @property
    def problem(self) -> str | None:
        """What is wrong with the source, for operators; None while the last fetch was good."""
        return self._problem

    @property
    def age_seconds(self) -> float | None:
        """Time since the last good fetch; None before the first."""
        return None if self._fetched_at is None else self._clock.monotonic() - self._fetched_at

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key, if it is known and the last good fetch is not too long ago."""
        if self._fetched_at is None or self._clock.monotonic() - self._fetched_at > KEPT_SECONDS:
            return None
        return self._keys.find(key_id, algorithm)

    async def find_fresh(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key after a fetch, if one is in flight or allowed; None at once if not, or after `WAIT_SECONDS`."""
        if self._waiting >= MAX_WAITING:
            return None
        task = self._task
        if task is None:
            now = self._clock.monotonic()
            if now < self._unknown_allowed_at:
                return None
            self._unknown_allowed_at = now + UNKNOWN_KEY_SECONDS
            task = self._start()
        self._waiting += 1
        try:
            # Neither a caller's cancellation ends the fetch for the others, nor the fetch's end by `aclose` a call.
            await asyncio.wait({task}, timeout=WAIT_SECONDS)
        finally:
            self._waiting -= 1
        return self.find(key_id, algorithm)

    def fetch_if_due(self) -> None:
        """Starts the background fetch, if its time has come and none is in flight."""
        if self._task is None and self._clock.monotonic() >= self._due_at:
            self._start()

    async def settled(self) -> None:
        """Waits for the fetch in flight, if there is one."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def aclose(self) -> None:
        """Ends the fetch in flight."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _start(self) -> asyncio.Task[None]:
        self._task = asyncio.create_task(self._fetch_once())
        self._task.add_done_callback(self._ended)
        return self._task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()

    async def _fetch_once(self) -> None:
        try:
            document = await self._fetch()
        except Exception as error:  # noqa: BLE001 - whatever a network can do, the keys in hand outlive it
            self._failed("its keys cannot be fetched", type(error).__name__)
            return
        try:
            keys = parse_key_set(document)
        except KeySetInvalid as error:
            self._failed("its key set is unusable", type(error).__name__)
            return
        digest = hashlib.sha256(document).digest()
        changed = digest != self._digest
        self._keys, self._digest = keys, digest
        self._fetched_at = self._clock.monotonic()
        self._due_at = self._fetched_at + REFRESH_SECONDS
        if self._problem is not None:
            self._problem = None
            _log.info("jwks.fetched", issuer=self.issuer, keys=len(keys))
        if changed:
            self._on_change()

    def _failed(self, problem: str, error: str) -> None:
        self._due_at = self._clock.monotonic() + RETRY_SECONDS
        if self._problem != problem:
            self._problem = problem
            _log.warning("jwks.unavailable", issuer=self.issuer, problem=problem, error=error)
