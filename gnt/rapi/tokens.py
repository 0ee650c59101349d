"""Tokens in place of passwords. The master knows them; it is asked each time, so that a revoked one ends at once."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from gnt.model.errors import GntError
from gnt.rapi.luxi import Master
from gnt.rapi.users import METRICS, READ, WRITE, User

_TOKEN: Final = re.compile(rb"gnt_(?P<id>[0-9a-f]{4,32})_(?P<secret>[0-9a-f]{32,128})")
_OPTIONS: Final = {
    METRICS: frozenset({METRICS}),
    READ: frozenset({READ}),
    WRITE: frozenset({WRITE}),
}


def is_token(password: bytes) -> bool:
    """Say whether a password has the form of a token."""
    return _TOKEN.fullmatch(password) is not None


async def holder_of(master: Master, token: bytes) -> User | None:
    """Give whom a token stands for, None if it is worthless. Raises `GntError` if the master cannot be asked."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    digest = hashlib.sha256(found["secret"]).hexdigest()
    answer = await master.call("CheckApiToken", found["id"].decode(), digest)
    match answer:
        case None:
            return None
        case {"name": str(name), "scope": str(scope)} if scope in _OPTIONS:
            return User(name=f"token:{name}", options=_OPTIONS[scope], password=None)
    raise GntError("luxi_error", "the master answered CheckApiToken with something else")
