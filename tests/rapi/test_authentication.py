"""Who may do what: the matrix of users and resources, the users file, wrong credentials."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from gnt.rapi.resources.base import Access
from gnt.rapi.resources.table import GANETI as ROWS
from gnt.rapi.throttle import MOST_ADDRESSES, Throttle
from gnt.rapi.users import Users, parse_users
from tests.rapi.room import PLAIN, READER, WRITER, InlinePools, Room

# Status by user: nobody, one without options, `read`, `write`; 200 stands for any that is no refusal.
MATRIX = {
    Access.PUBLIC: (200, 200, 200, 200),
    Access.OPEN: (401, 200, 200, 200),
    Access.READ: (401, 403, 200, 200),
    Access.WRITE: (401, 403, 403, 200),
}
USERS_OF = (None, PLAIN, READER, WRITER)


def path_of(row: Any) -> str:
    """Give a path that the row answers."""
    path = str(row.path)
    for part in ("instance_name", "node_name", "group_name", "network_name", "uuid", "resource"):
        path = path.replace(f"[{part}]", "x")
    return path.replace("[job_id]", "1").replace("[disk_index]", "0")


def basic(text: bytes) -> dict[str, str]:
    """Give the header for credentials."""
    return {"Authorization": "Basic " + base64.b64encode(text).decode()}


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.method} {row.path}" for row in ROWS])
def test_matrix(room: Room, row: Any) -> None:
    """Each resource for each kind of user; who is refused causes nothing."""
    for user, expected in zip(USERS_OF, MATRIX[row.access], strict=True):
        room.master.asked.clear()
        status = room.ask(row.method, path_of(row), {}, user=user).status
        if expected == 200:
            assert status not in {401, 403}
        else:
            assert status == expected
            assert room.master.asked == []


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.method} {row.path}" for row in ROWS])
def test_matrix_with_open_reads(open_room: Room, row: Any) -> None:
    """Opening reads opens what every user may read, and nothing else."""
    status = open_room.ask(row.method, path_of(row), {}, user=None).status
    assert (status == 401) is (row.access in {Access.READ, Access.WRITE})


def test_the_challenge(room: Room) -> None:
    """Clients learn the realm; the body is the usual error."""
    answer = room.ask("GET", "/2/info", user=None)
    assert answer.headers["www-authenticate"] == 'Basic realm="Ganeti Remote API"'
    assert answer.json["code"] == 401
    assert answer.json["message"] == "Unauthorized"


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Basic", 400),
        ("", 400),
        ("Basic !!!", 401),
        ("Basic " + base64.b64encode(b"nocolon").decode(), 401),
        ("Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(), 401),
        ("Basic " + base64.b64encode(b":").decode(), 401),
        ("Basic " + base64.b64encode(b"writer:secret1x").decode(), 401),
        ("Basic " + base64.b64encode(b"writer:Secret1").decode(), 401),
        ("Basic " + base64.b64encode(b"nobody:secret1").decode(), 401),
        ("Bearer abc", 401),
        ("basic " + base64.b64encode(b"writer:secret1").decode(), 200),
        ("BASIC  " + base64.b64encode(b"writer:secret1").decode(), 200),
    ],
)
def test_headers(room: Room, header: str, status: int) -> None:
    """Credentials are checked even where none are needed."""
    assert room.ask("GET", "/version", user=None, headers={"Authorization": header}).status == status


def test_hashed_and_marked_passwords(room: Room) -> None:
    """All forms of the specification; a hash itself is no password."""
    hashed = hashlib.md5(b"hashed:Ganeti Remote API:s:4", usedforsecurity=False).hexdigest()
    room.users.write_text(
        f"hashed {{Ha1}}{hashed.upper()} write\n"
        "marked {CLEARTEXT}{odd}\n"
        "unknown {SHA}abc write\n"
        "   \n# comment\nlonely\n"
        "spaced\tsecret \t write , read \n"
        "twice first\ntwice second\n"
    )
    ok = [b"hashed:s:4", b"marked:{odd}", b"spaced:secret", b"twice:second"]
    wrong = [f"hashed:{hashed}".encode(), b"unknown:abc", b"unknown:{SHA}abc", b"lonely:", b"twice:first", b"#:comment"]
    for text, status in [*((text, 200) for text in ok), *((text, 401) for text in wrong)]:
        assert room.ask("GET", "/2/features", user=None, headers=basic(text)).status == status, text
    room.master.answers["CancelJob"] = [True, ""]
    assert room.ask("DELETE", "/2/jobs/1", user=None, headers=basic(b"spaced:secret")).status == 200


def test_the_file_is_read_again_when_it_changes(room: Room) -> None:
    """Users come and go without a restart; without a file there is nobody."""
    assert room.ask("GET", "/2/features", user="late:comer").status == 401
    room.users.write_text("late comer\n")
    assert room.ask("GET", "/2/features", user="late:comer").status == 200
    assert room.ask("GET", "/2/features", user=WRITER).status == 401
    room.users.unlink()
    assert room.ask("GET", "/2/features", user="late:comer").status == 401


def test_a_file_that_cannot_be_read_leaves_the_users(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of a moment locks nobody out."""
    assert room.ask("GET", "/2/features").status == 200
    os.utime(room.users, (1, 1))

    def fails(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fails)
    assert room.ask("GET", "/2/features").status == 200


def test_no_secret_in_words() -> None:
    """Neither what is said about bad lines nor a user's representation holds a password."""
    users, problems = parse_users(b"a {what}hidden1\nb\nc hidden2 write\n")
    assert "hidden" not in repr((users, problems))
    assert len(problems) == 2


def test_users_that_never_were(tmp_path: Path) -> None:
    """A missing file is no error."""
    users = Users(tmp_path / "nowhere/users", InlinePools())
    found: list[Any] = []
    ensureDeferred(users.check(b"a", b"b")).addCallback(found.append)
    assert found == [None]


def test_who_guesses_is_slowed_down(room: Room) -> None:
    """After some failures an address has to wait, even with the right password; others need not."""
    statuses = [room.ask("GET", "/2/features", user=f"writer:{guess}").status for guess in range(30)]
    assert statuses == [401] * 20 + [429] * 10
    refused = room.ask("GET", "/2/features", user=WRITER)
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert room.ask("GET", "/2/features", user=WRITER, address="192.0.2.8").status == 200
    assert room.ask("GET", "/version", user=None).status == 200
    room.clock.advance(2.1)
    assert room.ask("GET", "/2/features", user=WRITER).status == 200


def test_the_throttle_forgets() -> None:
    """What it remembers has a limit, and empties by itself."""
    clock = Clock()
    throttle = Throttle(clock)
    for number in range(MOST_ADDRESSES + 50):
        throttle.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(throttle) <= MOST_ADDRESSES
    clock.advance(100)
    throttle.failed("192.0.2.1")
    for number in range(MOST_ADDRESSES):
        throttle.failed(f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(throttle) <= MOST_ADDRESSES


def test_an_ipv6_client_is_its_network() -> None:
    """Addresses of one /64 belong to one customer; an IPv4 address in IPv6 form is that address."""
    throttle = Throttle(Clock(), burst=1)
    throttle.failed("2001:db8::1")
    assert throttle.wait("2001:db8::ffff") > 0
    assert throttle.wait("2001:db8:0:1::1") == 0
    throttle.failed("::ffff:192.0.2.1")
    assert throttle.wait("192.0.2.1") > 0
    throttle.failed("no address")
    assert throttle.wait("no address") > 0
