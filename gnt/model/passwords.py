"""Passwords of the remote API's users file as scrypt hashes: `ln=14,r=8,p=1$SALT$HASH`, base64 without padding.

`ln` is the logarithm of the cost; 14 takes 16 MiB and about 50 ms.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final

import msgspec

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
LOG_COST: Final = 14
BLOCK: Final = 8
PARALLEL: Final = 1

_FORM: Final = re.compile(
    rb"ln=(?P<ln>\d{1,2}),r=(?P<r>\d{1,2}),p=(?P<p>\d{1,2})"
    rb"\$(?P<salt>[A-Za-z0-9+/]{8,88})\$(?P<hash>[A-Za-z0-9+/]{22,88})"
)
_MOST_MEMORY: Final = 128 * 1024 * 1024
_MOST_PARALLEL: Final = 4


class HashedPassword(msgspec.Struct, frozen=True, kw_only=True):
    """A hash and what it was made with. Never shown."""

    log_cost: int
    block: int
    parallel: int
    salt: bytes
    hash: bytes

    def __repr__(self) -> str:
        return "HashedPassword()"

    def text(self) -> str:
        """Give the form in which it is written down."""
        head = f"ln={self.log_cost},r={self.block},p={self.parallel}"
        return f"{head}${_encoded(self.salt)}${_encoded(self.hash)}"

    def matches(self, password: bytes) -> bool:
        """Say whether this is the password. Slow on purpose: blocks for as long as the cost says."""
        return hmac.compare_digest(_worked_out(password, self), self.hash)


def hash_password(password: bytes, salt: bytes) -> HashedPassword:
    """Hash a password with a fresh random salt of `SALT_BYTES`. Slow on purpose."""
    form = HashedPassword(log_cost=LOG_COST, block=BLOCK, parallel=PARALLEL, salt=salt, hash=bytes(HASH_BYTES))
    return msgspec.structs.replace(form, hash=_worked_out(password, form))


def parse_hash(text: bytes) -> HashedPassword | None:
    """Read a hash; None if it is none, or takes more than 128 MiB to check."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    log_cost, block, parallel = (int(found[name]) for name in ("ln", "r", "p"))
    if log_cost < 1 or not block or not 0 < parallel <= _MOST_PARALLEL or (128 * block) << log_cost > _MOST_MEMORY:
        return None
    try:
        salt, hashed = _decoded(found["salt"]), _decoded(found["hash"])
    except binascii.Error:
        return None
    return HashedPassword(log_cost=log_cost, block=block, parallel=parallel, salt=salt, hash=hashed)


def _worked_out(password: bytes, form: HashedPassword) -> bytes:
    """Hash a password as another hash was made."""
    return hashlib.scrypt(
        password,
        salt=form.salt,
        n=1 << form.log_cost,
        r=form.block,
        p=form.parallel,
        maxmem=2 * _MOST_MEMORY,
        dklen=len(form.hash),
    )


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decoded(text: bytes) -> bytes:
    return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
