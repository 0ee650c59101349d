"""An answer as bytes: encoded once, compressed once, for however many clients."""

from __future__ import annotations

import gzip
import hashlib
import re
from http import HTTPStatus
from typing import Any, Final

import msgspec

from gnt import __version__
from gnt.daemon.runtime import Pool

COMPRESS_FROM: Final = 2048
"""Bytes from which on an answer is compressed for clients that take it."""

SERVER: Final = f"gnt/{__version__}"
CACHING: Final = "private, no-cache"

_CACHING: Final = f"Cache-Control: {CACHING}\r\n"
_JSON: Final = "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
_VARY: Final = "Vary: Accept-Encoding\r\n"
_PACKED: Final = f"{_VARY}Content-Encoding: gzip\r\nContent-Length: "

IN_POOL_FROM: Final = 256 * 1024
"""Bytes from which on compressing takes so long that others would wait."""


class Encoded:
    """The body of an answer, and its entity tag."""

    __slots__ = ("_heads", "_packed", "body", "length", "packed_length", "tag")

    def __init__(self, body: bytes, tag: str) -> None:
        self.body = body
        self.tag = tag
        self.length = str(len(body))
        self.packed_length = ""
        self._packed: bytes | None = None
        self._heads: dict[str, bytes] = {}

    @property
    def is_long(self) -> bool:
        """Say whether it is compressed for clients that take that."""
        return len(self.body) >= COMPRESS_FROM

    @property
    def is_packed(self) -> bool:
        """Say whether it has been compressed already."""
        return self._packed is not None

    def whole(self, known: str | None, *, pack: bool) -> tuple[HTTPStatus, bytes, bytes]:
        """Give status, head (but for the date and its own end) and body of an answer in HTTP/1.1.

        `known`: the client's `If-None-Match`; `pack`: it takes what is compressed, as `is_packed` says this is.
        """
        if known is not None and matches(known, self.tag):
            return HTTPStatus.NOT_MODIFIED, self._head("304 Not Modified", ""), b""
        if self._packed is not None and pack:
            return HTTPStatus.OK, self._head("200 OK", f"{_JSON}{_PACKED}{self.packed_length}\r\n"), self._packed
        vary = _VARY if self.is_long else ""
        return HTTPStatus.OK, self._head("200 OK", f"{_JSON}{vary}Content-Length: {self.length}\r\n"), self.body

    def _head(self, status: str, more: str) -> bytes:
        found = self._heads.get(more)
        if found is None:
            lines = f"HTTP/1.1 {status}\r\nServer: {SERVER}\r\nETag: {self.tag}\r\n{_CACHING}{more}"
            found = self._heads[more] = lines.encode()
        return found

    async def packed(self, pool: Pool) -> bytes:
        """Give the body compressed. `pool`: where long work is done."""
        if self._packed is None:
            long = len(self.body) >= IN_POOL_FROM
            self._packed = await pool.run(_compressed, self.body) if long else _compressed(self.body)
            self.packed_length = str(len(self._packed))
        return self._packed


def encoded(value: Any, stamp: str | None = None) -> Encoded:
    """Encode a value. Its tag is the stamp that the master gave it, else a digest."""
    body = msgspec.json.encode(value) + b"\n"
    return digested(body) if stamp is None else Encoded(body, f'W/"{stamp}"')


def digested(body: bytes) -> Encoded:
    """Give an answer whose tag is a digest of its body."""
    return Encoded(body, f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"')


def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


def matches(header: str, tag: str) -> bool:
    """Say whether an `If-None-Match` header names a tag; these compare weakly."""
    return any(item.strip() in {tag, tag.removeprefix("W/"), "*"} for item in header.split(","))


def takes_gzip(header: str) -> bool:
    """Say whether an `Accept-Encoding` header takes gzip."""
    for item in header.lower().split(","):
        coding, _, quality = item.replace(" ", "").partition(";q=")
        if coding in {"gzip", "*"}:
            return not re.fullmatch(r"0(\.0*)?", quality)
    return False
