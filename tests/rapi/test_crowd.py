"""Many clients, and clients that dawdle: nobody is held up by them."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from typing import Any

from twisted.internet.threads import deferToThread

from gnt.daemon.open_files import allow_many
from gnt.rapi.http import PATIENCE, REST
from gnt.rapi.service import MOST_CLIENTS
from tests.rapi.room import Room, request
from tests.rapi.socket_room import LOGIN, SocketCase

IDLE = 1000
ANSWERING = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


class Crowd(SocketCase):
    """A thousand connections that rest."""

    timeout = 120
    most_clients = MOST_CLIENTS

    async def test_a_thousand_idle_connections(self) -> None:
        """They stay, half of them silent from the start, and a client that comes then is served at once."""
        allow_many()
        found = await deferToThread(self.crowd)
        assert found["alive"] == IDLE
        assert found["version"] == 2
        assert found["seconds"] < 10

    def crowd(self) -> dict[str, Any]:
        """Connect, rest, ask."""
        context = self.context()
        idle: list[socket.socket] = []
        for number in range(IDLE):
            plain = socket.create_connection(("127.0.0.1", self.number), timeout=60)
            if number % 10:
                idle.append(plain)
                continue
            secure = context.wrap_socket(plain, server_hostname="127.0.0.1")
            secure.sendall(ANSWERING)
            assert secure.recv(1000).startswith(b"HTTP/1.1 200")
            idle.append(secure)
        begin = time.monotonic()
        connection = http.client.HTTPSConnection("127.0.0.1", self.number, timeout=60, context=context)
        connection.request("GET", "/version", headers=LOGIN)
        version = json.loads(connection.getresponse().read())
        seconds = time.monotonic() - begin
        connection.close()
        alive = sum(map(_is_open, idle))
        for one in idle:
            one.close()
        return {"alive": alive, "version": version, "seconds": seconds}

    async def test_half_open_clients_hold_up_nobody(self) -> None:
        """Half a handshake, half a request, half a body, an answer that is not read: others are served meanwhile."""
        self.methods.answers["QueryClusterInfo"] = {"name": "demo", "much": ["x" * 100] * 20_000}
        found = await deferToThread(self.dawdle)
        assert found == [2] * 5

    def dawdle(self) -> list[int]:
        """Leave things half done, and ask properly."""
        login = f"Authorization: {LOGIN['Authorization']}\r\n".encode()
        halves = [
            b"GET /vers",
            b"POST /2/instances HTTP/1.1\r\nHost: x\r\n" + login + b"Content-Length: 1000\r\n\r\n{",
            (b"GET /2/info HTTP/1.1\r\nHost: x\r\n" + login + b"\r\n") * 20,
        ]
        plain = socket.create_connection(("127.0.0.1", self.number), timeout=10)
        plain.sendall(b"\x16\x03\x01\x02\x00")
        left: list[socket.socket] = [plain]
        for half in halves:
            secure = self.connect()
            secure.sendall(half)
            left.append(secure)
        found = []
        for _ in range(5):
            connection = http.client.HTTPSConnection("127.0.0.1", self.number, timeout=10, context=self.context())
            connection.request("GET", "/version")
            found.append(json.loads(connection.getresponse().read()))
            connection.close()
        for one in left:
            one.close()
        return found


def _is_open(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return bool(one.recv(1))
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def test_a_connection_rests_for_minutes(room: Room) -> None:
    """Between requests; a new request has to come whole in its time all the same, and so has the first."""
    client = room.client()
    for _ in range(3):
        client.send(request("GET", "/version"))
        assert client.received()[0].status == 200
        room.clock.advance(REST - 1)
        assert not client.disconnecting
    client.send(b"GET /ver")
    room.clock.advance(PATIENCE + 1)
    assert client.disconnecting
    client.hang_up()
    silent, resting = room.client(), room.client()
    resting.send(request("GET", "/version"))
    room.clock.advance(PATIENCE + 1)
    assert (silent.disconnecting, resting.disconnecting) == (True, False)
    room.clock.advance(REST)
    assert resting.disconnecting
    for one in (silent, resting):
        one.hang_up()
