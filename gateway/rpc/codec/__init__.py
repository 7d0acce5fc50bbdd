"""Protobuf to model and back; every rule that a comment in the `.proto` files states is enforced here.

Between the servicer, which only converts and calls, and `search.py`, which knows no protobuf.
"""

from __future__ import annotations

from gateway.rpc.codec.answer import encode_answer
from gateway.rpc.codec.parsing import parse
from gateway.rpc.codec.period import decode_period
from gateway.rpc.codec.reports import encode_daily_usage, encode_quota, encode_tenant_usage
from gateway.rpc.codec.search import decode_search
from gateway.rpc.codec.tenant_usage import decode_tenant_usage

__all__ = [
    "decode_period",
    "decode_search",
    "decode_tenant_usage",
    "encode_answer",
    "encode_daily_usage",
    "encode_quota",
    "encode_tenant_usage",
    "parse",
]
