"""The past of the configuration as the store tells it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from gnt.model.cluster import Cluster
from gnt.model.epoch import START
from gnt.model.errors import Refused
from gnt.model.objects import ClusterSettings, ConfigObject, Disk, DiskTemplate, Instance, Node, NodeGroup
from gnt.store.configuration import initial_changes, object_changes
from gnt.store.database import Database
from gnt.store.past import Field, ObjectChange, Past
from tests.store.support import at, entry

WEB = Instance(uuid="i1", name="web1.example.com", primary_node="n1", disks=("d1",), beparams={"memory": 512})
CLUSTER = Cluster.of(
    ClusterSettings(uuid="c1", cluster_name="cluster.example.com", master_node="n1"),
    [
        NodeGroup(uuid="g1", name="default"),
        Node(uuid="n1", name="node1.example.com", primary_ip="192.0.2.1", group="g1", master_candidate=True),
        Node(uuid="n2", name="node2.example.com", primary_ip="192.0.2.2", group="g1"),
    ],
)


class World:
    """A store in which things happen at 1000, 2000, 3000, …; all but the last entry is committed."""

    def __init__(self) -> None:
        self.database = Database.create(None, "c1")
        self.head = CLUSTER
        self.database.append(START, [entry(1, *initial_changes(CLUSTER), time=1000.0)])

    def change(self, *put: ConfigObject, drop: Iterable[ConfigObject] = (), job: int = 0) -> None:
        """Change objects, a thousand seconds later."""
        serial = self.database.end.serial + 1
        self.head, changes = object_changes(self.head, put, drop, serial * 1000.0)
        self.database.append(at(serial - 1), [entry(serial, *changes, job=job, time=serial * 1000.0)])

    def past(self, committed: int | None = None) -> Past:
        """Give the past."""
        return Past(self.database, self.database.end.serial if committed is None else committed)

    @property
    def web(self) -> Instance:
        """Give the instance."""
        return self.head.instances["i1"]


@pytest.fixture
def world() -> World:
    """Give a world with an instance that is added, gets memory, moves, and goes."""
    made = World()
    disk = Disk(uuid="d1", dev_type=DiskTemplate.PLAIN, size=1024, logical_id=("vg", "lv"), nodes=("n1",))
    made.change(WEB, disk, job=7)
    made.change(replace(made.web, beparams={"memory": 1024}, osparams_private={"pw": "hunter2"}), job=8)
    made.change(replace(made.web, primary_node="n2"), job=9)
    made.change(drop=[made.web, made.head.disks["d1"]], job=10)
    return made


def test_changes_of_an_object_field_by_field(world: World) -> None:
    """The newest first, with time, job and serials; UUIDs as names, secrets redacted."""
    changes = world.past().changes("instance", "web1", None, None, 100)
    assert [(change.time, change.job, change.change.what) for change in changes] == [
        (5000.0, 10, "removed"),
        (4000.0, 9, "changed"),
        (3000.0, 8, "changed"),
        (2000.0, 7, "added"),
    ]
    assert changes[1].change == ObjectChange(
        kind="instance",
        uuid="i1",
        name="web1.example.com",
        what="changed",
        old_serial=2,
        new_serial=3,
        fields=(Field(name="primary_node", old="node1.example.com", new="node2.example.com"),),
    )
    assert changes[2].change.fields == (
        Field(name="beparams/memory", old=512, new=1024),
        Field(name="osparams_private/pw", old=None, new="<redacted>"),
    )


def test_changes_of_everything_within_times(world: World) -> None:
    """Bounds belong to the span; the limit takes the newest."""
    found = world.past().changes(None, None, 2000.0, 2000.0, 100)
    assert {(change.change.kind, change.change.what) for change in found} == {("disk", "added"), ("instance", "added")}
    [newest] = world.past().changes(None, None, None, None, 1)
    assert (newest.entry, newest.change.what) == (5, "removed")


def test_what_is_not_committed_has_not_happened(world: World) -> None:
    """Neither as a change nor in what an object was."""
    past = world.past(committed=4)
    assert past.changes("instance", None, None, None, 100)[0].change.what == "changed"
    assert past.object_at("instance", "web1", 9000.0).object["primary_node"] == "n2"


def test_an_object_of_a_name_that_never_was_is_refused(world: World) -> None:
    """Also one of another kind."""
    for kind, name in (("node", "web1"), (None, "web"), ("filter", None)):
        with pytest.raises(Refused, match="knows of no"):
            world.past().changes(kind, name, None, None, 10)


def test_an_object_as_it_was(world: World) -> None:
    """With its disks, and the names of what it refers to; also when it is gone now."""
    found = world.past().object_at("instance", "web1.example.com", 2500.0)
    assert (found.uuid, found.object["beparams"], found.object["serial_no"]) == ("i1", {"memory": 512}, 1)
    assert [disk["size"] for disk in found.disks] == [1024]
    assert found.names["n1"] == "node1.example.com"
    for time in (1500.0, 5000.0):
        with pytest.raises(Refused, match="was no instance"):
            world.past().object_at("instance", "web1", time)
    assert world.past().object_at("cluster", None, 1500.0).name == "cluster.example.com"


def test_an_object_that_had_another_name_is_found_by_both(world: World) -> None:
    """A rename is a change like others."""
    node = replace(world.head.nodes["n2"], name="box.example.com")
    world.change(node)
    for name in ("node2", "box.example.com", "n2"):
        assert len(world.past().changes("node", name, None, None, 10)) == 2
    assert world.past().object_at("node", "node2", 5500.0).uuid == "n2"
    with pytest.raises(Refused):
        world.past().object_at("node", "node2", 6500.0)


def test_what_differs_between_two_times(world: World) -> None:
    """In both directions; what came and went between them differs in nothing."""
    past = world.past()
    assert past.differences(1500.0, 5500.0) == []
    assert [(change.kind, change.what) for change in past.differences(1500.0, 3500.0)] == [
        ("disk", "added"),
        ("instance", "added"),
    ]
    [change] = past.differences(4500.0, 2500.0)
    assert {field.name: (field.old, field.new) for field in change.fields} == {
        "beparams/memory": (1024, 512),
        "osparams_private/pw": ("<redacted>", None),
        "primary_node": ("node2.example.com", "node1.example.com"),
    }


def test_a_time_that_is_forgotten_is_refused(world: World) -> None:
    """What is kept stays right."""
    world.database.trim_history(2500.0)
    past = world.past()
    assert past.kept_from() == 2500.0
    with pytest.raises(Refused, match="does not go back"):
        past.object_at("instance", "web1", 2400.0)
    assert past.object_at("instance", "web1", 2600.0).object["beparams"] == {"memory": 512}
    [*_, oldest] = past.changes("instance", "web1", None, None, 10)
    assert (oldest.change.what, oldest.job) == ("changed", 8)
