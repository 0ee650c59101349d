"""How a new node and the master prove to each other that they hold the same token, and what they then exchange.

The token tells the new node where to go, which certificate must answer there (SHA-256, pinned), and a secret that both
sides know. Over TLS 1.3 the node sends its signing request, the master its answer, the node whether it is ready. Each
message is sealed: an HMAC-SHA256 with the secret over who speaks, keying material exported from this very TLS
connection, the message before, and the message. So a wrong master fails at the pin, a wrong node at the seal, and one
that stands between them at the keying material, which differs on its two sides.

Messages are JSON with a length of four bytes before it. No Twisted and no sockets here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from gnt.model.errors import WRONG_INPUT, Refused
from gnt.wire.calls import Membership

PROTOCOL: Final = 1
LIFE: Final = 600.0
"""Seconds for which a token can be used."""
TRIES: Final = 5
"""Wrong proofs after which a token is dead."""

SECRET_OCTETS: Final = 20
MAX_REQUEST: Final = 16 * 1024
MAX_ANSWER: Final = 8 * 1024 * 1024
CHANNEL_LABEL: Final = b"EXPORTER-gnt-join"
CHANNEL_OCTETS: Final = 32

NODE: Final = b"gnt join: node"
MASTER: Final = b"gnt join: master"

_GROUP: Final = 8
_CHECK: Final = 4
_DIGEST: Final = 32
# Longer than any token; the rest of a text that was pasted by mistake is not even looked at.
_LONGEST: Final = 400
_BAD_HINT: Final = "paste it whole, as gnt-node add --token printed it"

T = TypeVar("T")


@dataclass(frozen=True)
class Token:
    """What the new node is told: where the master listens, the digest of its certificate (hex), the secret."""

    address: str
    port: int
    digest: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Token({self.address}, {self.port}, {self.digest}, <redacted>)"

    def text(self) -> str:
        """Write it in base 32, in groups, with a check sum: it may be read aloud, wrapped, or typed."""
        where = ipaddress.ip_address(self.address)
        content = bytes([PROTOCOL << 4 | where.version]) + where.packed + self.port.to_bytes(2, "big")
        content += bytes.fromhex(self.digest) + self.secret
        letters = base64.b32encode(content + _check(content)).decode().rstrip("=")
        return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))


def parse_token(text: str) -> Token:
    """Read a token; blanks, line ends, hyphens and case do not matter. Raises `Refused`, never with the text in it."""
    letters = "".join(text[: _LONGEST + 1].split()).replace("-", "").upper()
    if not letters:
        raise Refused(WRONG_INPUT, "there is no token on standard input", hint="gnt-node add --token NODE makes one")
    try:
        raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        raise Refused(WRONG_INPUT, "the token has characters that no token has", hint=_BAD_HINT) from None
    content, check = raw[:-_CHECK], raw[-_CHECK:]
    if len(content) < 2 or not hmac.compare_digest(check, _check(content)):
        raise Refused(WRONG_INPUT, "the token is incomplete or has a mistake in it", hint=_BAD_HINT)
    protocol, family = content[0] >> 4, content[0] & 15
    size = {4: 4, 6: 16}.get(family, 0)
    if protocol != PROTOCOL or not size or len(content) != 1 + size + 2 + _DIGEST + SECRET_OCTETS:
        raise Refused(
            WRONG_INPUT, "the token was made by another release", hint="install the same release on all nodes"
        )
    rest = content[1 + size :]
    return Token(
        address=str(ipaddress.ip_address(content[1 : 1 + size])),
        port=int.from_bytes(rest[:2], "big"),
        digest=rest[2 : 2 + _DIGEST].hex(),
        secret=rest[2 + _DIGEST :],
    )


def _check(content: bytes) -> bytes:
    return hashlib.sha256(b"gnt token" + content).digest()[:_CHECK]


class JoinRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the new node says of itself: name, address as it resolves there, signing request (PEM), release."""

    protocol: int
    name: str
    address: str
    request: str
    release: str


class JoinAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What makes it a node: its certificate, the authority's (both PEM), membership, ssconf files by name."""

    certificate: str
    authority: str
    membership: Membership
    files: dict[str, str]


class JoinEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended on the new node: empty when its daemon runs, else what went wrong there."""

    problem: str


class JoinDone(msgspec.Struct, frozen=True, kw_only=True):
    """The master has taken note."""

    noted: bool


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why the master does not go on."""

    code: str
    text: str
    hint: str = ""


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it travels: its JSON text with a proof (hex), or a refusal without either."""

    body: str = ""
    proof: str = ""
    refused: Refusal | None = None


class Seal:
    """Seals and checks the messages of one connection, in their order."""

    def __init__(self, secret: bytes, channel: bytes) -> None:
        self._secret = secret
        self._channel = channel
        self._before = b""

    def __repr__(self) -> str:
        return "Seal(<redacted>)"

    def close(self, speaker: bytes, message: msgspec.Struct) -> bytes:
        """Give a message sealed, as it is sent."""
        body = msgspec.json.encode(message)
        proof = self._proof(speaker, body)
        self._before = proof
        return msgspec.json.encode(Sealed(body=body.decode(), proof=proof.hex()))

    def fits(self, speaker: bytes, sealed: Sealed) -> bool:
        """Say whether a message that came was sealed by `speaker` with our secret on this connection, as the next."""
        expected = self._proof(speaker, sealed.body.encode()).hex().encode()
        return hmac.compare_digest(expected, sealed.proof.encode())

    def open(self, speaker: bytes, sealed: Sealed, kind: type[T]) -> T:
        """Check a message that came, and give it. Raises `Refused`, also for the other side's refusal."""
        if sealed.refused is not None:
            raise Refused(sealed.refused.code, sealed.refused.text, hint=sealed.refused.hint)
        if not self.fits(speaker, sealed):
            raise Refused(
                WRONG_INPUT, "the other side does not hold this token", hint="make another: gnt-node add --token NODE"
            )
        self._before = bytes.fromhex(sealed.proof)
        return decode(sealed.body.encode(), kind)

    def _proof(self, speaker: bytes, body: bytes) -> bytes:
        # Every part but the last has a length that its place tells, so no two transcripts read alike.
        parts = (hashlib.sha256(speaker).digest(), self._channel, hashlib.sha256(self._before).digest(), body)
        return hmac.digest(self._secret, b"".join(parts), "sha256")


def decode(data: bytes, kind: type[T]) -> T:
    """Decode a message. Raises `Refused`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(WRONG_INPUT, "the other side does not speak the protocol of gnt-node join") from None


def encode_refusal(error: Refusal) -> bytes:
    """Give a refusal as it is sent."""
    return msgspec.json.encode(Sealed(refused=error))
