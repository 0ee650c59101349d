"""The data of a disk from one node to another: once, over mutual TLS, to the one node that it is meant for.

The source listens at a port of its own for one connection, and checks that the certificate is the reader's; the reader
checks that it is the source's. The reader first says the word of its ticket. Then come records: an offset and a length
(8 bytes each, big endian) and the bytes; what is not sent is zeros. A record of no length ends it, and says in place of
the offset how long the data is in all. Everything here blocks, in the pool `transfer`.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from OpenSSL import SSL

from gnt.model.errors import GntError, NodeFailure
from gnt.noded.storage.raw import MIB, Buffer, Raw
from gnt.wire.tls import ClientTls, NodeCredentials

PATIENCE: Final = 300.0
"""Seconds that an offer waits for its reader."""
SILENCE: Final = 60
"""Seconds without a byte after which a transfer is given up."""
_LOOK_EVERY: Final = 0.5
_RECORD: Final = struct.Struct(">QQ")
_SEND: Final = 1 * MIB
_WORD: Final = 32

Stopped = Callable[[], bool]
Told = Callable[[int], None]


class Offer:
    """Data that waits for its reader, or is on the way. `address` is one of this node's."""

    def __init__(self, place: str, credentials: NodeCredentials, reader: str, address: str) -> None:
        self._place = place
        self._credentials = credentials
        self._reader = reader
        self.word = secrets.token_hex(_WORD // 2)
        self.closed = False
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._listening.bind((address, 0))
            self._listening.listen(1)
        except OSError as error:
            self._listening.close()
            raise NodeFailure("storage_error", f"Cannot listen at {address}: {error.strerror}") from error
        self._listening.settimeout(_LOOK_EVERY)
        self.port: int = self._listening.getsockname()[1]

    def close(self) -> None:
        """Take the offer back; a transfer under way ends at its next record."""
        self.closed = True

    def serve(self) -> None:
        """Wait for the reader and send it everything. Others are turned away. Raises what goes wrong."""
        with contextlib.closing(self._listening):
            end = time.monotonic() + PATIENCE
            while not self.closed and time.monotonic() < end:
                try:
                    connection, _ = self._listening.accept()
                except TimeoutError:
                    continue
                with contextlib.closing(connection):
                    if self._serve_one(connection):
                        return

    def _serve_one(self, connection: socket.socket) -> bool:
        """Serve one connection; False if it was not the reader's."""
        try:
            tls = _tls(self._credentials, connection, self._reader, server=True)
            if not secrets.compare_digest(_receive(tls, _WORD), self.word.encode()):
                return False
        except (NodeFailure, SSL.Error, OSError):
            return False
        source = Raw(self._place)
        with contextlib.closing(source), _broken("the reader"):
            buffer = Buffer()
            for offset, size in _data(source):
                if self.closed:
                    return True
                data = buffer.read(source, offset, size)
                if not buffer.is_zero(size):
                    tls.sendall(_RECORD.pack(offset, size))
                    tls.sendall(data)
            tls.sendall(_RECORD.pack(source.size, 0))
            tls.shutdown()
            # The reader closes when it has everything on disk.
            with contextlib.suppress(SSL.Error, OSError):
                tls.recv(1)
        return True


class Transfer:
    """How data goes from node to node: over TLS. The simulator puts its own here."""

    def offer(self, place: str, credentials: NodeCredentials, reader: str, address: str) -> Offer:
        """Offer what is at a place; raises `storage_error`."""
        return Offer(place, credentials, reader, address)

    def fetch(
        self, ticket: dict[str, Any], credentials: NodeCredentials, target: Raw, stopped: Stopped, told: Told
    ) -> int:
        """Write everything that an offer has onto an open disk: `fetch`."""
        return fetch(ticket, credentials, target, stopped, told)


def fetch(ticket: dict[str, Any], credentials: NodeCredentials, target: Raw, stopped: Stopped, told: Told) -> int:
    """Write everything that an offer has onto an open disk; gives how many bytes that is, zeros included.

    `told` hears how far it has come. Raises `NodeFailure`: `not_found` where nobody offers, `storage_error`,
    `no_space` for what is larger than the disk, `aborted`.
    """
    with contextlib.closing(_connect(ticket)) as connection, _broken("the other node"):
        tls = _tls(credentials, connection, str(ticket["source"]), server=False)
        tls.sendall(str(ticket["word"]).encode())
        at = 0
        while True:
            if stopped():
                raise NodeFailure("aborted", "the transfer was given up")
            offset, size = _RECORD.unpack(_receive(tls, _RECORD.size))
            if not size:
                _fits(offset, target)
                target.zero_from(at, min(offset, target.size))
                target.end_at(offset)
                target.flush()
                return int(offset)
            _fits(offset + size, target)
            target.zero_from(at, offset)
            target.write(_receive(tls, size), offset)
            at = offset + size
            told(at)


def _fits(end: int, target: Raw) -> None:
    if end > target.size and not target.may_grow:
        raise NodeFailure("no_space", f"{target.path} has {target.size} bytes, the data to put there {end} or more")


def _data(source: Raw) -> Iterator[tuple[int, int]]:
    """Give the ranges of a source that may hold something else than zeros."""
    for offset in range(0, source.size, _SEND):
        size = min(_SEND, source.size - offset)
        if not source.is_hole(offset, size):
            yield offset, size


def _connect(ticket: dict[str, Any]) -> socket.socket:
    try:
        return socket.create_connection((str(ticket["address"]), int(ticket["port"])), timeout=SILENCE)
    except (KeyError, TypeError, ValueError):
        raise NodeFailure("wrong_input", "the ticket of the transfer is none") from None
    except OSError as error:
        where = f"{ticket['address']} port {ticket['port']}"
        raise NodeFailure("not_found", f"Nobody offers the disk at {where}: {error.strerror or error}") from error


def _tls(credentials: NodeCredentials, connection: socket.socket, peer: str, *, server: bool) -> SSL.Connection:
    """Speak TLS over a connection with one node and no other."""
    wanted = ClientTls(credentials, (peer,))

    def verify(_connection: SSL.Connection, certificate: Any, _errno: int, depth: int, ok: int) -> bool:
        return bool(ok) and (depth > 0 or wanted.is_wanted(certificate))

    context = credentials.context()
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
    # The library wants a socket without a timeout of Python's; the kernel's own ends a silence.
    connection.settimeout(None)
    silence = struct.pack("ll", SILENCE, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, silence)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, silence)
    tls = SSL.Connection(context, connection)
    if server:
        tls.set_accept_state()
    else:
        tls.set_connect_state()
    tls.do_handshake()
    return tls


def _receive(tls: SSL.Connection, size: int) -> bytes:
    """Receive exactly so many bytes."""
    data = bytearray()
    while len(data) < size:
        data += tls.recv(min(size - len(data), _SEND))
    return bytes(data)


@contextlib.contextmanager
def _broken(who: str) -> Iterator[None]:
    """Turn what a connection can suffer into a failure with a code."""
    try:
        yield
    except GntError:
        raise
    except (SSL.WantReadError, SSL.WantWriteError, TimeoutError) as error:
        raise NodeFailure("storage_error", f"the transfer stopped: {who} was silent for {SILENCE} s") from error
    except (SSL.Error, OSError) as error:
        raise NodeFailure(
            "storage_error", f"the transfer broke off: {who} is gone, or is not who it should be"
        ) from error
