"""The remote API: requests a second, how soon an event is there, memory; each figure beside its goal.

Run: `python -m bench.rapi [--short]`. Real daemons of one node on this machine, hypervisor `fake`, 1,000 instances;
clients are in this process, over TLS, with a login, and keep their connections. Beside each rate stands what a request
costs in processor time of the API and of the master daemon: that says something on a machine which others use too.
"""

from __future__ import annotations

import base64
import os
import selectors
import socket
import ssl
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bench.figures.__main__ import filled
from bench.figures.machine import resident_mib
from tests.live import PASSWORD, Live, add_rapi_user, init, trees

INSTANCES = 1000
CLIENTS = 8
LISTENERS = 100
LOGIN = base64.b64encode(f"demo:{PASSWORD}".encode()).decode()


class Client:
    """One connection that stays; `ask` gives status, head and body."""

    def __init__(self, live: Live, context: ssl.SSLContext) -> None:
        plain = socket.create_connection((live.address("node1"), 5080), timeout=30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=live.address("node1"))
        self._rest = b""

    def request(self, path: str, *more: str) -> bytes:
        """Give the bytes of a request."""
        lines = (f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Basic {LOGIN}", *more, "", "")
        return "\r\n".join(lines).encode()

    def ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Ask, and wait for the whole answer."""
        self.socket.sendall(request)
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            self._receive()
        head = self._rest[:end]
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)
        while len(self._rest) < end + 4 + length:
            self._receive()
        body, self._rest = self._rest[end + 4 : end + 4 + length], self._rest[end + 4 + length :]
        return int(head[9:12]), head, body

    def _receive(self) -> None:
        data = self.socket.recv(1 << 20)
        assert data, "the connection ended"
        self._rest += data


@contextmanager
def cluster() -> Iterator[tuple[Live, Callable[[], Client]]]:
    """Give a running cluster, and what connects to its remote API."""
    with trees(1) as live:
        init(live)
        filled(live, instances=INSTANCES)
        add_rapi_user(live)
        live.start("node1", "gnt-rapi")
        context = ssl.create_default_context(cafile=str(live.layout("node1").authority_certificate))
        yield live, lambda: Client(live, context)


def spent(live: Live) -> tuple[float, float]:
    """Give the seconds of processor time that the API and the master daemon have used."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = []
    for daemon in ("gnt-rapi", "gnt-masterd"):
        fields = Path(f"/proc/{live.pid('node1', daemon)}/stat").read_text().rpartition(")")[2].split()
        found.append((int(fields[11]) + int(fields[12])) / ticks)
    return found[0], found[1]


def rate(live: Live, connect: Callable[[], Client], seconds: float, asked: Sequence[str], clients: int) -> Found:
    """Ask for a path (with more lines of the head) side by side, for so long."""
    times: list[float] = []
    statuses: set[int] = set()
    before = spent(live)
    end = time.perf_counter() + seconds

    def work() -> None:
        client = connect()
        request = client.request(*asked)
        client.ask(request)
        own = []
        while (begin := time.perf_counter()) < end:
            statuses.add(client.ask(request)[0])
            own.append(time.perf_counter() - begin)
        times.extend(own)
        client.socket.close()

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (status,) = statuses
    cpu = [(now - then) * 1000 / len(times) for then, now in zip(before, spent(live), strict=True)]
    return Found(len(times) / seconds, statistics.median(times) * 1000, status, cpu[0], cpu[1])


class Found(NamedTuple):
    """Answers a second, median ms, status, ms of processor time of API and master daemon for each."""

    rate: float
    median: float
    status: int
    api: float
    master: float

    def text(self) -> str:
        """Give it for people."""
        return f"{self.rate:.0f}/s, {self.median:.1f} ms (cpu {self.api:.2f} + {self.master:.2f} ms)"


class Listening:
    """Clients that listen to the event stream, in a thread; `arrived` has the times at which jobs were told of."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.arrived: dict[int, list[float]] = {}
        self._pending = dict.fromkeys(clients, b"")
        self._poll = selectors.DefaultSelector()
        self._stopped = threading.Event()
        for client in clients:
            client.socket.sendall(client.request("/3/events"))
        for client in clients:
            seen = b""
            while b"event: start" not in seen:
                seen += client.socket.recv(65536)
            client.socket.setblocking(False)
            self._poll.register(client.socket, selectors.EVENT_READ, client)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopped.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            for key, _ in self._poll.select(0.1):
                self._take(key.data)

    def _take(self, client: Client) -> None:
        with suppress(ssl.SSLWantReadError):
            while True:
                self._pending[client] += client.socket.recv(65536)
        now = time.perf_counter()
        *blocks, self._pending[client] = self._pending[client].split(b"\n\n")
        for block in blocks:
            for piece in block.split(b'"kind":"job","id":')[1:]:
                self.arrived.setdefault(int(piece.partition(b",")[0]), []).append(now)


def events(live: Live, connect: Callable[[], Client], rounds: int) -> list[float]:
    """Give, for each event and listener, the ms between the commit being acknowledged and the event's arrival."""
    clients = [connect() for _ in range(LISTENERS)]
    listening = Listening(clients)
    answered: dict[int, float] = {}
    for _ in range(rounds):
        number = live.luxi("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 0}])
        answered[int(number)] = time.perf_counter()
        time.sleep(0.1)
    time.sleep(0.5)
    listening.stop()
    found = []
    for number, begin in answered.items():
        firsts = sorted(listening.arrived.get(number, []))
        assert len(firsts) >= LISTENERS, f"job {number} was told to {len(firsts)} of {LISTENERS}"
        found += [max(0.0, (at - begin) * 1000) for at in firsts[:LISTENERS]]
    for client in clients:
        client.socket.close()
    return sorted(found)


def show(what: str, value: str, goal: str) -> None:
    """Print a figure."""
    print(f"{what:62}{value:>40}   goal {goal}", flush=True)


def main() -> None:
    """Print the figures."""
    seconds = 2.0 if "--short" in sys.argv else 6.0
    bulk = "/2/instances?bulk=1"
    print(f"load of the machine by others before: {os.getloadavg()[0]:.1f}")
    with cluster() as (live, connect):
        found = rate(live, connect, seconds, ["/2/info"], CLIENTS)
        show(f"/2/info, {CLIENTS} keep-alive clients, TLS, authenticated", found.text(), "1,500/s")
        for several in (1, CLIENTS):
            found = rate(live, connect, seconds, [bulk], several)
            show(f"{bulk}, {INSTANCES} instances, live, {several} clients", found.text(), "25/s, 50 ms")
        one = connect()
        tag = one.ask(one.request(bulk))[1].partition(b"ETag: ")[2].partition(b"\r\n")[0].decode()
        found = rate(live, connect, seconds, [bulk, f"If-None-Match: {tag}"], CLIENTS)
        show(f"the same with If-None-Match, nothing changed: {found.status}", found.text(), "500/s")
        late = events(live, connect, 20 if seconds < 3 else 60)
        show(f"event after its commit, {LISTENERS} listeners, p99", f"{late[int(len(late) * 0.99)]:.1f} ms", "20 ms")
        clients = [connect() for _ in range(100)]
        for client in clients:
            client.ask(client.request("/2/info"))
            client.ask(client.request(bulk))
        memory = resident_mib(live.pid("node1", "gnt-rapi"))
        show("memory of gnt-rapi with 100 clients", f"{memory:.0f} MiB", "80 MiB")


if __name__ == "__main__":
    main()
