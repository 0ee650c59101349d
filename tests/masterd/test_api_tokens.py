"""Tokens of the remote API, as the master makes, keeps and checks them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed

from gnt.masterd.api_tokens import MOST, PREFIX, ApiTokens
from gnt.model.errors import GntError, NoMajority, Refused
from gnt.store.changes import Change, Put, Remove, Space
from tests.masterd.nodes_world import NodesWorld
from tests.masterd.test_service import Master


class World:
    """A journal that holds everything at once, a clock, and chance that counts."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.rows: dict[str, bytes] = {}
        self.drawn = 0
        self.trouble: GntError | None = None
        self.tokens = ApiTokens(self, self)

    def now(self) -> float:
        """Give the time."""
        return self.time

    def token(self, octets: int) -> str:
        """Give a text that is never the same."""
        self.drawn += 1
        return f"{self.drawn:0{2 * octets}x}"

    def enqueue(self, changes: Sequence[Change], job: int = 0) -> Deferred[Any]:
        """Hold changes."""
        if self.trouble is not None:
            return fail(self.trouble)
        for change in changes:
            assert isinstance(change, Put | Remove)
            assert change.space is Space.SECRET
            if isinstance(change, Put):
                self.rows[change.key] = change.value
            else:
                del self.rows[change.key]
        self.tokens.committed(None, changes)
        return succeed(None)

    def ask(self, method: str, *args: Any) -> Any:
        """Ask, and give the answer as it looks after its way over the wire."""
        came: list[Any] = []
        ensureDeferred(self.tokens.table()[method](list(args))).addBoth(came.append)
        if hasattr(came[0], "raiseException"):
            came[0].raiseException()
        return msgspec.json.decode(msgspec.json.encode(came[0]))

    def check(self, token: str) -> Any:
        """Check a token as the remote API does."""
        _, identity, secret = token.split("_")
        return self.ask("CheckApiToken", identity, hashlib.sha256(secret.encode()).hexdigest())


@pytest.fixture
def world() -> World:
    """Give a world without tokens."""
    return World()


def test_a_token_is_known_again(world: World) -> None:
    """By its secret; another's secret, id or digest opens nothing."""
    made = world.ask("AddApiToken", "terraform", "write", 60)
    other = world.ask("AddApiToken", "prometheus", "metrics", None)
    found = world.check(made["token"])
    assert found == {"id": made["id"], "name": "terraform", "scope": "write", "created": 1000.0, "expires": 1060.0}
    assert world.check(other["token"])["expires"] is None
    secrets = [token["token"].split("_")[2] for token in (made, other)]
    assert world.check(f"gnt_{made['id']}_{secrets[1]}") is None
    assert world.check(f"gnt_{'0' * 12}_{secrets[0]}") is None
    assert world.ask("CheckApiToken", made["id"], secrets[0]) is None
    assert world.ask("CheckApiToken", made["id"], "") is None


def test_only_a_digest_is_kept(world: World) -> None:
    """Neither the store nor a list has the secret."""
    made = world.ask("AddApiToken", "t", "read", None)
    secret = made["token"].split("_")[2]
    (kept,) = world.rows.values()
    assert secret.encode() not in kept
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in kept
    (shown,) = world.ask("ApiTokens")
    assert shown.keys() == {"id", "name", "scope", "created", "expires", "expired"}


def test_a_token_ends(world: World) -> None:
    """At its time; it stays in the list, and its name is taken, until it is revoked."""
    made = world.ask("AddApiToken", "t", "read", 60)
    world.time = 1059.9
    assert world.check(made["token"]) is not None
    world.time = 1060.0
    assert world.check(made["token"]) is None
    assert world.ask("ApiTokens")[0]["expired"] is True
    with pytest.raises(Refused, match="There is a token named t"):
        world.ask("AddApiToken", "t", "read", 60)


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_token_is_worthless(world: World, by: str) -> None:
    """At once, by name or id; nothing of it is left in the store."""
    made = world.ask("AddApiToken", "t", "read", None)
    assert world.ask("RevokeApiToken", made[by])["name"] == "t"
    assert world.check(made["token"]) is None
    assert world.rows == {}
    with pytest.raises(Refused, match="There is no token"):
        world.ask("RevokeApiToken", made[by])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "AddApiToken"),
        (("a b", "read"), "name"),
        (("", "read"), "name"),
        (("x" * 65, "read"), "name"),
        (("x", "admin"), "'admin'"),
        (("x", "read", 0), "lifetime"),
        (("x", "read", "1d"), "expected float|Expected float"),
    ],
)
def test_what_is_refused(world: World, args: tuple[Any, ...], said: str) -> None:
    """With what is wrong; nothing is stored."""
    with pytest.raises(Refused, match=said):
        world.ask("AddApiToken", *args)
    assert world.rows == {}


def test_there_is_a_most(world: World) -> None:
    """Tokens are kept in memory."""
    for number in range(MOST):
        world.ask("AddApiToken", f"t{number}", "read", None)
    with pytest.raises(Refused, match="1000 tokens"):
        world.ask("AddApiToken", "more", "read", None)


def test_a_token_that_could_not_be_stored_is_none(world: World) -> None:
    """Its name is free again."""
    world.trouble = NoMajority("1 of 3")
    with pytest.raises(NoMajority):
        world.ask("AddApiToken", "t", "read", None)
    world.trouble = None
    assert world.ask("ApiTokens") == []
    world.ask("AddApiToken", "t", "read", None)


def test_the_next_master_has_them(world: World) -> None:
    """They are restored from the rows; other secrets are no tokens."""
    made = world.ask("AddApiToken", "t", "read", None)
    rows = dict(world.rows)
    later = World()
    later.tokens.restore({**rows, "7/0": b"{}", "object/disk/x": b"{}"})
    assert all(key.startswith(PREFIX) for key in rows)
    assert later.check(made["token"])["name"] == "t"


def test_over_the_real_store() -> None:
    """A master that starts again has the token, and one that was revoked is not there."""
    world = NodesWorld("a")
    master = Master(world).start()
    kept = master.ask("AddApiToken", "kept", "read", None)
    master.ask("AddApiToken", "gone", "read", None)
    master.ask("RevokeApiToken", "gone")
    master.stop()
    again = Master(world).start()
    assert [token["name"] for token in again.ask("ApiTokens")] == ["kept"]
    _, identity, secret = kept["token"].split("_")
    assert again.ask("CheckApiToken", identity, hashlib.sha256(secret.encode()).hexdigest())["name"] == "kept"
    again.stop()
