"""The event stream: one question to the master for all who listen, each message encoded once.

A message is what one answer of `WaitForEvents` told, under the serial of the log up to which it tells: a client that
comes back names the last one that it has, and goes on from there. A listener is registered before it catches up, so
that nothing falls between what it is told of the past and what it hears from then on; it may hear of something twice.

Who reads too slowly is not told more than fits its connection: it catches up from its last serial once it reads again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gnt.daemon.runtime import Clock
from gnt.model.errors import GntError
from gnt.rapi.errors import HttpError

WITHIN: Final = 50.0
"""Seconds that the master is asked to wait."""

STILL_HERE: Final = 15.0
"""Seconds between signs of life; with each, whether the listener still may listen is looked at."""

AGAIN: Final = 1.0
"""Seconds after which a master that does not answer is asked again."""

PACE: Final = 0.004
"""Seconds between messages, at least: what happens meanwhile is told together."""

MOST_PENDING: Final = 200
"""Messages that wait for a listener which catches up; with more, it begins anew from its last serial."""

Position = Sequence[Any]

log: Final = Logger()


class Asks(Protocol):
    """Who asks the master: `gnt.rapi.luxi.Master`."""

    async def call(self, method: str, *args: Any, patience: float = 0.0) -> Any:
        """Call a method that only reads."""


class Message:
    """What happened up to a position, as text of a stream: encoded once for each choice of kinds."""

    def __init__(self, position: Position, changes: Sequence[Mapping[str, Any]], *, lost: bool) -> None:
        self.position = position
        self.serial = int(position[0])
        self._changes = changes
        self._lost = lost
        self._texts: dict[frozenset[str], bytes] = {}

    def text(self, kinds: frozenset[str]) -> bytes:
        """Give the text for who wants to hear of these kinds of objects (none named: all); empty if nothing is."""
        found = self._texts.get(kinds)
        if found is None:
            found = self._texts[kinds] = self._text(kinds)
        return found

    def _text(self, kinds: frozenset[str]) -> bytes:
        changes = [change for change in self._changes if not kinds or change.get("kind") in kinds]
        if not changes and not self._lost:
            return b""
        data = msgspec.json.encode({"serial": self.serial, "changes": changes})
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self.serial, b"reset" if self._lost else b"changes", data)


@implementer(IPushProducer)
class Listener:
    """One client. `write` sends text to it; `may_listen` raises `HttpError` when it may no more."""

    def __init__(
        self, kinds: frozenset[str], write: Callable[[bytes], object], may_listen: Callable[[], Awaitable[object]]
    ) -> None:
        self.kinds = kinds
        self.serial: int | None = None
        self.ended: Deferred[None] = Deferred()
        self.paused = False
        """The client does not read."""
        self.behind = False
        """Something was not told, or kept: it has to be asked for again."""
        self._open = False
        self._write = write
        self._may_listen = may_listen
        self._pending: list[Message] | None = []
        self._resumed: Callable[[], object] | None = None

    @property
    def catches_up(self) -> bool:
        """Say whether it is still being told of the past."""
        return self._pending is not None

    def begin(self) -> None:
        """Keep what happens from now on, until what was before is told."""
        self.behind, self._pending = False, []

    def kept(self) -> list[Message]:
        """Give what was kept meanwhile, and keep no more."""
        pending, self._pending = self._pending or [], None
        return pending

    def hear(self, message: Message) -> None:
        """Send a message, or keep it until what was before is sent. What does not fit is asked for again later."""
        if self.behind:
            return
        if self._pending is not None:
            self._pending.append(message)
            self.behind = len(self._pending) > MOST_PENDING
        elif self.paused:
            self.behind = True
        else:
            self.send(message)

    def send(self, message: Message) -> None:
        """Send a message now."""
        self.serial = message.serial
        text = message.text(self.kinds)
        if text:
            self._write(text)

    def open(self) -> None:
        """Let the client see that it is listened to, before anything has happened."""
        if not self._open:
            self._open = True
            self._write(b"retry: 1000\n\n")

    def say(self, text: bytes) -> None:
        """Send text that is no message, unless the client does not read."""
        if not self.paused:
            self._write(text)

    async def check(self) -> None:
        """End the stream of who may listen no more."""
        try:
            await self._may_listen()
        except HttpError:
            self.end()
        except GntError:
            return  # the master does not answer: nobody knows

    def end(self) -> None:
        """End the stream."""
        if not self.ended.called:
            self.ended.callback(None)

    def on_resumed(self, call: Callable[[], object]) -> None:
        """Call when the client reads again and is behind."""
        self._resumed = call

    def pauseProducing(self) -> None:
        """Hear that the client does not read."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Hear that the client reads again."""
        self.paused = False
        if self.behind and not self.catches_up and self._resumed is not None:
            self._resumed()

    def stopProducing(self) -> None:
        """Hear that the client has gone."""
        self.paused = True


class Hub:
    """Follows the master while somebody listens."""

    def __init__(self, master: Asks, clock: Clock) -> None:
        self._master = master
        self._clock = clock
        self._listeners: dict[Listener, None] = {}
        self._position: Position | None = None
        self._asking: Deferred[Any] | None = None
        self._due: IDelayedCall | None = None

    def __len__(self) -> int:
        """Give the number of listeners."""
        return len(self._listeners)

    async def listen(self, listener: Listener, serial: int | None) -> None:
        """Tell a listener what was after a serial (None: nothing), then what happens, until it ends or is cancelled.

        Raises `GntError` if the master cannot be asked at the beginning.
        """
        self._listeners[listener] = None
        listener.on_resumed(lambda: self._catch_up_again(listener))
        try:
            await self._catch_up(listener, serial)
            if self._due is None:
                self._due = self._clock.callLater(STILL_HERE, self._still_here)
            await listener.ended
        finally:
            self._listeners.pop(listener, None)
            if not self._listeners:
                self._rest()

    def stop(self) -> None:
        """End all streams."""
        for listener in list(self._listeners):
            listener.end()
        self._rest()

    # Catching up

    async def _catch_up(self, listener: Listener, serial: int | None) -> None:
        """Tell what was after a serial, as far as the client reads it, then let it hear what happens."""
        listener.begin()
        position: Position | None = None if serial is None else (serial, None, None)
        while True:
            message, position = await self._ask(position, 0.0)
            listener.open()
            if serial is None:
                serial = listener.serial = message.serial
                listener.say(b'id: %d\nevent: start\ndata: {"serial":%d}\n\n' % (serial, serial))
            else:
                listener.send(message)
            if position[1] is not None:
                break
            if listener.paused:
                listener.kept()
                listener.behind = True
                return
        self._join(listener, position)

    def _join(self, listener: Listener, position: Position) -> None:
        """Let a listener hear what happens after a position; what it was told of already is left out."""
        behind = listener.behind
        for message in listener.kept():
            if not behind and not _is_covered(message.position, position):
                listener.hear(message)
        if self._position is None:
            self._position = position
        if self._asking is None:
            self._follow()
        if listener.behind and not listener.paused:
            self._catch_up_again(listener)

    def _catch_up_again(self, listener: Listener) -> None:
        if listener in self._listeners and listener.serial is not None:
            catching = Deferred.fromCoroutine(self._catch_up(listener, listener.serial))
            catching.addErrback(lambda _: listener.end())  # the client comes back by itself, with its last serial

    # Following

    def _follow(self) -> None:
        self._asking = Deferred.fromCoroutine(self._go_on())
        self._asking.addErrback(_unless_given_up)

    async def _go_on(self) -> None:
        try:
            while self._listeners:
                try:
                    message, self._position = await self._ask(self._position, WITHIN)
                except GntError as problem:
                    log.warn("no events at the moment: {problem}", problem=problem.text)
                    await self._pause(AGAIN)
                    continue
                begun = self._clock.seconds()
                for listener in list(self._listeners):
                    listener.hear(message)
                # While much happens it is told in larger messages: delivering takes half of the time at most.
                await self._pause(max(PACE, self._clock.seconds() - begun))
        finally:
            self._asking = None

    async def _ask(self, position: Position | None, within: float) -> tuple[Message, Position]:
        answer = await self._master.call("WaitForEvents", position, within, patience=within)
        match answer:
            case {"position": [int(), _, _] as reached, "changes": list(changes), "lost": bool(lost)}:
                return Message(reached, changes, lost=lost), reached
        raise GntError("luxi_error", "the master answered WaitForEvents with something else")

    async def _pause(self, seconds: float) -> None:
        waiting: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(seconds, waiting.callback, None)
        await waiting

    def _rest(self) -> None:
        """Ask no more: nobody listens."""
        asking, self._asking, self._position = self._asking, None, None
        if asking is not None:
            asking.cancel()
        due, self._due = self._due, None
        if due is not None and due.active():
            due.cancel()

    def _still_here(self) -> None:
        self._due = self._clock.callLater(STILL_HERE, self._still_here)
        for listener in list(self._listeners):
            if listener.serial is not None and not listener.catches_up and not listener.behind:
                listener.say(b": still here\nid: %d\n\n" % listener.serial)
            checking = Deferred.fromCoroutine(listener.check())
            checking.addErrback(lambda failure: log.failure("may who listens still listen", failure=failure))


def _unless_given_up(failure: Failure) -> None:
    if not isinstance(failure.value, CancelledError):
        log.failure("following the master ended", failure=failure)


def _is_covered(position: Position, told: Position) -> bool:
    """Say whether who was told up to `told` knows what is up to `position`: of one life of the master, in order."""
    same_life = position[2] == told[2]
    return same_life and position[1] is not None and position[0] <= told[0] and position[1] <= told[1]
