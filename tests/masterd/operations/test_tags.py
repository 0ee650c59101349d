"""Tags: put on and taken off, on every kind of object that may have them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gnt.masterd.jobs.lockset import Level
from gnt.model.objects import Network
from tests.masterd.operations.ground import Ground

NETWORK = Network(uuid="00000000-0000-4000-8000-0000000000bb", name="net1", network="192.0.2.0/24")
KINDS: dict[str, tuple[str | None, Level]] = {
    "cluster": (None, Level.NODEGROUP),
    "node": ("node2", Level.NODE),
    "nodegroup": ("default", Level.NODEGROUP),
    "instance": ("web1", Level.INSTANCE),
    "network": ("net1", Level.NETWORK),
}


def ground() -> Ground:
    """Give a cluster with one of everything."""
    made = Ground()
    made.add()
    made.journal.head = made.journal.head.put(NETWORK)
    return made


def tags(made: Ground, kind: str) -> list[str]:
    """Read an object's tags."""
    found: list[str] = made.run("OP_TAGS_GET", kind=kind, name=KINDS[kind][0]).result
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_tags_are_put_on_and_taken_off(kind: str) -> None:
    """Each once; the object is locked exclusively meanwhile, the cluster's settings as for any change of them."""
    made, (name, level) = ground(), KINDS[kind]
    assert made.run("OP_TAGS_SET", kind=kind, name=name, tags=["b", "a", "b"]).error is None
    assert {lock.level for lock in made.locks.wanted if lock.exclusive} == {level}
    assert tags(made, kind) == ["a", "b"]
    assert made.run("OP_TAGS_DEL", kind=kind, name=name, tags=["a"]).error is None
    assert tags(made, kind) == ["b"]
    assert "unknown_entity: There is no tag 'a' on it" in made.refused("OP_TAGS_DEL", kind=kind, name=name, tags=["a"])


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"kind": "node", "name": "node2", "tags": ["a b"]}, "character that is not allowed"),
        ({"kind": "node", "name": "node2", "tags": [""]}, "1 to 128 characters"),
        ({"kind": "node", "name": "node9", "tags": ["a"]}, "node9 is not a node"),
        ({"kind": "node", "tags": ["a"]}, "which node?"),
        ({"kind": "cluster", "tags": [f"t{number}" for number in range(4097)]}, "4096 tags, not 4097"),
    ],
)
def test_bad_tags_are_refused(parameters: dict[str, Any], text: str) -> None:
    """Nothing is changed, the good ones among them neither."""
    assert text in ground().refused("OP_TAGS_SET", **parameters)


def test_tags_that_are_there_already_change_nothing() -> None:
    """Not even the serial number."""
    made = ground()
    made.journal.head = made.journal.head.put(replace(made.journal.head.node("node2"), tags=("a",)))
    before = made.journal.head
    assert made.run("OP_TAGS_SET", kind="node", name="node2", tags=["a"]).error is None
    assert made.journal.head == before
