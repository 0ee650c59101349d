"""Answers that are kept: never older than the request, asked for once for many clients, encoded once."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gnt.model.errors import Refused
from gnt.rapi import keeper
from tests.rapi.room import HANG_UP, PLAIN, Room, request, table
from tests.rapi.test_resources import WEB


class Cluster:
    """What the master knows: values by method, and their stamps."""

    def __init__(self, room: Room) -> None:
        self.stamp: str | None = "1.7"
        self.value: Any = {"name": "demo"}
        self.given = 0
        room.master.answers["IfChanged"] = self.if_changed

    def if_changed(self, known: str | None, _method: str, _args: list[Any]) -> Any:
        """Answer."""
        if isinstance(self.value, Exception):
            return self.value
        if known is not None and known == self.stamp:
            return {"stamp": known}
        self.given += 1
        return {"stamp": self.stamp, "result": self.value}


def info(room: Room, **headers: str) -> Any:
    """Ask for the cluster's description."""
    return room.ask("GET", "/2/info", headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_what_holds_still_is_not_given_again(room: Room) -> None:
    """The master is asked each time, and gives a value only if it is new; the tag is its stamp."""
    cluster = Cluster(room)
    answers = [info(room) for _ in range(3)]
    assert [answer.json["name"] for answer in answers] == ["demo"] * 3
    assert {answer.headers["etag"] for answer in answers} == {'W/"1.7"'}
    assert [args[0] for method, args in room.master.asked] == [None, "1.7", "1.7"]
    assert cluster.given == 1
    cluster.stamp, cluster.value = "1.8", {"name": "other"}
    assert info(room).json["name"] == "other"
    assert info(room, If_None_Match='W/"1.7"').status == 200
    assert info(room, If_None_Match='W/"1.8"').status == 304


def test_a_tag_stays_while_the_answer_does(room: Room) -> None:
    """A change elsewhere in the configuration is none of what is shown here."""
    cluster = Cluster(room)
    tag = info(room).headers["etag"]
    cluster.stamp = "1.9"
    again = info(room, If_None_Match=tag)
    assert (again.status, again.headers["etag"]) == (304, tag)


def test_what_has_no_stamp_is_not_kept(room: Room) -> None:
    """Its tag is a digest of what it shows."""
    cluster = Cluster(room)
    cluster.stamp = None
    first, second = info(room), info(room)
    assert cluster.given == 2
    assert first.headers["etag"] == second.headers["etag"]
    assert info(room, If_None_Match=first.headers["etag"]).status == 304


def test_answers_do_not_mix(room: Room) -> None:
    """What was asked for decides: path and query."""
    room.master.answers["IfChanged"] = _one
    for path in ("/2/instances/web1", "/2/instances/web2"):
        for _ in range(2):
            assert room.ask("GET", path).json["name"] == path.rpartition("/")[2]
    assert room.ask("GET", "/2/instances").json[0].keys() == {"id", "uri"}
    assert "beparams" in room.ask("GET", "/2/instances?bulk=1").json[0]


def _one(known: str | None, _method: str, args: list[Any]) -> Any:
    name = args[2][1][2] if args[2] else "all"
    return {"stamp": "1.1"} if known else {"stamp": "1.1", "result": table(args[1], {**WEB, "name": name})}


def test_who_may_not_read_gets_nothing_kept(room: Room) -> None:
    """Access is looked at before what is kept."""
    Cluster(room)
    assert info(room).status == 200
    assert room.ask("GET", "/2/info", user=None).status == 401
    assert room.ask("GET", "/2/info", user="writer:wrong").status == 401
    assert room.ask("GET", "/2/info", user=PLAIN).status == 200


def test_many_clients_are_one_question(room: Room) -> None:
    """Those that come while the master is asked are answered by the next question, as none may see what is older."""
    cluster = Cluster(room)
    first: Deferred[Any] = Deferred()
    room.master.answers["IfChanged"] = first
    clients = [room.client() for _ in range(10)]
    for client in clients:
        client.send(request("GET", "/2/info"))
    assert len(room.master.asked) == 1
    room.master.answers["IfChanged"] = cluster.if_changed
    cluster.stamp, cluster.value = "2.1", {"name": "newer"}
    first.callback({"stamp": "1.7", "result": {"name": "demo"}})
    names = [client.received()[0].json["name"] for client in clients]
    assert names == ["demo"] + ["newer"] * 9
    assert len(room.master.asked) == 2


def test_a_client_that_leaves_does_not_harm_the_others(room: Room) -> None:
    """What they wait for together goes on."""
    first: Deferred[Any] = Deferred()
    room.master.answers["IfChanged"] = first
    leaving, staying = room.client(), room.client()
    leaving.send(request("GET", "/2/info"))
    staying.send(request("GET", "/2/info"))
    leaving.hang_up()
    room.master.answers["IfChanged"] = {"stamp": "1", "result": {"name": "demo"}}
    first.callback({"stamp": "1", "result": {"name": "demo"}})
    assert staying.received()[0].status == 200


@pytest.mark.parametrize(
    ("trouble", "status"),
    [(Refused("unknown_entity", "no such"), 404), (HANG_UP, 502), ({"stamp": "9"}, 502), (3, 502)],
)
def test_trouble_is_everybodys_and_is_over_afterwards(room: Room, trouble: Any, status: int) -> None:
    """An error is answered to all who waited; the next question is a new one."""
    cluster = Cluster(room)
    room.master.answers["IfChanged"] = lambda *_: trouble
    assert info(room).status == status
    room.master.answers["IfChanged"] = cluster.if_changed
    assert info(room).status == 200


def test_what_is_kept_has_a_limit(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest unused goes; what is larger than everything is answered and not kept."""
    monkeypatch.setattr(keeper, "MOST_BYTES", 5000)
    cluster = Cluster(room)
    cluster.value = ["t" * 2000]
    for name in ("a", "b", "c", "a"):
        assert room.ask("GET", f"/2/instances/{name}/tags").status == 200
    assert cluster.given == 4
    assert room.ask("GET", "/2/instances/c/tags").status == 200
    assert cluster.given == 4
    cluster.value = ["t" * 6000]
    for _ in range(2):
        assert len(room.ask("GET", "/2/instances/d/tags").json[0]) == 6000
    assert cluster.given == 6


def test_large_answers_are_compressed_once(room: Room) -> None:
    """In a thread, so that others do not wait; the same bytes serve every client."""
    cluster = Cluster(room)
    cluster.value = ["tag"] * 200_000
    first = room.ask("GET", "/2/tags", headers={"Accept-Encoding": "gzip"})
    second = room.ask("GET", "/2/tags", headers={"Accept-Encoding": "gzip"})
    assert first.json == second.json == cluster.value
    assert room.pools.done == 1
