"""Who may call the sandbox: pairs of API id and secret, some of which the vendor would turn away.

The values are public and open nothing anywhere. Tests that show a pool of credentials hand in accounts of their own.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.sandbox.verdicts import Refused, VendorStatus

API_ID_HEADER = "X-DF-API-ID"
API_SECRET_HEADER = "X-DF-API-SECRET"

SANDBOX_API_ID = "sandbox-id"
SANDBOX_API_SECRET = "sandbox-secret-that-opens-nothing"


@dataclass(frozen=True, slots=True)
class Account:
    """An API id's secret; with a status other than OK every call of this id gets that status."""

    secret: str = field(repr=False)
    status: VendorStatus = VendorStatus.OK


DEFAULT_ACCOUNTS: Mapping[str, Account] = {
    SANDBOX_API_ID: Account(SANDBOX_API_SECRET),
    "sandbox-second-id": Account(SANDBOX_API_SECRET),
    "sandbox-expired-id": Account(SANDBOX_API_SECRET, VendorStatus.KEY_EXPIRED),
    "sandbox-no-permission-id": Account(SANDBOX_API_SECRET, VendorStatus.NO_PERMISSION),
    "sandbox-out-of-quota-id": Account(SANDBOX_API_SECRET, VendorStatus.OUT_OF_QUOTA),
    "sandbox-rate-limited-id": Account(SANDBOX_API_SECRET, VendorStatus.RATE_LIMIT_EXCEEDED),
}


def authenticate(accounts: Mapping[str, Account], headers: Mapping[str, str]) -> None:
    """Raises `Refused` unless the two headers name an account in good standing."""
    account = accounts.get(headers.get(API_ID_HEADER, ""))
    secret = headers.get(API_SECRET_HEADER, "")
    if account is None or not hmac.compare_digest(account.secret.encode(), secret.encode("utf-8", "surrogateescape")):
        raise Refused(VendorStatus.UNAUTHORIZED)
    if account.status is not VendorStatus.OK:
        raise Refused(account.status)
