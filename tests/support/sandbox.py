"""The sandbox in this process, and a plain client to search it and to steer it."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp

from gateway.sandbox.endpoint import PATH
from gateway.sandbox.server import DEMO_QUERY, SANDBOX_API_ID, SANDBOX_API_SECRET, Sandbox, run_sandbox


@dataclass(frozen=True)
class Reply:
    """What came back: the HTTP code, the JSON and the headers."""

    code: int
    json: dict[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class SandboxCaller:
    """Calls `sandbox` with its own credentials unless told otherwise."""

    sandbox: Sandbox
    session: aiohttp.ClientSession

    @property
    def endpoint(self) -> str:
        return self.sandbox.url + PATH

    async def search(
        self,
        image: bytes | None = None,
        *,
        name: str | None = "demo",
        api_id: str = SANDBOX_API_ID,
        api_secret: str = SANDBOX_API_SECRET,
        encoding: str = "file",
        **fields: object,
    ) -> Reply:
        """Searches for `image` (None: the shipped query) as `file`, `base64_part` or `urlencoded`."""
        content = DEMO_QUERY.read_bytes() if image is None else image
        texts = {key: str(value) for key, value in ({"name": name} | fields).items() if value is not None}
        if encoding != "file":
            texts["image_base64"] = base64.b64encode(content).decode()
        if encoding == "urlencoded":
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            return await self.post(
                io.BytesIO(urlencode(texts).encode()), headers=kind, api_id=api_id, api_secret=api_secret
            )
        form = aiohttp.FormData(texts, default_to_multipart=True)
        if encoding == "file":
            form.add_field("file", io.BytesIO(content), filename="image", content_type="application/octet-stream")
        return await self.post(form, api_id=api_id, api_secret=api_secret)

    async def post(
        self,
        data: Any,
        *,
        headers: Mapping[str, str] | None = None,
        api_id: str = SANDBOX_API_ID,
        api_secret: str = SANDBOX_API_SECRET,
    ) -> Reply:
        """Posts any body to the endpoint."""
        credentials = {"X-DF-API-ID": api_id, "X-DF-API-SECRET": api_secret, **(headers or {})}
        async with self.session.post(self.endpoint, data=data, headers=credentials, allow_redirects=False) as response:
            text = await response.read()
            is_json = response.content_type == "application/json" and text.startswith(b"{")
            return Reply(response.status, await response.json() if is_json else {}, response.headers)

    async def control(self, method: str, what: str, json: Any = None) -> tuple[int, Any]:
        """Calls `/__sandbox/` and whatever `what` is."""
        async with self.session.request(method, f"{self.sandbox.url}/__sandbox/{what}", json=json) as response:
            return response.status, await response.json()


@asynccontextmanager
async def sandbox_caller(faces_dir: Path | None = None, **options: Any) -> AsyncIterator[SandboxCaller]:
    """A running sandbox and a caller of it."""
    async with (
        run_sandbox(faces_dir=faces_dir, **options) as sandbox,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
    ):
        yield SandboxCaller(sandbox, session)
