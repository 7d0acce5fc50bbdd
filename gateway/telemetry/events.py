"""THE list of log events, for the reference page; a test compares it with what the code logs."""

from __future__ import annotations

from collections.abc import Mapping

EVENTS: Mapping[str, str] = {
    "rpc.ended": "A call ended: the one line of each RPC. A warning if the gateway or the vendor is at fault.",
    "rpc.unhandled_exception": "A bug: the caller got GATEWAY_ERROR. `frames` says where.",
    "rpc.stray_cancellation": "A bug: something inside a call was cancelled, and the caller had not asked for it.",
    "audit.search": "A search: who, which face set, the decision, how many matches.",
    "audit.refusal": "A call that was refused for who made it or for a limit.",
    "audit.purge": "An operator purged cached answers.",
    "audit.files": "Watched files were put in force, or refused.",
    "audit.start": "A process started with a configuration.",
    "cache.epochs_lost": "The cache store lost its epochs: what it holds is dead.",
    "cache.store_out": "The cache store is out: searches bypass the cache.",
    "cache.store_back": "The cache store is back.",
    "cache.store_refuses_writes": "The cache store answers but keeps nothing: full, or a replica.",
    "cache.store_takes_writes": "The cache store keeps values again.",
    "cache.value_refused": "A stored value was altered, swapped, replayed or unreadable.",
    "config.restart_needed": "The configuration changed in sections that are read at the start only.",
    "config.tenants_replaced": "The tenants of a changed configuration are in force.",
    "files.reloaded": "Changed files are in force.",
    "files.recovered": "Files that were refused can be used again and are in force.",
    "files.rejected": "Changed files cannot be used; what was loaded before stays in force.",
    "jwks.fetched": "An issuer's keys could be fetched again.",
    "jwks.unavailable": "An issuer's keys cannot be fetched or used; those in hand stay in force.",
    "library.message": "A library wrote a warning or worse; its text is left out.",
    "log.malformed_event": "Something logged data in place of an event's name; it is left out.",
    "ops.listening": "The operators' listener serves, at `address`.",
    "process.crashed": "An exception that nobody caught ended the process.",
    "process.thread_crashed": "An exception that nobody caught ended a thread.",
    "process.unraisable": "An exception where none can be raised.",
    "quota.charges_lost": "Charges of an outage could not be written to the quota store.",
    "quota.recovery_failed": "A bug: writing back after an outage failed.",
    "quota.store_lost": "The quota store is out: the configured policy decides.",
    "quota.store_recovered": "The quota store is back, and what was spent meanwhile is written to it.",
    "server.draining": "A signal told the process to leave: no new calls, those in flight end. A second one ends it at once.",
    "server.listening": "The gateway takes calls, at `address`.",
    "upstream.access_refused": "The vendor refuses the credentials or the endpoint.",
    "upstream.redirect_refused": "The vendor's address redirects elsewhere; credentials are not sent there.",
    "upstream.tls_verification_failed": "The vendor's certificate cannot be verified.",
}
