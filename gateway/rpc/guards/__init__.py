"""What every call passes before it is answered. `app.py` lists the guards in their order, each with its reason.

A guard sees a call four times. `on_headers` runs when only the headers are here: it may refuse the call by raising, or say
that it has to wait first; then `wait` does so. Only after that is the message read. `on_message` runs when it is here, and
`on_end` in any case, also for calls that this guard or another one refused.
"""

from __future__ import annotations

from typing import Protocol

from gateway.rpc.call import Call


class Guard(Protocol):
    """Decides whether a call goes on."""

    def on_headers(self, call: Call) -> bool:
        """Whether the call may go on at once; False: `wait` has to be awaited first. Raises `GatewayError` to refuse it."""
        ...

    async def wait(self, call: Call) -> None:
        """What `on_headers` could not decide without waiting. Raises `GatewayError` to refuse the call."""
        ...

    def on_message(self, call: Call) -> None:
        """Looks at the call again now that its message is here: it may have taken long. Raises to refuse the call."""
        ...

    def on_end(self, call: Call) -> None:
        """Gives back what this guard took for the call, if anything. Does not raise."""
        ...
