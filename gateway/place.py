"""What a search needs of the place that its call takes in the gateway. `rpc` counts places; `search.py` knows this alone."""

from __future__ import annotations

from typing import Protocol


class Place(Protocol):
    """A call's place in the gateway and the bytes of its body. The call itself is the first holder."""

    def wait_for_vendor(self) -> None:
        """The call is about to wait for the vendor. Called once, before anything is charged.

        Raises `GatewayOverloaded` if too many calls wait for the vendor already.
        """

    def keep(self) -> None:
        """One more holder: a flight that sends this call's image."""

    def give_back(self) -> None:
        """A holder ends. The last one frees the place and the bytes."""


class _NoPlace:
    """A place where none is counted."""

    def wait_for_vendor(self) -> None:
        pass

    def keep(self) -> None:
        pass

    def give_back(self) -> None:
        pass


NO_PLACE: Place = _NoPlace()
