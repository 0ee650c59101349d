"""The data of disks on its way between simulated machines, as long as it takes, while the network carries it.

A transfer has come about as a whole, or not at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from gnt.model.errors import NodeFailure
from gnt.noded.storage.raw import MIB, Raw
from gnt.noded.storage.transfer import Offer, Transfer
from gnt.sim.content import content_of, write_content

if TYPE_CHECKING:
    from gnt.sim.machine import SimNode

RATE: Final = 100.0
"""MiB that come over in a simulated second."""
LOOK_EVERY: Final = 0.5


class SimOffer(Offer):
    """Data that waits for its reader, on one machine."""

    def __init__(self, place: str, reader: str, port: int, source: random.Random) -> None:
        self.place = place
        self.reader = reader
        self.port = port
        self.word = f"{source.getrandbits(64):016x}"
        self.closed = False
        self._served: Deferred[None] = Deferred()

    def close(self) -> None:
        """Take the offer back."""
        self.closed = True
        self.end()

    def serve(self) -> Any:
        """Wait for the reader."""
        return self._served

    def end(self) -> None:
        """Have been read."""
        if not self._served.called:
            self._served.callback(None)


class SimTransfer(Transfer):
    """What the node daemon of one machine offers and fetches; `later` are its timers."""

    def __init__(
        self, machine: SimNode, source: random.Random, later: Callable[[float, Callable[[], None]], Any]
    ) -> None:
        self._machine = machine
        self._source = source
        self._later = later
        self._offers: dict[int, SimOffer] = {}
        self._port = 40000

    def offer(self, place: str, credentials: Any, reader: str, address: str) -> SimOffer:
        """Offer what is at a place."""
        del credentials, address
        self._port += 1
        offer = self._offers[self._port] = SimOffer(place, reader, self._port, self._source)
        return offer

    def fetch(
        self,
        ticket: dict[str, Any],
        credentials: Any,
        target: Raw,
        stopped: Callable[[], bool],
        told: Callable[[int], None],
    ) -> Any:
        """Write everything that an offer has onto an open disk, when there was time for it."""
        del credentials, told
        done: Deferred[int] = Deferred()
        source = self._find(ticket)
        seconds = target.size / MIB / RATE

        def go_on(left: float) -> None:
            offer = _offer_of(source, ticket)
            if stopped():
                done.errback(NodeFailure("aborted", "the transfer was given up"))
            elif offer is None or not self._hears(source):
                done.errback(NodeFailure("storage_error", "the transfer broke off: the other node is gone"))
            elif left > 0:
                self._later(min(left, LOOK_EVERY), lambda: go_on(left - LOOK_EVERY))
            else:
                done.callback(self._copy(offer, target))

        go_on(seconds)
        return done

    def found(self, ticket: dict[str, Any]) -> SimOffer | None:
        """Give the offer of a ticket, if it still stands."""
        offer = self._offers.get(int(ticket["port"]))
        return None if offer is None or offer.closed or offer.word != ticket["word"] else offer

    def _find(self, ticket: dict[str, Any]) -> SimNode:
        nodes = self._machine.world.nodes.values()
        source = next((node for node in nodes if node.address == ticket["address"]), None)
        if source is None or _offer_of(source, ticket) is None or not self._hears(source):
            where = f"{ticket['address']} port {ticket['port']}"
            raise NodeFailure("not_found", f"Nobody offers the disk at {where}")
        return source

    def _hears(self, source: SimNode) -> bool:
        world, name = self._machine.world, self._machine.name
        return world.hears(source.name, name) and world.hears(name, source.name)

    def _copy(self, offer: SimOffer, target: Raw) -> int:
        source = Path(offer.place)
        size = source.stat().st_size
        target.end_at(size)
        write_content(Path(target.path), content_of(source))
        offer.end()
        return size


def _offer_of(source: SimNode, ticket: dict[str, Any]) -> SimOffer | None:
    """Give the offer of a ticket, as long as the daemon lives that made it."""
    return source.noded.transfer.found(ticket) if source.noded is not None else None
