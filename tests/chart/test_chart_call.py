"""What `helm test` does: its command, its token and the configuration of the chart, with real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.support.chart import documents, gateway, of_kind
from tests.support.command import started
from tests.support.gateway_process import gateway_process
from tests.support.sandbox_process import sandbox_process
from tests.support.tools import ROOT

pytestmark = pytest.mark.helm

# Where the image has it: see scripts/image/overlay.py.
PHOTO = "/usr/share/facegate/photo.jpg"
SHIPPED = ROOT / "gateway/sandbox/data/queries/astronaut.jpg"


async def test_the_trial_answers_its_test(tmp_path: Path) -> None:
    """With the defaults `helm test` searches the shipped photo at the sandbox and finds the person."""
    docs = documents("default")
    (pod,) = of_kind(docs, "Pod")
    written, shown = (d["data"] for d in of_kind(docs, "ConfigMap"))
    settings = yaml.safe_load(written["facegate.yaml"])
    variables = gateway(docs)["spec"]["template"]["spec"]["containers"][0]["env"]
    token = tmp_path / "token"
    token.write_text(shown["token"], "utf-8")
    async with sandbox_process() as sandbox:
        settings["upstream"]["base_url"] = sandbox.url
        environ = {variable["name"]: variable["value"] for variable in variables}
        async with gateway_process(tmp_path, settings, **environ) as process:
            here = {
                PHOTO: str(SHIPPED),
                "--target=faces-facegate.search.svc:50051": f"--target={process.address}",
                "--token-file=/etc/facegate/caller/token": f"--token-file={token}",
            }
            (container,) = pod["spec"]["containers"]
            assert here.keys() <= set(container["args"])
            call = await started(*(here.get(argument, argument) for argument in container["args"]), "--json")
            printed, complaints = await call.communicate()
    assert call.returncode == 0, complaints.decode()
    assert json.loads(printed)["response"]["outcome"] == "SEARCH_OUTCOME_MATCHED"
