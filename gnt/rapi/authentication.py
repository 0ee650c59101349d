"""Who asks, and whether they may: HTTP basic authentication (`spec/rapi.md`, section 4)."""

from __future__ import annotations

import base64
import binascii
import math
from http import HTTPStatus

from gnt.rapi.errors import HttpError, bad_request, unauthorized
from gnt.rapi.resources.base import Access
from gnt.rapi.throttle import Throttle
from gnt.rapi.users import User, Users


class Authentication:
    """Decides about requests. `open_reads`: what every user may read, anybody may."""

    def __init__(self, users: Users, throttle: Throttle, *, open_reads: bool) -> None:
        self._users = users
        self._throttle = throttle
        self._open_reads = open_reads

    def allow(self, header: str | None, access: Access, address: str) -> User | None:
        """Give the user of an `Authorization` header, None without one.

        Credentials are checked also where none are needed. Raises `HttpError`: 400 for a header that is none, 401 for
        credentials that are missing or wrong, 403 for a user who may not, 429 for who has failed too often.
        """
        user = None if header is None else self._login(header, address)
        if access is Access.PUBLIC or (access is Access.OPEN and self._open_reads):
            return user
        if user is None:
            raise unauthorized()
        may = {Access.OPEN: True, Access.READ: user.may_read, Access.WRITE: user.may_write}[access]
        if not may:
            raise HttpError(HTTPStatus.FORBIDDEN)
        return user

    def _login(self, header: str, address: str) -> User:
        wait = self._throttle.wait(address)
        if wait > 0:
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "Too many failed logins from this address",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        name, password = credentials(header) or (b"", b"")
        user = self._users.check(name, password)
        if user is None:
            self._throttle.failed(address)
            raise unauthorized()
        return user


def credentials(header: str) -> tuple[bytes, bytes] | None:
    """Give name and password of an `Authorization` header, None if it holds none that we know.

    Raises `HttpError` (400) for a scheme without credentials.
    """
    scheme, space, encoded = header.strip().partition(" ")
    if not space:
        raise bad_request("The Authorization header has no credentials")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None
