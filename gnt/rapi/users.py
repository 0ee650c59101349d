"""The users file of the remote API: `spec/rapi.md`, section 4.

Lines are `user password [option,option]`; the password stands there in clear text, as `{CLEARTEXT}…`, or as
`{HA1}` and the MD5 of `user:realm:password`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from twisted.logger import Logger

from gnt.rapi.errors import REALM

WRITE: Final = "write"
READ: Final = "read"

log: Final = Logger()
_SCHEME: Final = re.compile(rb"\{(?P<scheme>[A-Za-z0-9]+)\}(?P<secret>.*)\Z", re.DOTALL)
# What the password of nobody is compared with, so that a name that exists takes no longer than one that does not.
_NOBODY: Final = hashlib.sha256(b"nobody").hexdigest().encode()


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user; `secret` is the password, or with `hashed` the hexadecimal MD5. Never shown."""

    name: str
    secret: bytes
    hashed: bool
    options: frozenset[str]

    def __repr__(self) -> str:
        return f"User({self.name!r})"

    @property
    def may_write(self) -> bool:
        """Say whether the user may change things."""
        return WRITE in self.options

    @property
    def may_read(self) -> bool:
        """Say whether the user may read what is not for everybody."""
        return bool(self.options & {READ, WRITE})


def parse_users(text: bytes) -> tuple[Mapping[bytes, User], list[str]]:
    """Read a users file; give the users by name, and what is wrong with lines that were left out (no secret in it).

    Of two lines about one user the later one counts.
    """
    found: dict[bytes, User] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split(None, 2)
        if not fields or fields[0].startswith(b"#"):
            continue
        if len(fields) < 2:
            problems.append(f"line {number} has no password")
            continue
        user = _user(*fields)
        if user is None:
            problems.append(f"line {number}: the password has a form that is not known")
            found.pop(fields[0], None)
        else:
            found[fields[0]] = user
    return found, problems


def _user(name: bytes, password: bytes, options: bytes = b"") -> User | None:
    wanted = frozenset(option.strip().decode("utf-8", "replace") for option in options.split(b",")) - {""}
    secret, hashed = password, False
    if password.startswith(b"{"):
        match = _SCHEME.match(password)
        scheme = match["scheme"].lower() if match else b""
        if match is None or scheme not in {b"cleartext", b"ha1"}:
            return None
        hashed = scheme == b"ha1"
        secret = match["secret"].lower() if hashed else match["secret"]
    return User(name=name.decode("utf-8", "replace"), secret=secret, hashed=hashed, options=wanted)


class Users:
    """The users, read again when the file has changed. A missing file: nobody; an unreadable one: as before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._users: Mapping[bytes, User] = {}

    def check(self, name: bytes, password: bytes) -> User | None:
        """Give the user of these credentials, or None. Takes as long for a wrong name as for a wrong password."""
        self._refresh()
        user = self._users.get(name)
        hashed = _ha1(name, password)
        given = hashed if user is not None and user.hashed else password
        right = hmac.compare_digest(_digest(given), _digest(user.secret if user is not None else _NOBODY))
        return user if right else None

    def _refresh(self) -> None:
        try:
            seen = self._path.stat()
            stamp = (seen.st_mtime_ns, seen.st_ino, seen.st_size, seen.st_mode)
            if stamp == self._stamp:
                return
            self._users, problems = parse_users(self._path.read_bytes())
        except FileNotFoundError:
            if self._users:
                log.warn("{path} is gone: no user can log in", path=str(self._path))
            self._users, self._stamp = {}, None
            return
        except OSError as error:
            log.warn("{path}: {problem}; the users stay", path=str(self._path), problem=error.strerror)
            return
        self._stamp = stamp
        if seen.st_mode & 0o007:
            problems.append("every user of this machine may read or write it: chmod 0640")
        for problem in problems:
            log.warn("{path}: {problem}", path=str(self._path), problem=problem)
        log.info("{path}: {count} users", path=str(self._path), count=len(self._users))


def _ha1(name: bytes, password: bytes) -> bytes:
    text = b"%s:%s:%s" % (name, REALM.encode(), password)
    return hashlib.md5(text, usedforsecurity=False).hexdigest().encode()


def _digest(secret: bytes) -> bytes:
    """Make secrets equally long: comparing takes the same time whatever the length."""
    return hashlib.sha256(secret).digest()
