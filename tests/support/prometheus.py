"""A real Prometheus for tests, whose rules' minutes are seconds."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.support.tools import require_tool
from tests.support.valkey import free_port

INTERVAL = "1s"


def hurried(text: str) -> str:
    """An expression or a duration with its minutes as seconds."""
    return re.sub(r"\b(\d+)m\b", r"\1s", text)


def of_job(expression: str, job: str) -> str:
    """The expression about this job."""
    return expression.replace('job="facegate"', f'job="{job}"')


class Prometheus:
    """One that runs, at `url`."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ready(self) -> bool:
        """Whether it answers yet."""
        try:
            async with self._session.get(f"{self._url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: each series' labels and value. Fails if it is none."""
        async with self._session.get(f"{self._url}/api/v1/query", params={"query": expression}) as answer:
            document = await answer.json()
        assert document["status"] == "success", (expression, document)
        found: list[dict[str, Any]] = document["data"]["result"]
        return found

    async def firing(self) -> set[tuple[str, str]]:
        """The job and the name of each alert that fires."""
        found = await self.query('ALERTS{alertstate="firing"}')
        return {(one["metric"]["of_job"], one["metric"]["alertname"]) for one in found}


@asynccontextmanager
async def scraping(targets: Mapping[str, str], rules: Iterable[Mapping[str, Any]] = ()) -> AsyncIterator[Prometheus]:
    """A Prometheus that scrapes each job's address every second, and holds the rules against each job by itself."""
    binary = require_tool("prometheus", "apt-get install prometheus")
    with tempfile.TemporaryDirectory(prefix="prometheus-") as name:
        folder = Path(name)
        settings = {
            "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
            "rule_files": [str(folder / "rules.yaml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in targets.items()
            ],
        }
        groups = [{"name": job, "rules": [_hurried_rule(rule, job) for rule in rules]} for job in targets]
        (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        address = f"127.0.0.1:{free_port()}"
        process = await asyncio.create_subprocess_exec(
            binary,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=error",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=(folder / "log").open("wb"),
        )
        try:
            async with aiohttp.ClientSession() as session:
                prometheus = Prometheus(f"http://{address}", session)
                async with asyncio.timeout(60):
                    while not await prometheus.ready():
                        assert process.returncode is None, (folder / "log").read_text()
                        await asyncio.sleep(0.05)
                    # Until each target was looked at, whether it answered or not.
                    while len(await prometheus.query("up")) < len(targets):
                        await asyncio.sleep(0.1)
                yield prometheus
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _hurried_rule(rule: Mapping[str, Any], job: str) -> dict[str, Any]:
    return {
        "alert": rule["alert"],
        "expr": of_job(hurried(rule["expr"]), job),
        "for": hurried(rule["for"]),
        "labels": {**rule["labels"], "of_job": job},
    }
