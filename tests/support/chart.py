"""Renders the chart, with either major of Helm, for sets of values that are kept beside the tests."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.support.tools import ROOT, require_tool

CHART = ROOT / "helm" / "facegate"
FOLDER = ROOT / "tests" / "chart"
GOLDEN = FOLDER / "golden"
SETS = sorted(path.name.removesuffix(".in.yaml") for path in GOLDEN.glob("*.in.yaml"))
MAJORS = ("helm3", "helm4")
OLDEST, NEWEST = "1.29", "1.37"
HOW = "make chart"

Document = dict[str, Any]


class Refused(Exception):
    """Helm would not render; the message is what it printed."""


def require_helm(major: str) -> Path:
    """The program of that major."""
    return require_tool(major, HOW)


def chart_with_examples(folder: Path) -> Path:
    """A copy of the chart whose rules and dashboards are the tests' own, so that goldens do not follow every edit."""
    copy = folder / "facegate"
    shutil.copytree(CHART, copy)
    for part in ("rules", "dashboards"):
        shutil.rmtree(copy / part, ignore_errors=True)
        shutil.copytree(FOLDER / "files" / part, copy / part)
    return copy


def render(
    helm: Path,
    values: str | Path,
    *,
    chart: Path = CHART,
    kubernetes: str = NEWEST,
    release: str = "faces",
    namespace: str = "search",
) -> str:
    """The manifests for `values`, a set's name or a file. Raises `Refused`."""
    file = values if isinstance(values, Path) else GOLDEN / f"{values}.in.yaml"
    command = [helm, "template", release, chart, "--namespace", namespace, "--values", file]
    ran = subprocess.run(
        [*map(str, command), "--kube-version", kubernetes], capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise Refused(ran.stderr)
    # The majors differ in blank lines between documents.
    return "".join(f"{line.rstrip()}\n" for line in ran.stdout.splitlines() if line.strip())


@cache
def documents(name: str, kubernetes: str = NEWEST) -> tuple[Document, ...]:
    """The parsed manifests of a set; the same with either major, as the golden renders show."""
    with TemporaryDirectory() as folder:
        chart = chart_with_examples(Path(folder))
        return parse(render(require_helm("helm4"), name, chart=chart, kubernetes=kubernetes))


def parse(text: str) -> tuple[Document, ...]:
    """The documents of a render."""
    return tuple(document for document in yaml.safe_load_all(text) if document)


def of_kind(docs: tuple[Document, ...], *kinds: str) -> list[Document]:
    """Those of the given kinds."""
    return [document for document in docs if document["kind"] in kinds]


def pods(docs: tuple[Document, ...]) -> list[Document]:
    """Every pod that would run, as its metadata and spec."""
    templates = [document["spec"]["template"] for document in of_kind(docs, "Deployment", "StatefulSet", "Job")]
    return [*templates, *of_kind(docs, "Pod")]


def gateway(docs: tuple[Document, ...]) -> Document:
    """The Deployment of the gateway."""
    (found,) = (
        document
        for document in of_kind(docs, "Deployment")
        if document["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
    )
    return found
