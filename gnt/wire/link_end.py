"""What the master's end of a link is made of, whatever carries the calls: who waits for it, and who listens."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import defer
from twisted.internet.defer import Deferred

from gnt.model.errors import GntError, NotReached
from gnt.wire.contract import Listener, StopListening


class LinkEnd:
    """A part of `gnt.wire.contract.Link`: those who wait until calls can be sent, and those who hear of events."""

    def __init__(self, name: str, uuid: str) -> None:
        self.name = name
        self.uuid = uuid
        self._stopped = False
        self._waiting: list[Deferred[None]] = []
        self._listeners: list[Listener] = []
        self._connected_listeners: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        """Say whether calls can be sent at this moment."""
        raise NotImplementedError

    def when_connected(self) -> Deferred[None]:
        """Fire when calls can be sent."""
        if self.connected:
            return defer.succeed(None)
        if self._stopped:
            return defer.fail(NotReached(f"the link to {self.name} was closed"))
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def on_connected(self, listener: Callable[[], None]) -> None:
        """Hear of each time that calls can be sent."""
        self._connected_listeners.append(listener)

    def listen(self, listener: Listener) -> StopListening:
        """Tell `listener` of the node's events."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell_connected(self) -> None:
        for listener in self._connected_listeners:
            listener()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def _fail_waiting(self, error: GntError) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.errback(error)
