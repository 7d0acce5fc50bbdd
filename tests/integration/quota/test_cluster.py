"""A cluster of which a node is silent."""

from __future__ import annotations

import binascii

from gateway.clock import SystemClock
from gateway.quota.gate import QuotaGate
from gateway.quota.link import link_to
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.conditions import eventually
from tests.support.quota import fresh_prefix, tenant
from tests.support.quota_outages import calls
from tests.support.valkey import running_cluster


async def test_a_silent_node_does_not_hide_the_others() -> None:
    """The map is asked of each node in turn, so that a cluster is found again while the first one named is silent."""
    with running_cluster() as cluster:
        nodes = cluster.nodes
        for node in nodes:
            node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
        slot = binascii.crc_hqx(b"kyc", 0) % 16384
        holder = next(node for index, node in enumerate(nodes) if slot < (index + 1) * 5462)
        first = next(node for node in nodes if node is not holder)
        url = "valkey://" + ",".join(f"{node.host}:{node.port}" for node in (first, holder))
        gate = QuotaGate(ValkeyQuotaStore(link_to(url, prefix=fresh_prefix())), clock=SystemClock(), probe_seconds=0.05)
        first.pause()
        try:
            who = tenant("kyc", day=100)
            await gate.start()
            await calls(gate, who, 3)
            await eventually(lambda: not gate.degraded, "the tenant's node is known", 5)
            served = await calls(gate, who, 5)
            assert served.degraded < served.admitted
        finally:
            first.resume()
            await gate.aclose()
