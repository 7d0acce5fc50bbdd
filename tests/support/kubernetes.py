"""A real Kubernetes API on the loopback: etcd and kube-apiserver, without nodes and without controllers."""

from __future__ import annotations

import json
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.pki import Authority
from tests.support.tools import require_tool
from tests.support.valkey import free_port, until

HOW = "make chart-api"
STARTS_WITHIN_SECONDS = 120


class Refusal(Exception):
    """The API refused; the message is its answer."""


@dataclass(frozen=True)
class Cluster:
    """The API: its address, who vouches for it, an administrator's token, and all of that as a file for Helm."""

    url: str
    authority: bytes
    token: str
    kubeconfig: Path

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request of the administrator's. Raises `Refusal`."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cadata=self.authority.decode())
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                return json.load(answer) if path.startswith("/api") else answer.read().decode()
        except urllib.error.HTTPError as refusal:
            raise Refusal(refusal.read().decode()) from None

    def is_ready(self) -> bool:
        """Whether it serves."""
        try:
            return bool(self.ask("GET", "/readyz"))
        except (Refusal, OSError):
            return False

    def make_namespace(self, name: str) -> None:
        """A namespace in which only pods of the standard "restricted" are let in."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
        self.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Starts both programs in `folder`, and ends them."""
    store, server = require_tool("etcd", HOW), require_tool("kube-apiserver", HOW)
    store_url, peer_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    port, token, authority = free_port(), secrets.token_hex(16), Authority()
    pair = authority.server()
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n", "utf-8")
    url = f"https://127.0.0.1:{port}"
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(_kubeconfig(url, folder, authority, token), "utf-8")
    with ExitStack() as running:
        running.enter_context(
            _program(
                folder / "etcd.log",
                store,
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={store_url}",
                f"--advertise-client-urls={store_url}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster=default={peer_url}",
                "--unsafe-no-fsync",
            )
        )
        api = running.enter_context(
            _program(
                folder / "kube-apiserver.log",
                server,
                f"--etcd-servers={store_url}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--tls-cert-file={folder / 'tls.crt'}",
                f"--tls-private-key-file={folder / 'tls.key'}",
                f"--token-auth-file={folder / 'tokens.csv'}",
                f"--service-account-key-file={folder / 'tls.crt'}",
                f"--service-account-signing-key-file={folder / 'tls.key'}",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=RBAC",
            )
        )
        made = Cluster(url, authority.pem, token, kubeconfig)
        until(lambda: api.poll() is not None or made.is_ready(), STARTS_WITHIN_SECONDS, "the Kubernetes API serves")
        assert api.poll() is None, (folder / "kube-apiserver.log").read_text("utf-8")[-2000:]
        yield made


def _kubeconfig(url: str, folder: Path, authority: Authority, token: str) -> str:
    bundle = folder / "ca.crt"
    bundle.write_bytes(authority.pem)
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": url, "certificate-authority": str(bundle)}}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
            "current-context": "here",
        }
    )


@contextmanager
def _program(log: Path, *command: Path | str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=30)
