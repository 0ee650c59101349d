"""Rules about jobs over the remote API."""

from __future__ import annotations

from typing import Any

from gnt.model.errors import UNKNOWN_ENTITY, Refused
from gnt.rapi.resources.filters import FIELDS
from tests.rapi.room import Room, objects

UUID = "00000000-0000-4000-8000-000000000001"
RULE: dict[str, Any] = {
    "uuid": UUID,
    "watermark": 7,
    "priority": 3,
    "predicates": [["jobid", [">", "id", "watermark"]]],
    "action": ["RATE_LIMIT", 2],
    "reason_trail": [["gnt:user", "night", 5]],
}
MOMENT = 1_700_000_000 * 10**9


def test_rules_are_listed(room: Room) -> None:
    """By UUID and URI, or with their fields; one alone too."""
    room.master.answers["Query"] = objects(filter=[RULE])
    assert room.ask("GET", "/2/filters").json == [{"uuid": UUID, "uri": f"/2/filters/{UUID}"}]
    assert room.ask("GET", "/2/filters?bulk=1").json == [RULE]
    room.master.answers["QueryFilters"] = [[RULE[field] for field in FIELDS]]
    assert room.ask("GET", f"/2/filters/{UUID}").json == RULE
    room.master.answers["QueryFilters"] = Refused(UNKNOWN_ENTITY, "There is no filter named x")
    assert room.ask("GET", "/2/filters/x").status == 404


def test_rules_are_set(room: Room) -> None:
    """What is not given has its default; who asked stands behind what the client says."""
    room.master.answers["ReplaceFilter"] = UUID
    assert room.ask("POST", "/2/filters", {"action": "PAUSE", "reason": [["x", "y", 1]]}).json == UUID
    method, arguments = room.master.asked[-1][:2]
    assert (method, arguments[:4]) == ("ReplaceFilter", [None, 0, [], "PAUSE"])
    assert arguments[4] == [["x", "y", 1], ["gnt:library:rlib2:filters", "", MOMENT]]
    assert room.ask("PUT", f"/2/filters/{UUID}", {"priority": 5}).json == UUID
    assert room.master.asked[-1][1][:4] == [UUID, 5, [], "CONTINUE"]


def test_what_is_no_rule_is_refused(room: Room) -> None:
    """A parameter that there is not, here; a bad value, by the master."""
    answer = room.ask("POST", "/2/filters", {"colour": "red"})
    assert (answer.status, "$.colour" in answer.json["message"]) == (400, True)
    assert room.ask("POST", "/2/filters", {"reason": "because"}).status == 400
    assert room.master.asked == []
    room.master.answers["ReplaceFilter"] = Refused("wrong_input", "action: STOP is none")
    assert room.ask("POST", "/2/filters", {"action": "STOP"}).status == 400


def test_rules_are_removed(room: Room) -> None:
    """Nothing is answered."""
    room.master.answers["DeleteFilter"] = None
    answer = room.ask("DELETE", f"/2/filters/{UUID}")
    assert (answer.status, answer.body) == (200, b"null\n")
    assert room.master.asked[-1][:2] == ("DeleteFilter", [UUID])
