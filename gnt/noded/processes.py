"""Running other programs: without a shell, in a session of their own, never left behind.

A child starts as a small gate: a shell that is the leader of a session and waits for its script. Only when its process
id is on record does it get directory, arguments and environment, and becomes the program, under the same id. So a node
daemon that was killed finds every child that may have done something, and ends it before it takes a call; one that
was not yet on record finds its gate closed, and ends by itself. (A Python as gate took as long to start as many a
program of LVM takes in all.)

What leaves its session (a daemon that daemonises properly) is no child any more.
"""

# In a zope interface the first argument is the method's own, there is no self.
# ruff: noqa: N805

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from gnt.model.errors import NodeFailure
from gnt.noded.handler import CallContext, Place
from gnt.noded.sessions import boot_id, group_is_empty, leader_is, members, send_signal, start_time

_log = Logger()

POOL: Final = "processes"
# How long a session that is to end has for TERM, then for KILL, and how often we look.
GRACE: Final = 10.0
LAST_WAIT: Final = 30.0
LOOK_EVERY: Final = 0.1
# A child that left its session may hold our pipes open after the program has ended.
PIPE_WAIT: Final = 1.0
KEEP: Final = 65536

_GATE_FD: Final = 3
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# A shell in a session of its own, which reads what it is to become from its descriptor 3.
_GATE: Final = ("/usr/bin/setsid", "/bin/sh", f"/proc/self/fd/{_GATE_FD}")


@dataclass(frozen=True)
class Finished:
    """How a program ended. Exactly one of `status` and `signal` is set.

    `output` is the end of what it wrote (stdout and, into a log, stderr too), `errors` the end of its stderr.
    `ended_by` says whether it was us: `timeout`, `abort`, or empty.
    """

    status: int | None
    signal: int | None
    output: str = ""
    errors: str = ""
    ended_by: str = ""

    @property
    def ok(self) -> bool:
        """Say whether the program ended with exit status 0, by itself."""
        return self.status == 0 and not self.ended_by

    @property
    def how(self) -> str:
        """Say in words how it ended, for example `exited with exit code 3`."""
        if self.ended_by == "timeout":
            return "ended because it took too long"
        if self.ended_by == "abort":
            return "ended because the call was aborted"
        if self.signal is not None:
            return f"terminated by signal {self.signal}"
        return f"exited with exit code {self.status}"


class IProcesses(Interface):
    """Runs programs for the parts of a node daemon; the simulator puts its own here."""

    def run(
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path = Path("/"),
        stdin: bytes | None = None,
        log: Path | None = None,
        timeout: float,
        context: CallContext | None = None,
        keep: int = KEEP,
        hear: Callable[[bytes], None] | None = None,
        lone: bool = False,
    ) -> Awaitable[Finished]:
        """Run a program to its end, and what it started in its session too.

        `env` is its whole environment. With `log` all output is appended to that file (mode 0600). Of each stream the
        last `keep` bytes are kept; `hear` gets the pieces of stdout as they come (without `log`). After `timeout`
        seconds, or when the call is aborted, the session gets TERM and then KILL. A program that cannot be run ends
        with status 127, or 126 if it is there. `lone` promises that the program starts nothing that leaves its process
        group: then only that is looked for when it has ended, not all processes of the machine. Raises `NodeFailure`
        (`storage_error`) if log or record cannot be written.
        """

    def end_leftovers() -> Awaitable[list[str]]:
        """End what an earlier daemon left running; gives the ids of the calls it belonged to. Before any `run`."""


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """A child on record: enough to find it again, and to know that it is still the same process."""

    pid: int
    start: int
    boot: str
    call: str
    program: str


class _Child(ProcessProtocol):
    """One program under way: keeps the end of its output, and tells when it has ended."""

    transport: Any

    def __init__(self) -> None:
        self.keep = KEEP
        self.hear: Callable[[bytes], None] | None = None
        self.output = bytearray()
        self.errors = bytearray()
        self.status: int | None = None
        self.signal: int | None = None
        self.has_exited = False
        self._exits: list[Deferred[None]] = []
        self.closed: Deferred[None] = Deferred()

    def open_gate(self, cwd: Path, argv: Sequence[str], env: Mapping[str, str], stdin: bytes | None) -> None:
        """Let the child become the program."""
        message = os.fsencode(_script(cwd, argv, env))
        if b"\0" in message:
            self.transport.closeChildFD(_GATE_FD)
            raise NodeFailure("wrong_input", f"An argument or variable for {argv[0]} contains a NUL character")
        # A gate that somebody killed already has no pipes any more; its end is noticed as any other.
        with contextlib.suppress(KeyError):
            if stdin is not None:
                self.transport.writeToChild(0, stdin)
                self.transport.closeChildFD(0)
            self.transport.writeToChild(_GATE_FD, message)
            self.transport.closeChildFD(_GATE_FD)

    def shut_gate(self) -> None:
        """Let the child end without having been anything."""
        self.transport.closeChildFD(_GATE_FD)

    def exited(self) -> Deferred[None]:
        """Fire when the program itself has ended."""
        waiting: Deferred[None] = Deferred(self._exits.remove)
        if self.has_exited:
            waiting.callback(None)
        else:
            self._exits.append(waiting)
        return waiting

    def outReceived(self, data: bytes) -> None:
        """Keep the end of the output, and let somebody hear it."""
        _keep(self.output, data, self.keep)
        if self.hear is not None:
            self.hear(data)

    def errReceived(self, data: bytes) -> None:
        """Keep the end of the error output."""
        _keep(self.errors, data, self.keep)

    def processExited(self, reason: Failure) -> None:
        """Tell whoever waits."""
        self.has_exited = True
        if isinstance(reason.value, ProcessTerminated):
            self.status, self.signal = reason.value.exitCode, reason.value.signal
        else:
            self.status = 0
        if self.signal is not None:
            self.status = None
        waiting, self._exits = self._exits, []
        for one in waiting:
            one.callback(None)

    def processEnded(self, reason: Failure) -> None:  # noqa: ARG002
        """Everything that was written has arrived."""
        self.closed.callback(None)


def _script(cwd: Path, argv: Sequence[str], env: Mapping[str, str]) -> str:
    """Say what a gate is to become. Half of it is no script: a daemon that dies while it writes has opened nothing."""
    exported = [f"{name}={shlex.quote(value)}" for name, value in env.items() if _VARIABLE.fullmatch(name)]
    others = [f"{name}={value}" for name, value in env.items() if not _VARIABLE.fullmatch(name)]
    # A shell has no variables of such names. `env` has, but would take a program with a "=" in it for one.
    words = ["/usr/bin/env", *others, *(["/usr/bin/nice", "-n", "0"] if "=" in argv[0] else []), *argv]
    export = f"export {' '.join(exported)}; " if exported else ""
    return (
        f"{{ exec {_GATE_FD}<&-; umask 022; cd -- {shlex.quote(str(cwd))} || exit 127; unset PWD OLDPWD SHLVL\n"
        f"{export}exec {shlex.join(words if others else argv)}\n}}\n"
    )


def _keep(kept: bytearray, data: bytes, limit: int) -> None:
    """Append, and forget all but the end."""
    kept += data
    if len(kept) > limit:
        del kept[:-limit]


@dataclass
class _Run:
    """A program under way and its end, if we brought that about."""

    child: _Child
    pid: int
    ended_by: str = ""
    ending: list[Deferred[None]] = field(default_factory=list)


@implementer(IProcesses)
class Processes:
    """Runs real programs. `reactor` spawns them; the rest of the time goes by the runtime's clock.

    `spares`: so many gates are kept open after the first run, so that the next ones need not wait for one to start.
    """

    def __init__(self, place: Place, reactor: IReactorProcess, *, grace: float = GRACE, spares: int = 0) -> None:
        self._grace = grace
        self._wanted_spares = spares
        self._spares: list[_Run] = []
        self._opening: IDelayedCall | None = None
        self._runtime = place.runtime
        self._pool = place.runtime.pools(POOL)
        self._reactor = reactor
        self._records = place.layout.run / "children"

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path = Path("/"),
        stdin: bytes | None = None,
        log: Path | None = None,
        timeout: float,  # noqa: ASYNC109 - not asyncio
        context: CallContext | None = None,
        keep: int = KEEP,
        hear: Callable[[bytes], None] | None = None,
        lone: bool = False,
    ) -> Finished:
        """Run a program to its end: `IProcesses.run`."""
        run = self._take_spare() if stdin is None and log is None else None
        if run is None:
            child = _Child()
            run = _Run(child=child, pid=await self._spawn(child, stdin is not None, log))
        child = run.child
        child.keep, child.hear = keep, hear
        record = self._records / str(run.pid)

        def abort() -> None:
            self._bring_about(run, "abort")

        if context is not None:
            context.on_abort.append(abort)
        try:
            await self._pool.run(_write_record, record, run.pid, argv[0], context.id if context else "")
            if not run.ended_by:
                child.open_gate(cwd, argv, env, stdin)
            await self._watch(run, timeout)
        finally:
            if context is not None:
                context.on_abort.remove(abort)
            child.shut_gate()
            if not child.has_exited:
                await child.exited()
            if run.ending or not (lone and group_is_empty(run.pid)):
                await self._end_session(run)
            forgetting = ensureDeferred(self._pool.run(_forget, record))
            await self._drain(child)
            await forgetting
        self._make_spares_soon()
        output = bytes(child.output) if log is None else await self._pool.run(_end_of, log)
        return Finished(
            status=child.status,
            signal=child.signal,
            output=output.decode(errors="replace"),
            errors=bytes(child.errors).decode(errors="replace"),
            ended_by=run.ended_by,
        )

    async def end_leftovers(self) -> list[str]:
        """End what an earlier daemon left running: `IProcesses.end_leftovers`."""
        calls: list[str] = []
        for path, record in await self._pool.run(_read_records, self._records):
            if record is not None and await self._pool.run(_still_there, record):
                _log.warn(
                    "ending {program} (process {pid}), left by an earlier daemon", **msgspec.structs.asdict(record)
                )
                await self._end(record.pid, record.pid)
                calls.append(record.call)
            await self._pool.run(_forget, path)
        return [call for call in calls if call]

    async def _spawn(self, child: _Child, feed: bool, log: Path | None) -> int:
        """Start the gate; gives its process id."""
        into = None
        descriptors: dict[int, int | str] = {0: "w" if feed else "null", 1: "r", 2: "r"}
        try:
            if log is not None:
                into = await self._pool.run(_open_log, log)
                descriptors |= {1: into, 2: into}
            return self._start_gate(child, descriptors)
        finally:
            if into is not None:
                os.close(into)

    def _start_gate(self, child: _Child, descriptors: dict[int, int | str]) -> int:
        """Start the gate; gives its process id. `null` as standard input is nothing to read."""
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            files = {number: null if what == "null" else what for number, what in descriptors.items()}
            transport: Any = self._reactor.spawnProcess(
                child,
                _GATE[0],
                _GATE,
                env={},
                childFDs={**files, _GATE_FD: "w"},
            )
        finally:
            os.close(null)
        return int(transport.pid)

    def stop(self) -> None:
        """Shut the gates that nobody went through."""
        self._wanted_spares = 0
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        for spare in self._spares:
            spare.child.shut_gate()
        self._spares = []

    def _take_spare(self) -> _Run | None:
        """Give a gate that stands open already, if there is one."""
        while self._spares:
            spare = self._spares.pop(0)
            if not spare.child.has_exited:
                return spare
        return None

    def _make_spares_soon(self) -> None:
        """Open gates for the next runs, but not before whoever waits for this one has its answer."""
        if self._opening is None and len(self._spares) < self._wanted_spares:
            self._opening = self._runtime.clock.callLater(0, self._make_spares)

    def _make_spares(self) -> None:
        """Open gates; one that cannot be opened now is opened for the run that needs it."""
        self._opening = None
        while len(self._spares) < self._wanted_spares:
            child = _Child()
            try:
                self._spares.append(_Run(child=child, pid=self._start_gate(child, {0: "null", 1: "r", 2: "r"})))
            except OSError as error:
                _log.warn("no gate for the next program: {error}", error=str(error))
                return

    def _bring_about(self, run: _Run, why: str) -> None:
        """Begin to end a program, once."""
        if not run.ended_by and not run.child.has_exited:
            run.ended_by = why
            run.ending.append(ensureDeferred(self._end(run.pid, run.pid)))

    async def _watch(self, run: _Run, timeout: float) -> None:  # noqa: ASYNC109 - not asyncio
        """Wait for the program's end; bring it about when its time is over."""
        timer = self._runtime.clock.callLater(timeout, self._bring_about, run, "timeout")
        try:
            await run.child.exited()
        except CancelledError:
            self._bring_about(run, "abort")
            raise
        finally:
            if timer.active():
                timer.cancel()

    async def _end_session(self, run: _Run) -> None:
        """After the program: end what it left in its session, since nothing of a call may outlive the call."""
        for ending in run.ending:
            await ending
        await self._end(run.pid, None)

    async def _end(self, session: int, leader: int | None) -> None:
        """End a session: TERM, some time, KILL. `leader` is included even if it has no session of its own yet."""
        for number, patience in ((signal.SIGTERM, self._grace), (signal.SIGKILL, LAST_WAIT)):
            if not await self._pool.run(send_signal, session, leader, number):
                return
            until = self._runtime.clock.seconds() + patience
            while self._runtime.clock.seconds() < until:
                await self._runtime.sleep(LOOK_EVERY)
                if not await self._pool.run(members, session, leader):
                    return
        _log.error("session {session} does not end, not even by SIGKILL", session=session)

    async def _drain(self, child: _Child) -> None:
        """Wait until all output has arrived, but not for somebody who holds the pipe open."""
        timer = self._runtime.clock.callLater(PIPE_WAIT, child.transport.loseConnection)
        await child.closed
        if timer.active():
            timer.cancel()


def _open_log(log: Path) -> int:
    """Open a log file for the program to write to."""
    try:
        log.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NodeFailure("storage_error", f"Cannot write the log {log}: {error.strerror}") from error


def _end_of(log: Path) -> bytes:
    """Read the end of a log file."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - KEEP))
        return file.read()


def _write_record(path: Path, pid: int, program: str, call: str) -> None:
    """Put a child on record. It must outlive this daemon, not the machine: no fsync."""
    start = start_time(pid)
    if start is None:
        raise NodeFailure("storage_error", f"{program} ended before it began")
    record = _Record(pid=pid, start=start, boot=boot_id(), call=call, program=program)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}")
        fresh.write_bytes(msgspec.json.encode(record))
        fresh.replace(path)
    except OSError as error:
        raise NodeFailure("storage_error", f"Cannot record a child in {path}: {error.strerror}") from error


def _forget(path: Path) -> None:
    """Take a record away. One that stays does no harm: the next daemon sees that its process has gone."""
    with contextlib.suppress(OSError):
        path.unlink()


def _read_records(directory: Path) -> list[tuple[Path, _Record | None]]:
    """Read all records; None for one that is not whole (the machine went down while it was written)."""
    found: list[tuple[Path, _Record | None]] = []
    for path in sorted(directory.glob("*")) if directory.is_dir() else ():
        try:
            found.append((path, msgspec.json.decode(path.read_bytes(), type=_Record)))
        except msgspec.DecodeError:
            found.append((path, None))
    return found


def _still_there(record: _Record) -> bool:
    """Say whether a recorded child, or something in its session, is alive.

    As long as anything is in the session its number cannot be given to another process: only if the number is free,
    or still the child's own, can the session be the one that we made.
    """
    if record.boot != boot_id() or leader_is(record.pid, record.start) is False:
        return False
    return bool(members(record.pid, record.pid))
