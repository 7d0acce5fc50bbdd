"""`facegate usage`: what was used, one row per day; for operators, one row per tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from gateway.cli.failure import Failure
from gateway.cli.options import Target, target_options
from gateway.cli.terminal import say

_NUMBERS = ("searches", "cache_hits", "quota_rejections", "failures", "upstream_calls", "charged_units")
MAX_PAGES = 100
"""Pages of 1000 tenants that are asked for at most."""
_DAY = click.DateTime(formats=["%Y-%m-%d"])
_EXAMPLES = """\b
Examples:
  facegate usage --token-file token
  facegate usage --start 2026-11-01 --end 2026-12-01 --json
  facegate usage --all-tenants --token-file operator-token"""


@click.command(name="usage", epilog=_EXAMPLES)
@target_options
@click.option("--start", type=_DAY, metavar="YYYY-MM-DD", help="First day (UTC). Default: 30 days before the last.")
@click.option("--end", type=_DAY, metavar="YYYY-MM-DD", help="The day after the last one (UTC). Default: now.")
@click.option("--all-tenants", is_flag=True, help="The sums of every tenant; needs the role operator.")
@click.option("--tenant", help="The sums of one tenant; needs the role operator.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per row.")
def command(
    where: Target,
    start: datetime | None,
    end: datetime | None,
    tenant: str | None,
    *,
    all_tenants: bool,
    as_json: bool,
) -> None:
    """Show the calling tenant's usage, one row per day. Costs nothing."""
    if all_tenants and tenant is not None:
        raise click.UsageError("--all-tenants and --tenant exclude each other")
    if all_tenants or tenant is not None:
        first, rows = "tenant", asyncio.run(_tenants(where, tenant or "", start, end))
    else:
        first, rows = "day", asyncio.run(_days(where, start, end))
    if as_json:
        from gateway.cli.messages import as_json_text

        say(*map(as_json_text, rows))
    else:
        _print(first, rows)


def _print(first: str, rows: Sequence[Any]) -> None:
    from gateway.cli.output import Bar, clock_day, print_table

    if not rows:
        say("no usage in this period")
        return
    most = max(row.searches for row in rows)
    cells = [
        (
            row.tenant if first == "tenant" else clock_day(row.day.seconds),
            Bar(row.searches, most),
            *(str(getattr(row, name)) for name in _NUMBERS),
        )
        for row in rows
    ]
    titles = [name.replace("_", " ") for name in _NUMBERS]
    print_table((first, "", *titles), cells, numbers=titles, names=("tenant",))


async def _days(target: Target, start: datetime | None, end: datetime | None) -> list[Any]:
    from gateway.cli.client import connect
    from gateway.cli.messages import usage_request

    async with connect(target) as client:
        return list((await client.usage(usage_request(start, end), timeout_seconds=10)).days)


async def _tenants(target: Target, tenant: str, start: datetime | None, end: datetime | None) -> list[Any]:
    from gateway.cli.client import connect
    from gateway.cli.messages import tenant_usage_request

    rows: list[Any] = []
    page_token, seen = "", {""}
    async with connect(target) as client:
        for _ in range(MAX_PAGES):
            page = await client.tenant_usage(tenant_usage_request(tenant, start, end, page_token), timeout_seconds=10)
            rows += page.tenants
            page_token = page.next_page_token
            if not page_token:
                return rows
            if page_token in seen:
                raise Failure("the gateway names a page as the next one that it gave before: its pages never end")
            seen.add(page_token)
    raise Failure(f"the gateway has more than {MAX_PAGES} pages of tenants: ask for one with --tenant")
