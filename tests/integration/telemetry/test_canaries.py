"""The canary sweep: nothing private or secret is in anything that the gateway tells, whatever happens to a call."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from tests.support import canaries
from tests.support.canaries import leaks
from tests.support.canary_calls import certificate_calls
from tests.support.canary_stage import staged
from tests.support.canary_sweep import everything
from tests.support.valkey import running_store

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(autouse=True)
def _sent_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")


def complete(sinks: dict[str, bytes], *, of_store: bool) -> bool:
    """Whether each sink has something in it: a sweep of empty ones would find nothing either."""
    return len(sinks) == (10 if of_store else 9) and all(sinks.values())


async def test_no_canary_leaves_a_gateway_with_stores_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through good and bad calls of every kind, the vendor's whole repertoire, and bugs everywhere."""
    async with staged(tmp_path) as stage:
        await everything(stage)
        sinks = await stage.sinks()
        told = {line["event"] for line in stage.logs.lines()}
        assert {"rpc.ended", "audit.search", "audit.refused", "audit.purge", "rpc.unhandled_exception"} <= told
        assert {"process.crashed", "process.thread_crashed", "process.unraisable", "library.message"} <= told
        reasons = {line["reason"] for line in stage.logs.lines("rpc.ended")}
        assert len(reasons) >= 20, reasons
    assert complete(sinks, of_store=False)
    out, err = capfd.readouterr()
    assert leaks({**sinks, "stdout": out.encode(), "stderr": err.encode()}) == set()


async def test_no_canary_leaves_a_gateway_over_tls_nor_its_shared_stores(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same with certificates; and whoever reads all of Valkey learns nothing."""
    with running_store() as store:
        async with staged(tmp_path, store=store, tls=True) as stage:
            await certificate_calls(stage)
            await everything(stage)
            sinks = await stage.sinks()
    assert complete(sinks, of_store=True)
    assert sinks["valkey"].count(b"facegate:cache:") > 1
    out, err = capfd.readouterr()
    assert leaks({**sinks, "stdout": out.encode(), "stderr": err.encode()}) == set()


FIRST = [(kind, values[0]) for kind, values in canaries.CANARIES.items()]


@pytest.mark.parametrize(("kind", "value"), FIRST, ids=[kind for kind, _ in FIRST])
def test_the_search_finds_every_canary_in_every_disguise(kind: str, value: str | bytes | float) -> None:
    """Else a sweep that finds nothing would say nothing."""
    hidden: list[bytes] = []
    if isinstance(value, int):
        hidden = [str(value).encode(), b"%x" % value, value.to_bytes(8, "little"), value.to_bytes(8, "big")]
    else:
        raw = value if isinstance(value, bytes) else str(value).encode()
        hidden = [raw, raw.hex().encode(), quote(raw).encode(), orjson.dumps(raw.decode("latin-1"))]
        hidden += [base64.b64encode(b"x" * before + raw + b"y") for before in range(3)]
        hidden += [f"{raw!r}".encode(), b"".join(b"%%%02X" % byte for byte in raw)]
    for one in hidden:
        assert leaks({"metrics": b"before " + one + b" after"}) == {("metrics", kind)}, one
