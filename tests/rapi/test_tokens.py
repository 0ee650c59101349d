"""Slow hashes and tokens: who gets in with them, what is remembered, what is not."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from twisted.internet.error import ConnectError

from gnt.model.passwords import HashedPassword
from gnt.rapi.authentication import REMEMBERED
from tests.rapi.room import Room, request

SECRET = "5" * 64
TOKEN = f"gnt_abcdef012345_{SECRET}"
DIGEST = hashlib.sha256(SECRET.encode()).hexdigest()


def scrypt(password: bytes) -> str:
    """Give a hash at a cost that tests can bear."""
    salt = b"0123456789abcdef"
    made = hashlib.scrypt(password, salt=salt, n=2, r=1, p=1, dklen=32)
    return HashedPassword(log_cost=1, block=1, parallel=1, salt=salt, hash=made).text()


def slow(room: Room) -> None:
    """Let there be a user with a hashed password."""
    room.users.write_text(f"slow {{SCRYPT}}{scrypt(b's:5')} write\nplain other\n")


def known(room: Room, scope: str = "write") -> None:
    """Let the master know the token."""

    def check(identity: str, digest: str) -> Any:
        right = (identity, digest) == ("abcdef012345", DIGEST)
        return {"id": identity, "name": "ci", "scope": scope, "created": 0, "expires": None} if right else None

    room.master.answers |= {"CheckApiToken": check, "CancelJob": [True, ""]}


def bearer(token: str) -> dict[str, str]:
    """Give the header."""
    return {"Authorization": f"Bearer {token}"}


def test_a_slow_hash(room: Room) -> None:
    """The right password gets in, others do not, a hash is no password; nobody's takes as long as somebody's."""
    slow(room)
    assert room.ask("GET", "/2/features", user="slow:s:5").status == 200
    assert room.ask("GET", "/2/features", user="slow:wrong").status == 401
    assert room.ask("GET", "/2/features", user=f"slow:{scrypt(b's:5')}").status == 401
    assert room.pools.done == 3
    assert room.ask("GET", "/2/features", user="nobody:s:5").status == 401
    assert room.pools.done == 4


def test_a_password_is_remembered_for_a_minute(room: Room) -> None:
    """One that was right; a wrong one is worked out each time."""
    slow(room)
    for _ in range(5):
        assert room.ask("GET", "/2/features", user="slow:s:5").status == 200
    assert room.pools.done == 1
    room.clock.advance(REMEMBERED)
    assert room.ask("GET", "/2/features", user="slow:s:5").status == 200
    assert room.pools.done == 2
    for _ in range(2):
        assert room.ask("GET", "/2/features", user="slow:x").status == 401
    assert room.pools.done == 4


def test_what_is_remembered_is_dropped_when_the_file_changes(room: Room) -> None:
    """A user who has gone, or lost an option, notices at once."""
    slow(room)
    assert room.ask("GET", "/2/features", user="slow:s:5").status == 200
    room.users.write_text(f"slow {{SCRYPT}}{scrypt(b'new')} write\n")
    assert room.ask("GET", "/2/features", user="slow:s:5").status == 401
    room.users.unlink()
    assert room.ask("GET", "/2/features", user="slow:new").status == 401


def test_the_same_password_is_not_checked_twice_at_a_time(room: Room) -> None:
    """Clients that come together wait for one check; so do those with a wrong one, each for its own turn."""
    slow(room)
    room.pools.held = True
    clients = [room.client() for _ in range(5)]
    for client in clients:
        client.send(request("GET", "/2/features", user="slow:s:5"))
    assert [client.received() for client in clients] == [[]] * 5
    room.pools.go()
    assert [answer.status for client in clients for answer in client.received()] == [200] * 5
    assert room.pools.done == 1


def test_a_client_that_leaves_during_a_check_holds_up_nobody(room: Room) -> None:
    """The next in line checks for itself; leaving counts as a failure, or guessing would be free."""
    slow(room)
    room.pools.held = True
    first, second = room.client(), room.client()
    for client in (first, second):
        client.send(request("GET", "/2/features", user="slow:s:5"))
    first.hang_up()
    room.pools.go()
    assert [answer.status for answer in second.received()] == [200]
    room.pools.held = True
    for _ in range(19):
        client = room.client()
        client.send(request("GET", "/2/features", user="slow:guess"))
        client.hang_up()
    room.pools.go()
    assert room.ask("GET", "/2/features", user="plain:other").status == 429


def test_a_token_as_bearer_and_as_a_password(room: Room) -> None:
    """Clients that know only users and passwords give it as the password of anybody."""
    known(room)
    assert room.ask("DELETE", "/2/jobs/1", user=None, headers=bearer(TOKEN)).status == 200
    assert room.ask("DELETE", "/2/jobs/1", user=f"anybody:{TOKEN}").status == 200
    assert ("CheckApiToken", ["abcdef012345", DIGEST]) in room.master.asked
    assert SECRET not in str(room.master.asked)


@pytest.mark.parametrize(
    ("scope", "metrics", "read", "write"),
    [("metrics", 200, 403, 403), ("read", 200, 200, 403), ("write", 200, 200, 200)],
)
def test_scopes(room: Room, scope: str, metrics: int, read: int, write: int) -> None:
    """What a token may; one for metrics sees nothing else."""
    del metrics  # see test_metrics
    known(room, scope)
    room.master.answers["Query"] = {"fields": [], "data": []}
    for path in ("/2/features", "/2/query/node?fields=name"):
        assert room.ask("GET", path, user=None, headers=bearer(TOKEN)).status == read
    assert room.ask("DELETE", "/2/jobs/1", user=None, headers=bearer(TOKEN)).status == write


def test_a_revoked_token_ends_at_once(room: Room) -> None:
    """The master is asked each time."""
    known(room)
    assert room.ask("GET", "/2/features", user=None, headers=bearer(TOKEN)).status == 200
    room.master.answers["CheckApiToken"] = None
    assert room.ask("GET", "/2/features", user=None, headers=bearer(TOKEN)).status == 401


def test_guessing_tokens_is_slowed_down(room: Room) -> None:
    """As guessing passwords is; right ones cost nothing."""
    known(room)
    for _ in range(50):
        assert room.ask("GET", "/2/features", user=None, headers=bearer(TOKEN)).status == 200
    wrong = bearer(TOKEN[:-1] + "6")
    statuses = [room.ask("GET", "/2/features", user=None, headers=wrong).status for _ in range(25)]
    assert statuses == [401] * 20 + [429] * 5


@pytest.mark.parametrize("token", ["", "abc", "gnt_", "gnt_x_y", TOKEN + "x", TOKEN.upper(), f"{TOKEN}_1"])
def test_what_is_no_token(room: Room, token: str) -> None:
    """It is refused without asking the master."""
    assert room.ask("GET", "/2/features", user=None, headers=bearer(token)).status in {400, 401}
    assert room.master.asked == []


def test_tokens_without_a_master(room: Room) -> None:
    """Nobody can say whether it is good: 502, not 401."""
    room.master.down = ConnectError(111)
    assert room.ask("GET", "/2/features", user=None, headers=bearer(TOKEN)).status == 502


def test_the_access_log_names_the_token(room: Room) -> None:
    """Not its secret."""
    known(room)
    room.ask("GET", "/2/features", user=None, headers=bearer(TOKEN))
    room.ask("GET", "/2/features", user=f"anybody:{TOKEN}")
    lines = room.access_log.read_text()
    assert lines.count("token:ci") == 2
    assert SECRET not in lines
    assert base64.b64encode(TOKEN.encode()).decode() not in lines
