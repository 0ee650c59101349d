"""The users file of the remote API: `spec/rapi.md`, section 4.

Lines are `user password [option,option]`; the password stands there in clear text, as `{CLEARTEXT}…`, as `{HA1}` and
the MD5 of `user:realm:password`, or, and only so is it safe there, as `{SCRYPT}` and what `gnt.model.passwords` says.
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

from gnt.daemon.runtime import Pool
from gnt.model.passwords import HashedPassword, parse_hash
from gnt.rapi.errors import REALM

WRITE: Final = "write"
READ: Final = "read"
METRICS: Final = "metrics"

log: Final = Logger()
_SCHEME: Final = re.compile(rb"\{(?P<scheme>[A-Za-z0-9]+)\}(?P<secret>.*)\Z", re.DOTALL)


class Plain(msgspec.Struct, frozen=True):
    """A password that stands in the file as it is. Never shown."""

    secret: bytes

    def __repr__(self) -> str:
        return "Plain()"

    def matches(self, name: bytes, password: bytes) -> bool:  # noqa: ARG002
        """Say whether this is the password."""
        return hmac.compare_digest(_digest(password), _digest(self.secret))


class Ha1(msgspec.Struct, frozen=True):
    """A password as the hexadecimal MD5 of `user:realm:password`. Never shown."""

    hash: bytes

    def __repr__(self) -> str:
        return "Ha1()"

    def matches(self, name: bytes, password: bytes) -> bool:
        """Say whether this is the password."""
        return hmac.compare_digest(_digest(_ha1(name, password)), _digest(self.hash))


Password = Plain | Ha1 | HashedPassword
# What the password of nobody is compared with, so that a name that exists takes no longer than one that does not.
_NOBODY: Final = Ha1(hashlib.sha256(b"nobody").hexdigest().encode())


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: a user of the file, or the holder of a token, who has no password here."""

    name: str
    options: frozenset[str]
    password: Password | None

    def __repr__(self) -> str:
        return f"User({self.name!r})"

    @property
    def only_metrics(self) -> bool:
        """Say whether this is a program that may see the metrics and nothing else."""
        return self.options == {METRICS} and self.password is None

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
    known = _password(password)
    return None if known is None else User(name=name.decode("utf-8", "replace"), options=wanted, password=known)


def _password(text: bytes) -> Password | None:
    if not text.startswith(b"{"):
        return Plain(text)
    match = _SCHEME.match(text)
    scheme, secret = (match["scheme"].lower(), match["secret"]) if match else (b"", b"")
    if scheme == b"cleartext":
        return Plain(secret)
    if scheme == b"ha1":
        return Ha1(secret.lower())
    return parse_hash(secret) if scheme == b"scrypt" else None


class Users:
    """The users, read again when the file has changed. A missing file: nobody; an unreadable one: as before.

    `version` changes when the users do. `pool` is where slow hashes are worked out.
    """

    def __init__(self, path: Path, pool: Pool) -> None:
        self.version = 0
        self._path = path
        self._pool = pool
        self._stamp: tuple[int, ...] | None = None
        self._users: Mapping[bytes, User] = {}
        self._nobody: Password = _NOBODY

    async def check(self, name: bytes, password: bytes) -> User | None:
        """Give the user of these credentials, or None. Takes as long for a wrong name as for a wrong password."""
        self.refresh()
        user = self._users.get(name)
        known = self._nobody if user is None else user.password
        if isinstance(known, HashedPassword):
            right = await self._pool.run(known.matches, password)
        else:
            right = known is not None and known.matches(name, password)
        return user if right else None

    def refresh(self) -> None:
        """Read the file if it has changed."""
        try:
            seen = self._path.stat()
            stamp = (seen.st_mtime_ns, seen.st_ino, seen.st_size, seen.st_mode)
            if stamp == self._stamp:
                return
            users, problems = parse_users(self._path.read_bytes())
        except FileNotFoundError:
            if self._users:
                log.warn("{path} is gone: no user can log in", path=str(self._path))
            if self._stamp is not None:
                self._take({})
            self._stamp = None
            return
        except OSError as error:
            log.warn("{path}: {problem}; the users stay", path=str(self._path), problem=error.strerror)
            return
        self._stamp = stamp
        self._take(users)
        if seen.st_mode & 0o007:
            problems.append("every user of this machine may read or write it: chmod 0640")
        for problem in problems:
            log.warn("{path}: {problem}", path=str(self._path), problem=problem)
        log.info("{path}: {count} users", path=str(self._path), count=len(self._users))

    def _take(self, users: Mapping[bytes, User]) -> None:
        """Take new users. Nobody's password is of the slowest kind that there is, so that time tells no names."""
        self._users = users
        self.version += 1
        hashed = (user.password for user in users.values() if isinstance(user.password, HashedPassword))
        slowest = max(hashed, key=lambda known: known.block * known.parallel << known.log_cost, default=None)
        self._nobody = _NOBODY if slowest is None else msgspec.structs.replace(slowest, hash=bytes(len(slowest.hash)))


def _ha1(name: bytes, password: bytes) -> bytes:
    text = b"%s:%s:%s" % (name, REALM.encode(), password)
    return hashlib.md5(text, usedforsecurity=False).hexdigest().encode()


def _digest(secret: bytes) -> bytes:
    """Make secrets equally long: comparing takes the same time whatever the length."""
    return hashlib.sha256(secret).digest()
