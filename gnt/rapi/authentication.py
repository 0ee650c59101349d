"""Who asks, and whether they may: HTTP basic authentication (`spec/rapi.md`, section 4), and tokens of ours."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import os
from http import HTTPStatus
from typing import Final

from twisted.internet.defer import Deferred

from gnt.daemon.runtime import Clock
from gnt.rapi.errors import HttpError, bad_request, unauthorized
from gnt.rapi.luxi import Master
from gnt.rapi.resources.base import Access
from gnt.rapi.throttle import Throttle
from gnt.rapi.tokens import holder_of, is_token
from gnt.rapi.users import User, Users

REMEMBERED: Final = 60.0
"""Seconds for which a password that was right need not be checked again."""

MOST_REMEMBERED: Final = 1000


class Authentication:
    """Decides about requests. `open_reads`: what every user may read, anybody may."""

    def __init__(self, users: Users, master: Master, throttle: Throttle, clock: Clock, *, open_reads: bool) -> None:
        self._users = users
        self._master = master
        self._throttle = throttle
        self._open_reads = open_reads
        self._verified = _Verified(users, clock)
        # Who waits for a password that is being checked: the same one is not checked twice at a time.
        self._waiting: dict[bytes, list[Deferred[None]]] = {}

    async def allow(self, header: str | None, access: Access, address: str) -> User | None:
        """Give the user of an `Authorization` header, None without one.

        Credentials are checked also where none are needed. Raises `HttpError`: 400 for a header that is none, 401 for
        credentials that are missing or wrong, 403 for a user who may not, 429 for who has failed too often; `GntError`
        if a token cannot be checked.
        """
        return self._permitted(None if header is None else await self._login(header, address), access)

    def allow_at_once(self, header: str | None, access: Access, address: str) -> User | None:
        """Do the same where nothing has to be looked up: who was right a moment ago. None: ask `allow`."""
        if header is None or self._throttle.wait(address) > 0:
            return None
        user = self._verified.user(header)
        return None if user is None else self._permitted(user, access)

    def _permitted(self, user: User | None, access: Access) -> User | None:
        if access is Access.PUBLIC or (self._open_reads and (access is Access.OPEN or access is Access.METRICS)):
            return user
        if user is None:
            raise unauthorized()
        if access is Access.OPEN:
            may = not user.only_metrics
        elif access is Access.READ:
            may = user.may_read
        else:
            may = access is Access.METRICS or user.may_write
        if not may:
            raise HttpError(HTTPStatus.FORBIDDEN)
        return user

    async def _login(self, header: str, address: str) -> User:
        self._check_patience(address)
        while (user := self._verified.user(header)) is None:
            scheme, credentials = _split(header)
            name, password = _basic(credentials) if scheme == "basic" else (b"", b"")
            if scheme == "bearer":
                password = credentials.encode("latin-1")
            if is_token(password):
                return await self._by_token(password, address)
            key = self._verified.key(header)
            if key not in self._waiting:
                return await self._by_password(header, key, name, password, address)
            turn: Deferred[None] = Deferred()
            self._waiting[key].append(turn)
            await turn
            self._check_patience(address)
        return user

    def _check_patience(self, address: str) -> None:
        wait = self._throttle.wait(address)
        if wait > 0:
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many failed logins from this address",
                headers={"Retry-After": str(math.ceil(wait))},
            )

    async def _by_token(self, token: bytes, address: str) -> User:
        self._throttle.failed(address)
        user = await holder_of(self._master, token)
        if user is None:
            raise unauthorized()
        self._throttle.forgive(address)
        return user

    async def _by_password(self, header: str, key: bytes, name: bytes, password: bytes, address: str) -> User:
        # Counted before the check: who asks often while it lasts, or goes away, gains nothing.
        self._throttle.failed(address)
        self._waiting[key] = []
        try:
            user = await self._users.check(name, password)
            if user is None:
                raise unauthorized()
            self._verified.remember(header, user)
        finally:
            for turn in self._waiting.pop(key):
                if not turn.called:
                    turn.callback(None)
        self._throttle.forgive(address)
        return user


class _Verified:
    """Passwords that were right a moment ago: headers by a digest whose key nobody knows, until when they hold."""

    def __init__(self, users: Users, clock: Clock) -> None:
        self._users = users
        self._clock = clock
        self._secret = os.urandom(32)
        self._version = users.version
        self._known: dict[bytes, tuple[User, float]] = {}

    def key(self, header: str) -> bytes:
        """Give the digest of a header."""
        return hashlib.blake2b(header.encode("latin-1"), key=self._secret, digest_size=16).digest()

    def user(self, header: str) -> User | None:
        """Give the user of a header that holds still."""
        self._users.refresh()
        if self._version != self._users.version:
            self._version = self._users.version
            self._known.clear()
        found = self._known.get(self.key(header))
        return found[0] if found is not None and self._clock.seconds() < found[1] else None

    def remember(self, header: str, user: User) -> None:
        """Let a header hold for a while, unless the users have changed meanwhile."""
        if self._version == self._users.version:
            while len(self._known) >= MOST_REMEMBERED:
                del self._known[next(iter(self._known))]
            key = self.key(header)
            self._known.pop(key, None)
            self._known[key] = (user, self._clock.seconds() + REMEMBERED)


def _split(header: str) -> tuple[str, str]:
    """Give scheme and credentials. Raises `HttpError` (400) if there are none."""
    scheme, space, rest = header.strip().partition(" ")
    if not space:
        raise bad_request("The Authorization header has no credentials")
    return scheme.lower(), rest.strip()


def _basic(encoded: str) -> tuple[bytes, bytes]:
    """Give name and password; those of nobody if they cannot be read."""
    try:
        name, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b"", b""
    return (name, password) if colon else (b"", b"")
