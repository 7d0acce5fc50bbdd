"""Puts load on a server and says what came of it.

`h2load`, where it is installed and every call may send the same bytes: it costs so little that the server is the
bottleneck. It counts refused calls as good ones, so a sample of calls by our own client checks every case first. Our own
client makes the load where each image has to be another one.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cases import Case
from bench.client import METHOD
from bench.processes import LOAD_CORE, pinned_popen
from bench.requests import Requests

CONNECTIONS = 4
STREAMS = 8


@dataclass(frozen=True)
class Run:
    """What a number of calls took, as the load generator saw it."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float
    codes: dict[str, int]
    cache: dict[str, int]


class Load:
    """Load on one server after the other. `client` is a running `bench.client`."""

    def __init__(self, client: subprocess.Popen[str], image_bytes: int, folder: Path) -> None:
        self._client = client
        self._image_bytes = image_bytes
        self._body = folder / "request.bin"
        self._log = folder / "calls.tsv"
        self._h2load = shutil.which("h2load")

    def tool(self, case: Case) -> str:
        """The name of the load generator that makes this case's load."""
        return "own client" if case.distinct or self._h2load is None else "h2load"

    def sample(self, target: str, case: Case, calls: int = 40, concurrency: int = 1) -> Run:
        """Calls by our own client, with every answer looked at."""
        return self._own(target, case, calls, concurrency, look_inside=True)

    def run(self, target: str, case: Case, calls: int) -> Run:
        """Makes `calls` calls as fast as the server takes them."""
        if self.tool(case) == "h2load":
            return self._by_h2load(target, case, calls)
        return self._own(target, case, calls, CONNECTIONS * STREAMS, look_inside=False)

    def _own(self, target: str, case: Case, calls: int, concurrency: int, *, look_inside: bool) -> Run:
        job = {
            "target": target,
            "image_bytes": case.image_bytes or self._image_bytes,
            "metadata": case.metadata,
            "calls": calls,
            "connections": CONNECTIONS,
            "concurrency": concurrency,
            "distinct": case.distinct,
            "cache_mode": case.cache_mode,
            "look_inside": look_inside,
        }
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        self._client.stdin.write(json.dumps(job) + "\n")
        self._client.stdin.flush()
        line = self._client.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended")
        result: dict[str, Any] = json.loads(line)
        p50, p99 = _percentiles(result["latencies"])
        return Run(calls, result["seconds"], p50 * 1e3, p99 * 1e3, result["codes"], result["cache"])

    def _by_h2load(self, target: str, case: Case, calls: int) -> Run:
        self._log.unlink(missing_ok=True)
        message = Requests.of(self._image_bytes, case.cache_mode).same
        # gRPC's frame: not compressed, length, message.
        self._body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
        headers = [("content-type", "application/grpc"), ("te", "trailers"), *case.metadata]
        command = [str(self._h2load), "-n", str(calls), "-c", str(CONNECTIONS), "-m", str(STREAMS), "-t", "1"]
        command += ["-d", str(self._body), "--log-file", str(self._log)]
        for name, value in headers:
            command += ["-H", f"{name}: {value}"]
        process = pinned_popen([*command, f"http://{target}{METHOD}"], LOAD_CORE)
        try:
            output, _ = process.communicate(timeout=300)
        finally:
            process.kill()
        finished = re.search(r"finished in ([0-9.]+)(us|ms|s|m)", output)
        answered = re.search(r"status codes: (\d+) 2xx", output)
        if finished is None or answered is None or int(answered[1]) != calls:
            raise RuntimeError(f"h2load did not get {calls} answers:\n{output[-800:]}")
        seconds = float(finished[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[finished[2]]
        p50, p99 = _percentiles([int(line.split("\t")[2]) / 1e3 for line in self._log.read_text().splitlines()])
        return Run(calls, seconds, p50, p99, {}, {})


@contextmanager
def load_generator(image_bytes: int) -> Iterator[Load]:
    """A `Load` with its client process, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="facegate-bench-") as folder:
        client = pinned_popen(["-m", "bench.client"], LOAD_CORE, python=True)
        try:
            yield Load(client, image_bytes, Path(folder))
        finally:
            client.kill()
            client.wait()


def _percentiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]
