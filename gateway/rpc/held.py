"""What one call holds of the gateway's capacity, and who gives it back."""

from __future__ import annotations

from typing import Protocol


class Lender(Protocol):
    """Whoever counts places and bytes (`guards/capacity.py`)."""

    def wait_for_vendor(self, held: Held) -> None:
        """See `Held.wait_for_vendor`."""
        ...

    def leave(self, held: Held) -> None:
        """Takes back what was held."""
        ...


class Held:
    """What one call holds: a place and the bytes of its body. It is given back when its last holder has ended.

    The call is one holder. A search that goes upstream is another: it keeps what it uses until it lands, also after its
    callers have gone.
    """

    __slots__ = ("_holders", "_lender", "size", "tenant", "waits_for_vendor")

    def __init__(self, lender: Lender, tenant: str) -> None:
        self._lender = lender
        self._holders = 1
        self.tenant = tenant
        self.size = 0
        self.waits_for_vendor = False

    def wait_for_vendor(self) -> None:
        """Counts the call among those that wait for the vendor. Raises `GatewayOverloaded` if too many do."""
        if not self.waits_for_vendor:
            self._lender.wait_for_vendor(self)

    def keep(self) -> None:
        """One more holder."""
        self._holders += 1

    def give_back(self) -> None:
        """A holder has ended."""
        self._holders -= 1
        if not self._holders:
            self._lender.leave(self)
