"""Protobuf to model and back; every rule that a comment in the `.proto` files states is enforced here.

Between the servicer, which only converts and calls, and `search.py`, which knows no protobuf.
"""

from __future__ import annotations

from gateway.rpc.codec.answer import encode_answer
from gateway.rpc.codec.paging import decode_page_size, decode_page_token, encode_page_token
from gateway.rpc.codec.parsing import parse
from gateway.rpc.codec.period import decode_period
from gateway.rpc.codec.reports import encode_daily_usage, encode_quota, encode_tenant_usage
from gateway.rpc.codec.search import decode_search

__all__ = [
    "decode_page_size",
    "decode_page_token",
    "decode_period",
    "decode_search",
    "encode_answer",
    "encode_daily_usage",
    "encode_page_token",
    "encode_quota",
    "encode_tenant_usage",
    "parse",
]
