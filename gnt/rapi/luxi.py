"""The master daemon as the remote API sees it: LUXI without blocking, over a few connections.

A connection carries one request at a time. Requests that wait for a job to change may take long, so they have
connections of their own and keep no others from being answered.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from gnt.daemon.runtime import Clock
from gnt.model.errors import WRONG_INPUT, GntError, JobLost, Refused
from gnt.opcodes.base import Opcode
from gnt.opcodes.registry import encode_opcode
from gnt.wire.luxi import decode_response, encode_request
from gnt.wire.luxi_client import JobChange
from gnt.wire.luxi_frames import MAX_REQUEST, NO_CHANGE, TIMEOUT, FrameSplitter, parse_job_id

QUICK_LINES: Final = 8
"""Connections for what is answered at once."""

WAITING_LINES: Final = 64
"""Connections for requests that wait for something to happen."""

PATIENCE: Final = 10.0
"""Seconds for which a submission waits for a majority of the candidates; then its client hears why it takes so long."""

WAIT: Final = "WaitForJobChange"
READING: Final = ("Query", "IfChanged", "Abilities", "CheckApiToken", "Wait")
"""How methods begin that change nothing: they may be asked again."""

log: Final = Logger()


class _Lost(Exception):
    """The connection ended before the answer came."""


class _Line(Protocol):
    """One connection: a request, its answer, the next request."""

    transport: Any

    def __init__(self, ended: Callable[[], None]) -> None:
        self.alive = True
        self.used = False
        self._ended = ended
        self._splitter = FrameSplitter()
        self._waiting: Deferred[bytes] | None = None
        self._early: bytes | None = None

    def ask(self, frame: bytes) -> Deferred[bytes]:
        """Send a request; fires with the answer, or fails with `_Lost`. Cancelling it ends the connection."""
        answer: Deferred[bytes] = Deferred(self._give_up)
        early, self._early = self._early, None
        if early is not None:  # the master said at once that it takes no clients
            self.close()
            answer.callback(early)
        elif not self.alive:
            answer.errback(_Lost())
        else:
            self._waiting = answer
            self.transport.write(frame)
        return answer

    def _give_up(self, _: object) -> None:
        """Close: what comes later would be taken for another request's answer."""
        self._waiting = None
        self.close()

    def dataReceived(self, data: bytes) -> None:
        """Take the next piece of an answer."""
        try:
            frames = self._splitter.feed(data)
        except GntError as problem:
            self._end(problem)
            return
        if len(frames) > 1 or (frames and self._splitter.pending):
            self._end(GntError("luxi_error", "the master answered more than was asked"))
        elif frames and self._waiting is None:
            if self.used:
                self.close()  # nothing was asked
            else:
                self._early = frames[0]
        elif frames:
            self.used = True
            waiting, self._waiting = self._waiting, None
            assert waiting is not None  # noqa: S101 - the branch above
            waiting.callback(frames[0])

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: ARG002
        """Fail what waits."""
        self._end(_Lost())

    def _end(self, problem: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        self.close()
        if waiting is not None:
            waiting.errback(problem)

    def close(self) -> None:
        """End the connection."""
        if self.alive:
            self.alive = False
            self.transport.abortConnection()
            self._ended()


class _Lines:
    """Connections for one kind of request, at most so many; those that rest are used again."""

    def __init__(self, endpoint: IStreamClientEndpoint, most: int, ended: Callable[[], None]) -> None:
        self._endpoint = endpoint
        self._ended = ended
        self._free = DeferredSemaphore(most)
        self._resting: list[_Line] = []

    async def ask(self, frame: bytes, *, again: bool) -> bytes:
        """Ask on a free connection. `again`: may be asked twice, if a connection that had rested turns out dead."""
        await self._free.acquire()
        try:
            line = await self._line()
            rested = line.used
            try:
                answer = await line.ask(frame)
            except _Lost:
                if not (again and rested):
                    raise
                line = await self._fresh()
                answer = await line.ask(frame)
            if line.alive:
                self._resting.append(line)
            return answer
        finally:
            self._free.release()

    async def _line(self) -> _Line:
        while self._resting:
            line = self._resting.pop()
            if line.alive:
                return line
        return await self._fresh()

    async def _fresh(self) -> _Line:
        connecting: Deferred[_Line] = connectProtocol(self._endpoint, _Line(self._ended))  # type: ignore[no-untyped-call]
        return await connecting

    def close(self) -> None:
        """End the connections that rest."""
        while self._resting:
            self._resting.pop().close()


class Master:
    """Asks the master daemon. `timeout` is in seconds, from the call to its answer.

    Every method raises the error that the master answered, or `GntError`: `no_master`, `permission`, `timeout`,
    `connection_lost` (what was asked may have been done) and `luxi_error` (the answer cannot be understood).
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: Clock,
        *,
        timeout: float = TIMEOUT,
        quick: int = QUICK_LINES,
        waiting: int = WAITING_LINES,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        self._quick = _Lines(endpoint, quick, self._forget)
        self._waiting = _Lines(endpoint, waiting, self._forget)
        self._opcodes: frozenset[str] | None = None

    def close(self) -> None:
        """End the connections that rest."""
        self._quick.close()
        self._waiting.close()

    async def call(self, method: str, *args: Any, patience: float = 0.0) -> Any:
        """Call a method that only reads. `patience` are seconds that the answer may take beyond the timeout.

        Who is cancelled while it waits, waits no longer; what is asked is given up.
        """
        return await self._ask(method, args, patience)

    async def change(self, method: str, *args: Any) -> Any:
        """Call a method that changes something: it goes on to its end although its caller be cancelled."""
        work = Deferred.fromCoroutine(self._ask(method, args, 0.0))
        return await shielded(method, work)

    async def _ask(self, method: str, args: Sequence[Any], patience: float) -> Any:
        try:
            frame = encode_request(method, args)
        except RecursionError:
            raise Refused(WRONG_INPUT, f"{method}: nested too deeply") from None
        if len(frame) > MAX_REQUEST:
            raise Refused(WRONG_INPUT, f"{method} request has {len(frame)} bytes, allowed are {MAX_REQUEST}")
        lines = self._waiting if method.startswith("Wait") else self._quick
        asking = Deferred.fromCoroutine(lines.ask(frame, again=method.startswith(READING)))
        asking.addTimeout(self._timeout + patience, self._clock)  # type: ignore[arg-type]
        try:
            answer = await asking
        except DeferredTimeout:
            raise _unanswered("timeout", f"the master daemon did not answer {method} in time", method) from None
        except _Lost:
            raise _unanswered(
                "connection_lost", f"the connection to the master broke during {method}", method
            ) from None
        except ConnectError as problem:
            raise _not_connected(problem) from None
        return decode_response(answer)

    async def carries_out(self) -> frozenset[str]:
        """Give the `OP_ID`s of the opcodes that the master carries out.

        Asked once for as long as no connection to it has ended: it may be another version by then.
        """
        if self._opcodes is None:
            answer = await self.call("Abilities")
            try:
                self._opcodes = frozenset(msgspec.convert(answer["opcodes"], list[str]))
            except (TypeError, KeyError, msgspec.ValidationError):
                raise GntError("luxi_error", "the master answered Abilities with something else") from None
        return self._opcodes

    def _forget(self) -> None:
        self._opcodes = None

    async def submit(self, opcodes: Sequence[Opcode]) -> int:
        """Submit a job and give its number; once begun, it is carried through.

        Raises after `PATIENCE` what keeps it from being durable (`in_doubt`: it may become a job all the same).
        """
        return _number(await self.change("SubmitJob", [encode_opcode(opcode) for opcode in opcodes], PATIENCE))

    async def wait_for_job_change(
        self, job: int, fields: Sequence[str], previous: Any, serial: int | None, wait: float
    ) -> JobChange | None:
        """Wait until the fields differ from `previous` or there are log entries after `serial`.

        Gives None when nothing changed within `wait` seconds. Raises `JobLost` when there is no such job.
        """
        answer = await self.call(WAIT, job, list(fields), previous, serial, wait, patience=wait)
        if answer == NO_CHANGE:
            return None
        if answer is None:
            raise JobLost(f"there is no job {job}")
        match answer:
            case [list(info), list(entries)]:
                return JobChange(info, entries)
        raise GntError("luxi_error", f"the master answered {WAIT} with something else")


def shielded(what: str, work: Deferred[Any]) -> Deferred[Any]:
    """Give a Deferred that fires as `work` does; cancelling it leaves `work` going on, and logs how it ended."""
    outer: Deferred[Any] = Deferred()

    def ended(result: Any) -> None:
        if not outer.called:
            outer.callback(result)
        elif isinstance(result, Failure):
            log.warn("{what}, whose client had gone, failed: {problem}", what=what, problem=str(result.value))
        else:
            log.info("{what}, whose client had gone, was done", what=what)

    work.addBoth(ended)
    return outer


def _number(value: Any) -> int:
    try:
        return parse_job_id(value)
    except Refused:
        raise GntError("luxi_error", "the master answered SubmitJob with something else") from None


def _unanswered(code: str, text: str, method: str) -> GntError:
    """Make the error for a request whose answer did not come: what only reads has changed nothing."""
    if method.startswith(READING):
        return GntError(code, text)
    error = GntError(code, f"{text}; what was asked for may be done all the same")
    error.in_doubt = True
    return error


def _not_connected(problem: ConnectError) -> GntError:
    """Say why there is no connection."""
    if problem.osError in {errno.EACCES, errno.EPERM}:
        return GntError("permission", "not allowed to connect to the master daemon's socket")
    return GntError(
        "no_master",
        "the master daemon does not answer on this node",
        hint="gnt-cluster getmaster names the master node; gnt-masterd must run there",
    )
