"""The whole sweep: all calls and all bugs."""

from __future__ import annotations

from tests.support.canary_bugs import bugs
from tests.support.canary_calls import good_calls, refused_calls, vendors_worst
from tests.support.canary_stage import Stage


async def everything(stage: Stage) -> None:
    """The whole sweep."""
    await good_calls(stage)
    await refused_calls(stage)
    await vendors_worst(stage)
    await bugs(stage)
