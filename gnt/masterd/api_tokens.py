"""Tokens with which programs use the remote API: made, listed and revoked by the administrator, checked for the API.

A token is `gnt_ID_SECRET`. The secret is random and long, so that its SHA-256 is all that is kept: in the secrets of
the store, so that the next master has it too; no history, no export and no job has it. LUXI methods of our own, times
in seconds since the epoch:

* `AddApiToken(name, scope, lifetime)`: `{"id", "name", "scope", "created", "expires", "token"}`; the only time that the
  token is said. `scope` is `read`, `write` (which reads too) or `metrics`; a lifetime of null (seconds) never ends.
* `ApiTokens()`: the same of all tokens, by name, without `token`, with `expired`.
* `RevokeApiToken(name)`: name or id; gives the token that is worthless from now on.
* `CheckApiToken(id, digest)`: the token of this id if the hexadecimal SHA-256 of its secret is `digest` and it has not
  expired; else null.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gnt.model.errors import ALREADY_EXISTS, NO_RESOURCES, UNKNOWN_ENTITY, WRONG_INPUT, Refused
from gnt.store.changes import Archive, Change, Put, Remove, Space

PREFIX: Final = "rapi-token/"
MOST: Final = 1000
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

Scope = Literal["metrics", "read", "write"]
A = TypeVar("A", bound=msgspec.Struct)

log: Final = Logger()


class Commits(Protocol):
    """What tokens need of the journal."""

    def enqueue(self, changes: Sequence[Change], job: int = 0) -> Deferred[Any]:
        """Fire when the changes are durable with a majority, after `committed` has heard of them."""


class Source(Protocol):
    """Time and chance: `gnt.daemon.runtime.Runtime`."""

    def now(self) -> float:
        """Give the time in seconds since the epoch."""

    def token(self, octets: int) -> str:
        """Give a random hexadecimal text."""


class ApiToken(msgspec.Struct, frozen=True, kw_only=True):
    """One token as it is stored; `expires` None: never."""

    id: str
    name: str
    scope: Scope
    created: float
    expires: float | None
    digest: str

    def shown(self) -> dict[str, Any]:
        """Give what may be told of it."""
        return {
            "id": self.id,
            "name": self.name,
            "scope": self.scope,
            "created": self.created,
            "expires": self.expires,
        }


class _Nothing(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    pass


class _Add(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    name: str
    scope: Scope
    lifetime: float | None = None


class _Which(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    name: str


class _Check(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    id: str
    digest: str


class ApiTokens:
    """The tokens. One holds, or holds no more, once `committed` has heard of it."""

    def __init__(self, commits: Commits, source: Source) -> None:
        self._commits = commits
        self._source = source
        self._tokens: dict[str, ApiToken] = {}
        self._coming: set[str] = set()

    def restore(self, secrets: Mapping[str, bytes]) -> None:
        """Take over what the store's secrets hold of tokens."""
        for key, value in secrets.items():
            if key.startswith(PREFIX):
                self._take(value)

    def committed(self, _position: object, changes: Sequence[Change]) -> None:
        """Hear of everything that is durable, in order; for the journal's `on_commit`."""
        for change in changes:
            if isinstance(change, Archive) or change.space is not Space.SECRET or not change.key.startswith(PREFIX):
                continue
            if isinstance(change, Put):
                self._take(change.value)
            else:
                self._tokens.pop(change.key.removeprefix(PREFIX), None)

    def _take(self, value: bytes) -> None:
        token = msgspec.json.decode(value, type=ApiToken)
        self._tokens[token.id] = token

    # What LUXI clients may ask

    def table(self) -> Mapping[str, Callable[[list[Any]], Awaitable[Any]]]:
        """Give the LUXI methods by name."""
        return {
            "AddApiToken": self._add,
            "ApiTokens": self._list,
            "RevokeApiToken": self._revoke,
            "CheckApiToken": self._check,
        }

    async def _add(self, args: list[Any]) -> dict[str, Any]:
        wanted = _checked("AddApiToken", args, _Add)
        if not _NAME.fullmatch(wanted.name):
            raise Refused(WRONG_INPUT, "a token's name has letters, digits, dots, dashes and underscores, at most 64")
        if wanted.lifetime is not None and wanted.lifetime <= 0:
            raise Refused(WRONG_INPUT, "a token's lifetime must be more than 0 seconds")
        if wanted.name in self._coming or any(token.name == wanted.name for token in self._tokens.values()):
            raise Refused(
                ALREADY_EXISTS, f"There is a token named {wanted.name}", hint="gnt-cluster rapi-token revoke ends it"
            )
        if len(self._tokens) + len(self._coming) >= MOST:
            raise Refused(NO_RESOURCES, f"There are {MOST} tokens", hint="gnt-cluster rapi-token revoke ends some")
        now = self._source.now()
        secret = self._source.token(SECRET_BYTES)
        token = ApiToken(
            id=self._source.token(ID_BYTES),
            name=wanted.name,
            scope=wanted.scope,
            created=now,
            expires=None if wanted.lifetime is None else now + wanted.lifetime,
            digest=hashlib.sha256(secret.encode()).hexdigest(),
        )
        self._coming.add(token.name)
        try:
            await self._commits.enqueue([Put(Space.SECRET, PREFIX + token.id, msgspec.json.encode(token))])
        finally:
            self._coming.discard(token.name)
        log.info("token {name} ({id}) of the remote API made, scope {scope}", **token.shown())
        return {**token.shown(), "token": f"gnt_{token.id}_{secret}"}

    async def _list(self, args: list[Any]) -> list[dict[str, Any]]:
        _checked("ApiTokens", args, _Nothing)
        tokens = sorted(self._tokens.values(), key=lambda token: token.name)
        return [{**token.shown(), "expired": self._has_expired(token)} for token in tokens]

    async def _revoke(self, args: list[Any]) -> dict[str, Any]:
        wanted = _checked("RevokeApiToken", args, _Which)
        token = next((each for each in self._tokens.values() if wanted.name in {each.name, each.id}), None)
        if token is None:
            raise Refused(
                UNKNOWN_ENTITY, f"There is no token {wanted.name[:80]}", hint="gnt-cluster rapi-token list names them"
            )
        await self._commits.enqueue([Remove(Space.SECRET, PREFIX + token.id)])
        log.info("token {name} ({id}) of the remote API revoked", **token.shown())
        return token.shown()

    async def _check(self, args: list[Any]) -> dict[str, Any] | None:
        wanted = _checked("CheckApiToken", args, _Check)
        token = self._tokens.get(wanted.id)
        # Compared all the same where there is none, so that no time tells which ids there are.
        right = hmac.compare_digest((token.digest if token else "").encode(), wanted.digest.encode())
        return token.shown() if token is not None and right and not self._has_expired(token) else None

    def _has_expired(self, token: ApiToken) -> bool:
        return token.expires is not None and token.expires <= self._source.now()


def _checked(name: str, args: list[Any], wanted: type[A]) -> A:
    try:
        return msgspec.convert(args, wanted)
    except msgspec.ValidationError as error:
        raise Refused(WRONG_INPUT, f"{name}: {str(error).replace('`', '')}") from None
