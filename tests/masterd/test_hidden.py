"""Secrets in what is open: neither the undo rows nor the debts of an opcode have them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gnt.masterd.jobs.seam import LeftForRecovery
from gnt.masterd.plan import Forward, Keep, Reserve, Undoable, on
from gnt.masterd.surroundings import open_calls
from gnt.model.epoch import START, Epoch, Position
from gnt.model.errors import InDoubt, NotReached
from gnt.model.specs import instance_spec
from gnt.store.changes import Entry, Put, Space
from gnt.store.database import Database
from gnt.wire.guest_calls import MigrationAccept, MigrationCancel, MigrationFinish
from tests.masterd.fakes import NODE1, NODE2, Run, cluster_of_three
from tests.masterd.test_engine import WEB1, SleepOpcode, World, done, make, planned, take_back

SECRET = "open sesame"
HIDING = msgspec.structs.replace(WEB1, osparams_private={"root_password": SECRET})
SPEC = instance_spec(cluster_of_three().put(HIDING), HIDING)


def public(world: World) -> bytes:
    """Give all rows of open work that stay in the log."""
    return b"\n".join(value for (space, _), value in world.journal.rows_.items() if space in {Space.UNDO, Space.DEBT})


def secrets(world: World) -> list[str]:
    """Give the keys of what is hidden for open work."""
    return [key for space, key in world.journal.rows_ if space is Space.SECRET]


PLANS = {
    "reserved": (Reserve((HIDING,)), Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1)))),
    "kept": (Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1))), Keep((HIDING,))),
    "undone": (
        Undoable(
            on(NODE1, MigrationAccept(instance=SPEC, source="node2", address="192.0.2.1")),
            undo=on(NODE1, MigrationCancel(instance=SPEC)),
        ),
    ),
    "finished": (Keep((WEB1,)), Forward(on(NODE1, MigrationFinish(instance=SPEC, arrived=False)))),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_row_that_would_hold_a_secret_stands_among_the_secrets(name: str) -> None:
    """While it is open; afterwards nothing of it is left in either place."""
    world = World()
    seen: list[tuple[bytes, list[str]]] = []
    world.nodes.before = lambda _node, _call: seen.append((public(world), secrets(world)))
    world.run(planned(*PLANS[name]))
    assert seen
    for rows, hidden in seen:
        assert rows
        assert SECRET.encode() not in rows
        assert hidden == ["undo/7/0/001"]
    assert world.open_rows() == secrets(world) == []


def test_a_row_without_secrets_is_in_one_place() -> None:
    """Hiding costs only those who have something to hide."""
    world = World()
    seen: list[list[str]] = []
    world.nodes.before = lambda _node, _call: seen.append(secrets(world))
    world.run(planned(Reserve((WEB1,)), Undoable(on(NODE1, make(1)), undo=on(NODE1, take_back(1)))))
    assert seen == [[]]


def test_the_next_master_settles_with_what_was_hidden() -> None:
    """It undoes what was begun, and keeps what was to be kept, secret and all."""
    world = World()

    def stop(_node: str, _call: Any) -> None:
        raise LeftForRecovery

    world.nodes.before = stop
    with pytest.raises(LeftForRecovery):
        world.run(planned(Forward(on(NODE1, MigrationFinish(instance=SPEC, arrived=True))), Keep((HIDING,))))
    world.nodes.before = lambda _node, _call: None
    world.nodes.outcomes["7/0/0/1"] = "in_doubt"
    done(world.engine.recover(Run(SleepOpcode(duration=0))))
    (call,) = [call for _, call in world.nodes.made if isinstance(call, MigrationFinish)]
    assert call.instance.osparams_private == {"root_password": SECRET}
    assert world.journal.head.instances[WEB1.uuid].osparams_private == {"root_password": SECRET}
    assert world.open_rows() == secrets(world) == []


def test_what_a_node_owes_is_hidden_until_it_is_paid() -> None:
    """The debt says who owes what to people; the call itself is hidden."""
    world = World(migration_cancel=lambda _node, _call: NotReached("no connection"))
    world.nodes.answers["migration_accept"] = lambda _node, _call: InDoubt("too late")
    world.run(planned(*PLANS["undone"]))
    (key,) = world.open_rows()
    assert SECRET.encode() not in public(world)
    assert secrets(world) == [f"debt/{key}"]
    world.nodes.answers.clear()
    assert len(done(world.engine.pay(NODE1)).paid) == 1
    (call,) = [call for _, call in world.nodes.made if isinstance(call, MigrationCancel)][-1:]
    assert call.instance.osparams_private == {"root_password": SECRET}
    assert world.open_rows() == secrets(world) == []


def test_calls_of_hidden_rows_are_known_at_the_takeover() -> None:
    """What a new master asks the nodes at their fences does not need the secrets."""
    world = World()
    rows: dict[str, bytes] = {}
    world.nodes.before = lambda _node, _call: rows.update(
        {key: value for (space, key), value in world.journal.rows_.items() if space is Space.UNDO}
    )
    world.run(planned(*PLANS["reserved"]))
    database = Database.create(None, "cluster-uuid")
    changes = tuple(Put(Space.UNDO, key, value) for key, value in rows.items())
    position = Position(epoch=Epoch(number=1, node="a"), serial=1)
    database.append(START, [Entry(position=position, time=1.0, changes=changes, jobs=(7,) * len(changes))])
    assert list(open_calls(database)(NODE1)) == ["7/0/0/1"]
    assert list(open_calls(database)(NODE2)) == []
