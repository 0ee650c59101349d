"""The remote API over TLS, and its way to the master over LUXI, on real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from gnt.model.errors import ConfigError
from gnt.rapi.tls import RapiTls
from gnt.wire import certificates
from tests.rapi.socket_room import LOGIN, SOURCE, SocketCase, reactor


class OverSockets(SocketCase):
    """What clients see."""

    def request(self, *asked: tuple[str, str]) -> list[Any]:
        """Ask several things over one connection."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.number, timeout=10, context=self.context())
        found = []
        for method, path in asked:
            connection.request(method, path, headers=LOGIN)
            found.append(json.loads(connection.getresponse().read()))
        connection.close()
        return found

    async def thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Let a client work beside the reactor."""
        return await deferToThread(work, *arguments)

    async def test_a_client_that_trusts_the_cluster(self) -> None:
        """Certificate, name, several requests over one connection, the master behind."""
        answers = await self.thread(
            self.request, ("GET", "/version"), ("GET", "/2/info"), ("PUT", "/2/instances/web1/startup"), ("GET", "/x")
        )
        assert answers[0] == 2
        assert answers[1]["name"] == "demo"
        assert answers[2] == 7
        assert answers[3]["code"] == 404

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
    async def test_versions_and_ciphers(self) -> None:
        """TLS 1.2 and 1.3 with forward secrecy; nothing older or weaker."""

        def version(least: ssl.TLSVersion, most: ssl.TLSVersion, ciphers: str = "DEFAULT@SECLEVEL=0") -> str | None:
            context = self.context()
            context.minimum_version, context.maximum_version = least, most
            context.set_ciphers(ciphers)
            with self.connect(context) as connected:
                return connected.version()

        v1, v2, v3 = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        assert await self.thread(version, v2, v2) == "TLSv1.2"
        assert await self.thread(version, v3, v3) == "TLSv1.3"
        for least, most, ciphers in ((v1, ssl.TLSVersion.TLSv1_1, "DEFAULT@SECLEVEL=0"), (v2, v2, "ECDHE+AES+SHA")):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await self.thread(version, least, most, ciphers)

    async def test_a_renewed_certificate_needs_no_restart(self) -> None:
        """New connections see it at once; a damaged file changes nothing."""

        def certificate() -> bytes | None:
            with self.connect() as connected:
                return connected.getpeercert(binary_form=True)

        first = await self.thread(certificate)
        assert first == await self.thread(certificate)
        self.renew()
        second = await self.thread(certificate)
        assert first != second
        self.pem.write_text("damaged")
        assert second == await self.thread(certificate)
        self.pem.unlink()
        assert second == await self.thread(certificate)

    async def test_whoever_speaks_no_tls(self) -> None:
        """Plain HTTP and garbage are cut off, others go on."""

        def speak(data: bytes) -> bytes:
            with socket.create_connection(("127.0.0.1", self.number), timeout=10) as plain:
                plain.sendall(data)
                try:
                    return plain.recv(1000)
                except ConnectionError:
                    return b""

        for data in (b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 500):
            assert b"HTTP" not in await self.thread(speak, data)
        assert await self.thread(self.request, ("GET", "/version")) == [2]

    async def test_who_waits_for_a_job_holds_up_nobody(self) -> None:
        """Other requests are answered while a dozen wait."""

        def wait() -> Any:
            connection = http.client.HTTPSConnection("127.0.0.1", self.number, timeout=10, context=self.context())
            body = json.dumps({"fields": ["status"]})
            headers = {**LOGIN, "Content-Type": "application/json"}
            connection.request("GET", "/2/jobs/1/wait", body=body, headers=headers)
            try:
                return json.loads(connection.getresponse().read())
            finally:
                connection.close()

        waits = [deferToThread(wait) for _ in range(6)]
        while len(self.methods.waiting) < 6:
            assert (await self.thread(self.request, ("GET", "/2/info")))[0]["name"] == "demo"
        for waiting in self.methods.waiting:
            waiting.callback([["success"], []])
        for answered in waits:
            assert await answered == {"job_info": ["success"], "log_entries": []}

    async def test_a_master_that_is_gone(self) -> None:
        """502 while there is none, and back when it is."""
        await self.luxi.stop()
        (answer,) = await self.thread(self.request, ("GET", "/2/info"))
        assert answer["code"] == 502
        assert "gnt-cluster getmaster" in answer["message"]
        self.luxi.start(reactor)
        (answer,) = await self.thread(self.request, ("GET", "/2/info"))
        assert answer["name"] == "demo"

    def test_files_that_are_of_no_use(self) -> None:
        """Each is named: missing, no certificate, another's key, a bad chain."""
        other = self.path / "other.pem"
        other.write_bytes(
            certificates.make_rapi(
                self.authority, cluster_name="x", names=[], addresses=[], now=time.time(), source=SOURCE
            ).pem()
        )
        text = self.path / "text"
        text.write_text("text")
        missing = self.path / "missing"
        ca = self.path / "ca.pem"
        for tls, named in (
            (RapiTls(missing, missing), missing),
            (RapiTls(text, text), text),
            (RapiTls(other, self.pem), other),
            (RapiTls(self.pem, self.pem, text), text),
        ):
            with pytest.raises(ConfigError) as refused:
                tls.check()
            assert str(named) in refused.value.text
        RapiTls(self.pem, self.pem, ca).check()


class TooMany(SocketCase):
    """More clients than the remote API serves."""

    most_clients = 1

    def setUp(self) -> None:
        """Notice when the master is asked to wait."""
        super().setUp()
        self.asked = threading.Event()
        self.answer: Deferred[Any] = Deferred()
        self.addCleanup(self.answer.callback, "nochange")
        self.methods.answers["WaitForJobChange"] = self.wait

    def wait(self, *_arguments: Any) -> Any:
        """Keep a client waiting."""
        self.asked.set()
        return self.answer

    def plain(self) -> socket.socket:
        """Connect without TLS."""
        return socket.create_connection(("127.0.0.1", self.number), timeout=10)

    def silent(self) -> tuple[bytes, bytes]:
        """Let one client say nothing and two more come; give what each of the first two reads in the end."""
        with self.plain() as first, self.plain() as second:
            with self.connect() as third:
                third.sendall(b"GET /version HTTP/1.1\r\nHost: demo\r\n\r\n")
                assert third.recv(100).startswith(b"HTTP/1.1 200")
            return _end(first), _end(second)

    async def test_silent_ones_make_room(self) -> None:
        """Nobody shuts others out by connecting and saying nothing, not even TLS."""
        assert await deferToThread(self.silent) == (b"", b"")

    def refused(self) -> bytes:
        """Let one client wait for an answer and another one come; give what that one reads."""
        with self.connect() as first:
            body = json.dumps({"fields": ["status"], "previous_job_info": None, "previous_log_serial": None})
            head = f"Authorization: {LOGIN['Authorization']}\r\nContent-Type: application/json"
            length = f"Content-Length: {len(body)}"
            first.sendall(f"GET /2/jobs/1/wait HTTP/1.1\r\nHost: demo\r\n{head}\r\n{length}\r\n\r\n{body}".encode())
            assert self.asked.wait(10)
            with self.plain() as second:
                return _end(second)

    async def test_one_too_many_is_closed_without_a_word_in_the_log(self) -> None:
        """Refused before TLS begins; trial fails a test after which an unhandled error was logged."""
        assert await deferToThread(self.refused) == b""


def _end(connection: socket.socket) -> bytes:
    """Give what a connection says until its other side closes it."""
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""
