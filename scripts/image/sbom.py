"""Prints what is in the image as a CycloneDX 1.6 document.

    sbom.py ENVIRONMENT STATUS_FOLDER

Python distributions are read from the environment as it was installed, Debian packages from the entries that `root.py`
kept; an interpreter that is of no such package, as in Python's own images, is listed by its version. The same contents
give the same document, byte for byte.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import sys
import uuid
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

PRODUCT = "facegate"
Component = dict[str, Any]


def main(environment: Path, status: Path) -> None:
    """Writes the document to standard output."""
    site = [str(path) for path in sorted(environment.glob("lib/python*/site-packages"))]
    installed = {_plain(found.metadata["Name"]): found for found in importlib.metadata.distributions(path=site)}
    components = {name: _distribution(name, found) for name, found in sorted(installed.items())}
    product = components.pop(PRODUCT)
    depends = [
        {"ref": _reference(name, found), "dependsOn": sorted(_needed(found, installed))}
        for name, found in sorted(installed.items())
    ]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**product, "type": "application"}},
        "components": [*components.values(), *_debian(status), *_interpreter(environment, status)],
        "dependencies": depends,
    }
    identity = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, identity).urn
    json.dump(document, sys.stdout, indent=1)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _reference(name: str, found: importlib.metadata.Distribution) -> str:
    return f"pkg:pypi/{name}@{found.version}"


def _distribution(name: str, found: importlib.metadata.Distribution) -> Component:
    component: Component = {
        "type": "library",
        "bom-ref": _reference(name, found),
        "name": name,
        "version": found.version,
        "purl": _reference(name, found),
    }
    if "License-Expression" in found.metadata:
        component["licenses"] = [{"expression": found.metadata["License-Expression"]}]
    elif licences := [c.rpartition(":: ")[2] for c in found.metadata.get_all("Classifier", []) if "License ::" in c]:
        component["licenses"] = [{"license": {"name": licence}} for licence in licences]
    return component


def _needed(found: importlib.metadata.Distribution, installed: dict[str, importlib.metadata.Distribution]) -> set[str]:
    names = {_plain(re.split(r"[\s\[(<>=!~;]", line, maxsplit=1)[0]) for line in found.requires or ()}
    return {_reference(name, installed[name]) for name in names if name in installed}


def _debian(status: Path) -> Iterator[Component]:
    for file in sorted(status.iterdir()):
        entry = HeaderParser().parsestr(file.read_text("utf-8"))
        name, version, architecture = entry["Package"], entry["Version"], entry["Architecture"]
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _interpreter(environment: Path, status: Path) -> Iterator[Component]:
    settings = dict(re.findall(r"^(\S+) *= *(.*)$", (environment / "pyvenv.cfg").read_text("utf-8"), re.MULTILINE))
    version = settings["version"]
    if not (status / f"python{version.rpartition('.')[0]}-minimal").exists():
        purl = f"pkg:generic/python@{version}"
        yield {"type": "library", "bom-ref": purl, "name": "python", "version": version, "purl": purl}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
