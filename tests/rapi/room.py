"""The remote API without sockets: a master that answers from a script, and clients that send bytes."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from gnt.model.errors import GntError, JobLost, Refused
from gnt.opcodes.registry import ALL
from gnt.rapi.service import RemoteApi, Settings
from gnt.wire.luxi import encode_failure, encode_response
from gnt.wire.luxi_frames import FrameSplitter

USERS = """\
# name password options
writer secret1 write
reader {cleartext}secret2 read
plain secret3
hashed {ha1}9dd1e8d6b3d8c1b1a6e7a4ab16d29a13 write
"""
WRITER = "writer:secret1"
READER = "reader:secret2"
PLAIN = "plain:secret3"

Answer = Any
Handler = Callable[..., Answer]


class _Wire(StringTransport):
    """The client's end of a LUXI connection; what is written is answered at once, or when the test says."""

    def __init__(self, master: FakeMaster) -> None:
        super().__init__()
        self.master = master
        self.splitter = FrameSplitter()
        self.protocol: Any = None
        self.aborted = False

    def write(self, data: bytes) -> None:
        """Take a request."""
        for frame in self.splitter.feed(data):
            self.master.take(self, json.loads(frame))

    def abortConnection(self) -> None:
        """Close."""
        if not self.aborted:
            self.aborted = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


@implementer(IStreamClientEndpoint)
class FakeMaster:
    """Answers methods from `answers`: a value, an error, a callable, or a Deferred. Remembers what was asked.

    It carries out all opcodes that there are, unless a test says otherwise; being asked which is not remembered. What
    is asked for if it has changed always has.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"Abilities": {"opcodes": sorted(ALL)}}
        self.asked: list[tuple[str, list[Any]]] = []
        self.wires: list[_Wire] = []
        self.changed = 0
        self.down: ConnectError | None = None

    def connect(self, factory: Any) -> Deferred[Any]:
        """Connect, or not."""
        if self.down is not None:
            return fail(self.down)
        wire = _Wire(self)
        wire.protocol = factory.buildProtocol(None)
        self.wires.append(wire)
        wire.protocol.makeConnection(wire)
        return succeed(wire.protocol)

    def take(self, wire: _Wire, request: dict[str, Any]) -> None:
        """Answer a request."""
        method, args = request["method"], request["args"]
        if method == "IfChanged" and "IfChanged" not in self.answers:
            _, method, args = args
            self.changed += 1
            self._take(wire, method, args, lambda result: {"stamp": str(self.changed), "result": result})
        else:
            self._take(wire, method, args, lambda result: result)

    def _take(self, wire: _Wire, method: str, args: list[Any], shape: Callable[[Any], Any]) -> None:
        if method != "Abilities":
            self.asked.append((method, args))
        answer = self.answers.get(method, GntError("bad_request", f"nobody expected {method}"))
        if callable(answer) and not isinstance(answer, Deferred):
            answer = answer(*args)
        if isinstance(answer, Deferred):
            answer.addBoth(lambda value: self.send(wire, value.value if isinstance(value, Failure) else value, shape))
        else:
            self.send(wire, answer, shape)

    def send(self, wire: _Wire, answer: Any, shape: Callable[[Any], Any] = lambda result: result) -> None:
        """Send an answer; `None` hangs up instead."""
        if wire.aborted:
            return
        if answer is HANG_UP:
            wire.abortConnection()
        elif isinstance(answer, bytes):
            wire.protocol.dataReceived(answer)
        else:
            encoded = encode_failure(answer) if isinstance(answer, Exception) else encode_response(shape(answer))
            wire.protocol.dataReceived(encoded)

    def methods(self) -> list[str]:
        """Name the methods that were called."""
        return [method for method, _ in self.asked]

    def submitted(self) -> dict[str, Any]:
        """Give the only opcode of the last job."""
        ops, _ = next(args for method, args in reversed(self.asked) if method == "SubmitJob")
        (op,) = ops
        return dict(op)


HANG_UP = object()


@dataclass(frozen=True)
class Response:
    """An answer. `headers` by lower case name."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Give the value of the body, unpacked if it is."""
        packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)


class Client(StringTransport):
    """One connection of a client."""

    def __init__(self, room: Room, address: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 40000))
        self.gone = False
        self.channel: Any = room.api.site.buildProtocol(self.getPeer())
        if self.channel is not None:
            self.channel.makeConnection(self)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.channel.dataReceived(data)

    def received(self) -> list[Response]:
        """Take what has come, as whole answers."""
        data = self.value()
        self.clear()
        found = []
        while data:
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            _, status, phrase = first.split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", "0"))
            found.append(Response(int(status), phrase, headers, data[:length]))
            data = data[length:]
        return found

    def abortConnection(self) -> None:
        """Close at once."""
        self.hang_up()

    def hang_up(self) -> None:
        """Go away."""
        if not self.gone:
            self.gone = True
            self.channel.connectionLost(Failure(ConnectionDone()))


class InlinePools:
    """Pools whose work is done at once, or, with `held`, when `go` is called."""

    def __init__(self) -> None:
        self.held = False
        self.done = 0
        self._waiting: list[Callable[[], None]] = []

    def __call__(self, name: str) -> InlinePools:
        """Give the pool."""
        del name
        return self

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Do work."""
        result: Deferred[Any] = Deferred()

        def do() -> None:
            self.done += 1
            value = work(*args, **kwargs)
            if not result.called:
                result.callback(value)

        if self.held:
            self._waiting.append(do)
        else:
            do()
        return result

    def go(self) -> None:
        """Do what was held."""
        self.held, waiting, self._waiting = False, self._waiting, []
        for do in waiting:
            do()


class Room:
    """The remote API, its master and its clock. `ask` sends one request over a new connection."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.master = FakeMaster()
        self.pools = InlinePools()
        self.users = directory / "users"
        self.users.write_text(USERS)
        self.users.chmod(0o640)
        self.access_log = directory / "rapi-access.log"
        self.api = RemoteApi(
            Settings(users=self.users, access_log=self.access_log, **settings), self.master, self.clock, self.pools
        )

    def client(self, address: str = "192.0.2.7") -> Client:
        """Connect."""
        return Client(self, address)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str | None = WRITER,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        address: str = "192.0.2.7",
    ) -> Response:
        """Ask, and give the answer, which has to come at once."""
        client = self.client(address)
        client.send(request(method, path, body, user=user, headers=headers, raw=raw))
        (response,) = client.received()
        client.hang_up()
        return response


def request(
    method: str,
    path: str,
    body: Any = None,
    *,
    user: str | None = WRITER,
    headers: Mapping[str, str] | None = None,
    raw: bytes | None = None,
) -> bytes:
    """Give the bytes of a request."""
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    wanted = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(len(content))}
    if user is not None:
        wanted["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    wanted |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in wanted.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + content


def table(fields: list[str], *rows: Mapping[str, Any]) -> dict[str, Any]:
    """Give the answer of Query: cells that a row does not name have no data."""
    data = [[[0, row[field]] if field in row else [2, None] for field in fields] for row in rows]
    return {"fields": [{"name": field, "title": field, "kind": "other", "doc": ""} for field in fields], "data": data}


def objects(**kinds: list[Mapping[str, Any]]) -> Handler:
    """Make what answers Query from objects by kind; names that there are not are refused as the master does."""

    def query(what: str, fields: list[str], wanted: Any) -> Any:
        found = kinds[what]
        if wanted is not None:
            names = [condition[2] for condition in wanted[1:]]
            for name in names:
                if all(row["name"] != name for row in found):
                    return Refused("unknown_entity", f"There is no {what} named {name}")
            found = [row for row in found if row["name"] in names]
        return table(fields, *found)

    return query


def lost(number: int) -> JobLost:
    """Give the error for a job that there is not."""
    return JobLost(f"Job {number} not found")
