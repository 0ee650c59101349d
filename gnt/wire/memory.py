"""Node calls without sockets: a network in memory, on whatever clock it is given, for the simulator and for tests.

What crosses is the same bytes as on Perspective Broker, so both codecs are used. Whoever drives it decides for every
call what becomes of it (`fate`): how long request and answer take, whether one of them is lost, whether the request
arrives a second time; and may cut the network between any two ends, or take a node away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred

from gnt.model.errors import GntError, InDoubt, NotReached
from gnt.wire.contract import (
    Caller,
    INodeDaemon,
    NodeEvent,
    StopListening,
    decode_event,
    encode_event,
)
from gnt.wire.envelope import Answer, Request, decode_answer, encode_request
from gnt.wire.link_end import LinkEnd
from gnt.wire.timing import Clock


@dataclass(frozen=True)
class Passage:
    """A call that is about to be sent: from which end (`source`), to which node (UUID), its id and name."""

    source: str
    target: str
    id: str
    tag: str


@dataclass(frozen=True)
class Fate:
    """What becomes of a call. Times in seconds; None: lost. `again`: a second arrival of the request, if any.

    `held` is given what has the request arrive (once more) whenever that is called.
    """

    request: float | None = 0.0
    answer: float | None = 0.0
    again: float | None = None
    held: Callable[[Callable[[], None]], None] | None = None


def arrives(_passage: Passage) -> Fate:
    """Let everything arrive at once."""
    return Fate()


class MemoryNetwork:
    """All nodes that can be reached, by UUID, and the links to them."""

    def __init__(self, clock: Clock, fate: Callable[[Passage], Fate] = arrives) -> None:
        self.clock = clock
        self.fate = fate
        self._daemons: dict[str, Any] = {}
        self._links: list[MemoryLink] = []
        self._cuts: set[tuple[str, str]] = set()

    def attach(self, uuid: str, daemon: Any) -> None:
        """Bring a node up: links to it connect, as soon as the clock goes on."""
        self.detach(uuid)
        self._daemons[uuid] = INodeDaemon(daemon)
        self._connect_all()

    def detach(self, uuid: str) -> None:
        """Take a node away, as when its power goes: calls under way end in doubt at once."""
        if self._daemons.pop(uuid, None) is not None:
            self._check_all("the connection was lost")

    def cut(self, source: str, target: str) -> None:
        """Cut the way from one end to a node."""
        self._cuts.add((source, target))
        self._check_all("the connection was lost")

    def mend(self, source: str, target: str) -> None:
        """Undo `cut`."""
        self._cuts.discard((source, target))
        self._connect_all()

    def link(self, caller: Caller, name: str, uuid: str, *, source: str = "") -> MemoryLink:
        """Make a link to a node. `caller` is who the node will take us for, `source` our end in `cut` and `fate`."""
        link = MemoryLink(self, caller, name, uuid, source or caller.common_name)
        self._links.append(link)
        return link

    def find(self, source: str, target: str) -> Any:
        """Give the daemon that a source can reach, or None."""
        return None if (source, target) in self._cuts else self._daemons.get(target)

    def forget(self, link: MemoryLink) -> None:
        """Hear that a link was stopped."""
        if link in self._links:
            self._links.remove(link)

    def _connect_all(self) -> None:
        for link in list(self._links):
            link.connect_soon()

    def _check_all(self, reason: str) -> None:
        for link in list(self._links):
            link.check(reason)


class MemoryLink(LinkEnd):
    """A link to one node: `gnt.wire.contract.Link` in memory."""

    def __init__(self, network: MemoryNetwork, caller: Caller, name: str, uuid: str, source: str) -> None:
        super().__init__(name, uuid)
        self._network = network
        self._caller = caller
        self._source = source
        self._daemon: Any = None
        self._started = False
        self._dead = False
        self._problem = ""
        self._stop_listening: StopListening | None = None
        self._open: list[Deferred[bytes]] = []

    @property
    def connected(self) -> bool:
        """Say whether calls can be sent at this moment."""
        return self._daemon is not None

    @property
    def problem(self) -> str:
        """Say in one line why there is no connection."""
        return "" if self.connected else self._problem

    def start(self) -> None:
        """Begin to connect."""
        self._stopped, self._started = False, not self._dead
        self.connect_soon()

    def stop(self) -> Deferred[None]:
        """Close the connection for good."""
        self._stopped, self._started = True, False
        self._network.forget(self)
        self._lose("the link was closed")
        self._fail_waiting(NotReached(f"the link to {self.name} was closed"))
        return defer.succeed(None)

    def abandon(self) -> None:
        """Forget everything without a word, as when this end dies; what was sent still arrives."""
        self._started, self._dead = False, True
        self._network.forget(self)
        self._daemon = None
        self._problem = "this end is dead"
        self._waiting, self._open, self._listeners, self._connected_listeners = [], [], [], []
        stop, self._stop_listening = self._stop_listening, None
        if stop is not None:
            stop()

    async def call(self, request: Request) -> Answer:
        """Make a call; see `gnt.wire.contract.Link`."""
        if self._daemon is None:
            raise NotReached(f"no connection to {self.name}: {self._problem or 'not connected yet'}")
        outcome: Deferred[bytes] = Deferred()
        self._open.append(outcome)
        tag = request.call.tag()
        fate = self._network.fate(Passage(self._source, self.uuid, request.id, tag))
        content = encode_request(request)
        late = InDoubt(f"{tag} on {self.name}: no answer in time; nobody knows whether it was done")
        timer = self._network.clock.callLater(request.deadline, self._end, outcome, late)
        for delay in (fate.request, fate.again):
            if delay is not None:
                self._network.clock.callLater(delay, self._arrive, content, outcome, fate)
        if fate.held is not None:
            fate.held(lambda: self._arrive(content, outcome, fate))
        try:
            answer = decode_answer(await outcome)
        finally:
            if timer.active():
                timer.cancel()
        answer.check()
        return answer

    def is_open(self, outcome: object) -> bool:
        """Say whether somebody still waits for the outcome of a call."""
        return outcome in self._open

    # --- what the network tells it

    def connect_soon(self) -> None:
        """Connect when the clock goes on, if there is somebody to connect to."""
        if self._started and self._daemon is None:
            self._network.clock.callLater(0.0, self._connect)

    def check(self, reason: str) -> None:
        """Lose the connection if the node cannot be reached any more."""
        if self._daemon is not None and self._network.find(self._source, self.uuid) is not self._daemon:
            self._lose(reason)

    def _connect(self) -> None:
        if not self._started or self._daemon is not None:
            return
        daemon = self._network.find(self._source, self.uuid)
        if daemon is None:
            self._problem = "the node cannot be reached"
            return
        self._daemon = daemon
        self._problem = ""
        self._stop_listening = daemon.listen(self._hear)
        self._tell_connected()

    def _lose(self, reason: str) -> None:
        self._daemon = None
        self._problem = reason
        stop, self._stop_listening = self._stop_listening, None
        if stop is not None:
            stop()
        for outcome in list(self._open):
            self._end(outcome, InDoubt(f"{self.name}: {reason}; nobody knows whether the call was done"))

    def _arrive(self, content: bytes, outcome: Deferred[bytes], fate: Fate) -> None:
        """Bring a request to the node, whatever has become of the link since: it was on its way."""
        daemon = self._network.find(self._source, self.uuid)
        if daemon is not None:
            answering: Deferred[bytes] = daemon.call(content, self._caller)
            answering.addCallback(self._answer, outcome, fate)

    def _answer(self, answer: bytes, outcome: Deferred[bytes], fate: Fate) -> None:
        if fate.answer is not None:
            self._network.clock.callLater(fate.answer, self._end, outcome, answer)

    def _end(self, outcome: Deferred[bytes], result: bytes | GntError) -> None:
        """Tell the caller, unless it knows already."""
        if outcome not in self._open:
            return
        self._open.remove(outcome)
        if isinstance(result, GntError):
            outcome.errback(result)
        else:
            outcome.callback(result)

    def _hear(self, event: NodeEvent) -> None:
        self._network.clock.callLater(0.0, self._tell, encode_event(event))

    def _tell(self, event: bytes) -> None:
        if self._daemon is not None:
            for listener in list(self._listeners):
                listener(decode_event(event))
