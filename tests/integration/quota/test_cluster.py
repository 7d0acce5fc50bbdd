"""A cluster of which a node is silent."""

from __future__ import annotations

import binascii

from gateway.clock import SystemClock
from gateway.quota.gate import QuotaGate
from gateway.quota.link import link_to
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.conditions import eventually
from tests.support.flaky_proxy import flaky_proxy
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
        silent = next(node for node in nodes if node is not holder)
        async with flaky_proxy(holder.port) as slow:
            slow.delay_seconds = 0.02
            url = f"valkey://{silent.host}:{silent.port},{slow.address}"
            store = ValkeyQuotaStore(link_to(url, prefix=fresh_prefix()))
            gate = QuotaGate(store, clock=SystemClock(), probe_seconds=0.05)
            silent.pause()
            try:
                await gate.start()
                await calls(gate, tenant("kyc", day=100), 3)
                await eventually(lambda: not gate.degraded, "the tenant's node is known")
                served = await calls(gate, tenant("kyc", day=100), 5)
                assert served.degraded < served.admitted
            finally:
                silent.resume()
                await gate.aclose()
