"""The new node's side of joining: one TLS connection to the master that the token names. See `gnt.wire.joining`."""

from __future__ import annotations

import hmac
import socket
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from gnt.model.errors import ENVIRONMENT, WRONG_INPUT, Refused
from gnt.wire import certificates
from gnt.wire.joining import (
    CHANNEL_LABEL,
    CHANNEL_OCTETS,
    MASTER,
    MAX_ANSWER,
    NODE,
    JoinAnswer,
    JoinDone,
    JoinEnd,
    JoinRequest,
    Seal,
    Sealed,
    Token,
    decode,
)

PATIENCE: Final = 30.0
"""Seconds that the master may take for each of its messages."""
_PIECE: Final = 1 << 16

T = TypeVar("T")


class Conversation:
    """A connection to the master, made and proved to be with the right one when it is entered. Blocks."""

    def __init__(self, token: Token, *, patience: float = PATIENCE) -> None:
        self._token = token
        self._patience = patience
        self.master_certificate = b""
        self._ends = 0.0

    def __enter__(self) -> Self:
        where = (self._token.address, self._token.port)
        self._ends = time.monotonic() + self._patience
        try:
            self._socket = socket.create_connection(where, timeout=self._patience)
        except OSError as error:
            raise Refused(
                ENVIRONMENT,
                f"the master does not answer at {where[0]} port {where[1]}: {error.strerror or error}",
                hint="a token works once and for ten minutes; gnt-node add --token NODE makes another",
            ) from None
        try:
            self._begin()
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, request: JoinRequest) -> JoinAnswer:
        """Send what we are, get what makes us a node. Raises `Refused` with the master's reason."""
        return self._exchange(request, JoinAnswer)

    def end(self, problem: str) -> None:
        """Tell the master that we are ready (an empty text), or what went wrong; gives back when it has noted that."""
        self._exchange(JoinEnd(problem=problem), JoinDone)

    def _begin(self) -> None:
        """Shake hands, and go on only with the master whose certificate the token names."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        # Its authority is not known here yet: the digest decides.
        context.set_verify(SSL.VERIFY_NONE)
        self._tls = SSL.Connection(context, None)
        self._tls.set_connect_state()
        try:
            self._wait_for(self._tls.do_handshake)
        except SSL.Error:
            raise self._broken("does not speak TLS 1.3") from None
        shown = self._tls.get_peer_certificate(as_cryptography=True)
        if shown is None:
            raise self._broken("shows no certificate")
        self.master_certificate = shown.public_bytes(serialization.Encoding.PEM)
        if not hmac.compare_digest(certificates.digest(self.master_certificate), self._token.digest):
            raise Refused(
                WRONG_INPUT,
                f"who answers at {self._token.address} port {self._token.port} is not the master that made the token:"
                " nothing was sent",
                hint="is something between here and the master? gnt-node add --token NODE makes another token",
            )
        self._seal = Seal(self._token.secret, self._tls.export_keying_material(CHANNEL_LABEL, CHANNEL_OCTETS))

    def _exchange(self, message: msgspec.Struct, kind: type[T]) -> T:
        self._ends = time.monotonic() + self._patience
        data = self._seal.close(NODE, message)
        try:
            self._send(len(data).to_bytes(4, "big") + data)
            size = int.from_bytes(self._receive(4), "big")
            if size > MAX_ANSWER:
                raise self._broken(f"sends {size} bytes")
            answer = self._receive(size)
        except SSL.Error:
            raise self._broken("has closed the connection") from None
        return self._seal.open(MASTER, decode(answer, Sealed), kind)

    def _send(self, data: bytes) -> None:
        while data:
            data = data[self._tls.send(data) :]
        self._flush()

    def _receive(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            found += self._wait_for(partial(self._tls.recv, min(_PIECE, size - len(found))))
        return bytes(found)

    def _wait_for(self, work: Callable[[], bytes | None]) -> bytes:
        """Do TLS work; what it has to say is sent, what it has to hear is received, until it is done."""
        while True:
            try:
                done = work()
            except SSL.WantReadError:
                self._flush()
                self._hear()
            else:
                self._flush()
                return done or b""

    def _flush(self) -> None:
        while True:
            try:
                data = self._tls.bio_read(_PIECE)
            except SSL.WantReadError:
                return
            self._in_time()
            try:
                self._socket.sendall(data)
            except OSError as error:
                raise self._broken(f"cannot be written to: {error.strerror or error}") from None

    def _hear(self) -> None:
        self._in_time()
        try:
            data = self._socket.recv(_PIECE)
        except OSError as error:
            raise self._broken(f"does not answer: {error.strerror or error}") from None
        if data:
            self._tls.bio_write(data)
        else:
            raise self._broken("has closed the connection")

    def _in_time(self) -> None:
        """Give the socket what is left of the time for this message."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise self._broken(f"does not answer within {self._patience:.0f} s")
        self._socket.settimeout(left)

    def _broken(self, what: str) -> Refused:
        return Refused(
            ENVIRONMENT,
            f"the master at {self._token.address} port {self._token.port} {what}",
            hint="its log says more; a token that has been used needs a new one",
        )
