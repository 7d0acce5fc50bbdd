"""Where attacks are seen: a gateway process, a cheap vendor behind it, an honest tenant and one that attacks."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.auth.tokens import new_token
from tests.support.attack_process import Figures, attacked
from tests.support.callers import holder_of, tenant
from tests.support.gateway_process import GatewayProcess, Run, gateway_process, write_config
from tests.support.honest import Honest, Outcomes, honest
from tests.support.measurements import Measurement, keep
from tests.support.meter import Meter
from tests.support.metrics import metrics_page, values
from tests.support.vendor_process import VendorProcess, vendor_process

HONEST, ATTACKER = "kyc", "mallory"
LONG = os.environ.get("ABUSE") == "long"


_KILLED = Run(kill=True)
long_only = pytest.mark.skipif(not LONG, reason="one more example of its kind, or one that takes longer: `make abuse`")


def scaled(short: float, long: float) -> float:
    """How much or how long: for the suite that runs at every change, and for `make abuse`."""
    return long if LONG else short


@dataclass(repr=False)
class AbuseStage:
    """All that a test looks at."""

    gateway: GatewayProcess
    vendor: VendorProcess
    settings: dict[str, Any]
    tokens: dict[str, str]
    meter: Meter

    @property
    def bearer(self) -> list[tuple[str, str]]:
        """The attacking tenant's credentials, as metadata."""
        return [("authorization", f"Bearer {self.tokens[ATTACKER]}")]

    def honest(self, **how: Any) -> AbstractAsyncContextManager[Honest]:
        """A caller of the honest tenant; `how` as for `tests.support.honest`."""
        return honest(self.gateway.address, self.tokens[HONEST], **how)

    def attack(self, name: str, at: str | None = None, **options: Any) -> AbstractAsyncContextManager[Figures]:
        """An attack of `tests/abuse/attackers`, named MODULE.FUNCTION, on the gateway or on another address."""
        module, _, function = name.rpartition(".")
        return attacked(f"tests.abuse.attackers.{module}", function, at or self.gateway.address, **options)

    def load(
        self, tenant_id: str, per_second: float = 0, seconds: float | None = None, **options: Any
    ) -> AbstractAsyncContextManager[Figures]:
        """Searches of a tenant in an open loop, inside the block or for so many seconds and until the last answer.

        Options are those of `tests.support.open_loop.offer`.
        """
        metadata = [("authorization", f"Bearer {self.tokens[tenant_id]}")]
        options = {"metadata": metadata, "per_second": per_second, **options}
        if seconds is not None:
            options |= {"seconds": seconds, "to_its_end": True}
        return attacked("tests.support.open_loop", "offer", self.gateway.address, **options)

    def reconfigure(self, **sections: Any) -> None:
        """Changes the configuration's file."""
        self.settings |= sections
        write_config(self.gateway.config_file, self.settings)

    def keep(self, name: str, attack: Figures | None, outcomes: Outcomes | None, notes: str = "") -> Measurement:
        """Notes what was measured from the stage's beginning up to now, or to the end of the process."""
        self.meter.read()
        good = outcomes is not None and bool(outcomes.seconds)
        measured = Measurement(
            name=name,
            sent_bytes=attack.sent if attack else 0,
            peak_mib=round(self.meter.peak_mib, 1),
            processor_seconds=round(self.meter.seconds, 2),
            attacker_seconds=round(attack.processor_seconds, 2) if attack else 0.0,
            honest=str(outcomes) if outcomes is not None else "",
            p50_ms=round(outcomes.percentile(50) * 1e3, 1) if outcomes and good else None,
            p99_ms=round(outcomes.percentile(99) * 1e3, 1) if outcomes and good else None,
            notes=notes,
        )
        keep(measured)
        return measured

    @property
    def grown_mib(self) -> float:
        """How much more memory the gateway had at most than at rest, up to the last `keep`."""
        return self.meter.peak_mib - self.meter.at_rest_mib

    async def metrics(self) -> dict[str, float]:
        """The gateway's series with their values."""
        return values(await metrics_page(self.gateway.ops_address))

    async def ready(self) -> int:
        """The status of `/readyz`, on a connection of its own."""
        timeout = aiohttp.ClientTimeout(total=5)
        url = f"http://{self.gateway.ops_address}/readyz"
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status


def settings_of(folder: Path, vendor_url: str, tenants: list[dict[str, Any]], **sections: Any) -> dict[str, Any]:
    """A gateway's settings before this vendor; `sections` are merged into them."""
    (folder / "id").write_text("an-id")
    (folder / "secret").write_text("a-secret")
    files = {"api_id_file": str(folder / "id"), "api_secret_file": str(folder / "secret")}
    settings: dict[str, Any] = {
        "server": {"drain_seconds": 5},
        "upstream": {"base_url": vendor_url, "credentials": [{"name": "primary", **files}]},
        "tenants": tenants,
    }
    for name, value in sections.items():
        settings[name] = {**settings.get(name, {}), **value} if isinstance(value, dict) else value
    return settings


@asynccontextmanager
async def abuse_stage(
    folder: Path,
    *,
    attacker: dict[str, Any] | None = None,
    tenants: list[dict[str, Any]] | None = None,
    vendor_seconds: float = 0.0,
    run: Run = _KILLED,
    **sections: Any,
) -> AsyncIterator[AbuseStage]:
    """The stage. `attacker`: the attacking tenant's settings, or else `tenants`; `run`: of its process."""
    tokens = {name: new_token() for name in (HONEST, ATTACKER)}
    tenants = tenants or [
        tenant(HONEST, holder_of(tokens[HONEST])),
        {**tenant(ATTACKER, holder_of(tokens[ATTACKER])), **(attacker or {})},
    ]
    async with vendor_process(vendor_seconds) as vendor:
        settings = settings_of(folder, vendor.url, tenants, **sections)
        async with gateway_process(folder, settings, run) as gateway:
            yield AbuseStage(gateway, vendor, settings, tokens, Meter(gateway.pid))
