"""Runs Lua scripts on a Valkey or Redis server or cluster, each an atomic step on one tenant's keys.

Between the stores (`valkey.py`, `usage_valkey.py`) and the connections. EVALSHA, and EVAL where the server does not know
the script. A script's first argument comes back as the first element of its answer, so that no reply is ever taken for
another's. Knows nothing of what the scripts do.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Sequence
from importlib import resources
from typing import TypeVar
from urllib.parse import urlsplit

import hiredis

from gateway.quota.answers import MalformedAnswer
from gateway.quota.connection import Lost
from gateway.quota.framing import REPLY_BYTES
from gateway.quota.lane import Address, Lane, pack
from gateway.quota.nodes import ClusterNodes, Nodes, SingleNode
from gateway.quota.store import OutageCause, StoreUnavailable
from gateway.tls import client_context

Word = str | int
_Answer = TypeVar("_Answer")

_ASKING = pack("ASKING")
_HOPS = 4
_AGAIN_SECONDS = 0.005


def nobody(seconds: float) -> None:
    """Listens, and does nothing."""


class Script:
    """A Lua file of this package, with what all of them begin with. Its reply has at most `reply_bytes`."""

    def __init__(self, name: str, *, reply_bytes: int = REPLY_BYTES) -> None:
        files = resources.files("gateway.quota")
        self.text = "\n".join((files / part).read_text(encoding="utf-8") for part in ("prelude.lua", f"{name}.lua"))
        self.sha = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324 - the name that the server gives scripts
        self.reply_bytes = reply_bytes


class ScriptLink:
    """Scripts on the servers behind one URL. `prefix` begins every key; a tenant's keys share a hash tag.

    `asked` is told how many seconds each script took, answered or not.
    """

    def __init__(self, nodes: Nodes, *, prefix: str, asked: Callable[[float], None] = nobody) -> None:
        self._nodes = nodes
        self._prefix = prefix
        self._asked = asked

    def key(self, tenant: str, name: str) -> str:
        """The key `name` of a tenant."""
        return f"{self._prefix}{{{tenant}}}:{name}"

    async def run(
        self,
        script: Script,
        tenant: str,
        keys: Sequence[str],
        words: Sequence[Word],
        budget: float,
        read: Callable[[list[object]], _Answer],
        *,
        again: bool = True,
    ) -> _Answer:
        """What `read` makes of the script's reply, within `budget` seconds. `words[0]` must be unique to the question.

        `read` raises `MalformedAnswer` for what the script does not give; then, as without a reply, this raises
        `StoreUnavailable`. A command that was on a connection when it broke is sent again on a new one, if time is left,
        and if it is as true then (`again`; else raises `Lost`): so every script must be idempotent by its ids.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        due = began + budget
        echo = str(words[0]).encode()
        command = pack("EVALSHA", script.sha, len(keys), *keys, *words)
        tag = tenant.encode()
        asking: bytes | None = None
        try:
            lane = await self._nodes.lane(tag, due)
            for hop in range(1, _HOPS + 1):
                try:
                    reply = await lane.call(command, due, echo=echo, asking=asking, limit=script.reply_bytes)
                except Lost:
                    if not again or due - loop.time() < _AGAIN_SECONDS or hop == _HOPS:
                        raise
                    lane, asking = await self._nodes.lane(tag, due), None
                    continue
                if not isinstance(reply, hiredis.ReplyError):
                    return self._read(read, reply, lane)
                kind, *rest = str(reply).split(" ")
                if kind == "NOSCRIPT":
                    command = pack("EVAL", script.text, len(keys), *keys, *words)
                elif kind in {"MOVED", "ASK"} and rest:
                    lane = await self._nodes.redirected(rest[-1], tag, lane, due, moved=kind == "MOVED")
                    asking = _ASKING if kind == "ASK" else None
                else:
                    break
            raise StoreUnavailable(OutageCause.REFUSED)
        except StoreUnavailable as failure:
            failure.waited_seconds = loop.time() - began
            raise
        finally:
            self._asked(loop.time() - began)

    @staticmethod
    def _read(read: Callable[[list[object]], _Answer], reply: list[object], lane: Lane) -> _Answer:
        try:
            return read(reply)
        except MalformedAnswer:
            lane.disconnect(OutageCause.MALFORMED)
            raise StoreUnavailable(OutageCause.MALFORMED) from None

    async def warm(self, budget: float) -> None:
        """Connects to every server that holds keys."""
        due = asyncio.get_running_loop().time() + budget
        ping = pack("PING")
        for reply in await asyncio.gather(*(lane.call(ping, due) for lane in await self._nodes.lanes(due))):
            if reply != b"PONG":
                raise StoreUnavailable(OutageCause.REFUSED)

    def disconnect(self) -> None:
        """Gives every connection up; the next command makes new ones."""
        self._nodes.disconnect()


def link_to(
    url: str,
    *,
    username: str = "",
    password: Callable[[], str] = str,
    tls: ssl.SSLContext | None = None,
    prefix: str = "facegate:quota:",
    asked: Callable[[float], None] = nobody,
) -> ScriptLink:
    """The link that a URL of the configuration names.

    `valkey://host:6379/0`, `valkeys://` for TLS (`tls`, or the machine's trusted authorities), `redis://` and `rediss://`
    likewise; several hosts with commas between them are a cluster's. Raises `ValueError` with what is wrong, never the
    URL: a password in it would be printed.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"valkey", "valkeys", "redis", "rediss"}:
        raise ValueError("a quota store is memory://, valkey://host:port/database or valkeys://...")
    if "@" in parts.netloc:
        raise ValueError("a store's URL carries no user and no password: give them by file or environment")
    path = parts.path.strip("/")
    if path and not path.isdigit():
        raise ValueError("the path of a store's URL is the number of its database")
    context = (tls or client_context(None)) if parts.scheme.endswith("s") else None
    places = [_place(text) for text in parts.netloc.split(",")]
    seeds = [Address(host, port, int(path or 0), username, password, context) for host, port in places]
    if len(seeds) == 1:
        return ScriptLink(SingleNode(seeds[0]), prefix=prefix, asked=asked)
    if int(path or 0):
        raise ValueError("a cluster has database 0 alone")
    return ScriptLink(ClusterNodes(seeds), prefix=prefix, asked=asked)


def _place(text: str) -> tuple[str, int]:
    place = urlsplit(f"//{text}")
    if not place.hostname:
        raise ValueError("a store's URL names a host, or several with commas between them")
    return place.hostname, place.port or 6379
