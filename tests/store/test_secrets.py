"""Secrets of objects stand apart from their rows, and go when they are replaced or removed."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from gnt.model.cluster import Cluster
from gnt.model.epoch import START
from gnt.model.objects import ClusterSettings, ConfigObject, Disk, DiskTemplate, Instance, Node, NodeGroup
from gnt.store.changes import Change, Put, Space
from gnt.store.configuration import initial_changes, object_changes
from gnt.store.database import Database
from gnt.store.vault import copy_store
from tests.store.support import at, entry

WEB = Instance(uuid="i1", name="web1", primary_node="n1", disks=("d1",), osparams_private={"password": "hunter2-web"})
PART = Disk(uuid="p1", dev_type=DiskTemplate.PLAIN, size=1, logical_id=("vg", "lv"))
DRBD = Disk(
    uuid="d1",
    dev_type=DiskTemplate.DRBD,
    size=1,
    logical_id=("n1", "n2", 11000, 0, 0, "hunter2-drbd"),
    children=(PART,),
)
CLUSTER = Cluster.of(
    ClusterSettings(
        uuid="c1", cluster_name="c", master_node="n1", osparams_private_cluster={"debian": {"k": "hunter2-os"}}
    ),
    [
        NodeGroup(uuid="g1", name="default"),
        Node(uuid="n1", name="node1", primary_ip="192.0.2.1", group="g1", master_candidate=True),
        WEB,
        DRBD,
    ],
)


class _Store:
    """A store with the cluster above in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Database.create(path, "c1")
        self.head = CLUSTER
        self._append(list(initial_changes(CLUSTER)))

    def _append(self, changes: list[Change]) -> None:
        serial = self.database.end.serial + 1
        self.database.append(at(serial - 1), [entry(serial, *changes)], committed=serial)

    def change(self, *put: ConfigObject, drop: tuple[ConfigObject, ...] = ()) -> None:
        """Write objects, and what every master writes behind: so that it is committed."""
        self.head, changes = object_changes(self.head, put, drop, 1000.0)
        self._append(changes)

    def bytes(self) -> bytes:
        """Give the file once all is folded in."""
        self.database.close()
        data = self.path.read_bytes()
        self.database = Database.open(self.path)
        return data


def test_secrets_come_back_with_their_objects(tmp_path: Path) -> None:
    """Of instances, of disks, of the cluster; no row, history or log entry of an object holds one."""
    store = _Store(tmp_path / "config.db")
    store.change(replace(WEB, tags=("a",)))
    loaded = store.database.load_cluster()
    assert sorted(loaded.objects(), key=lambda obj: obj.uuid) == sorted(store.head.objects(), key=lambda obj: obj.uuid)
    for _, value in store.database.rows(Space.OBJECT):
        assert b"hunter2" not in value
    [newer, _] = store.database.history("instance/i1")
    assert newer.value is not None
    assert b"hunter2" not in newer.value
    for made in store.database.entries_after(START, 2**20) or ():
        for change in made.changes:
            if isinstance(change, Put) and change.space is Space.OBJECT:
                assert b"hunter2" not in change.value


def test_a_change_that_leaves_the_secret_does_not_write_it_again() -> None:
    """The log would hold it once more for nothing."""
    _, changes = object_changes(CLUSTER, [replace(WEB, tags=("a",))], [], 1000.0)
    assert [change.space for change in changes if isinstance(change, Put)] == [Space.OBJECT, Space.META]


def test_nothing_of_a_replaced_or_removed_secret_stays(tmp_path: Path) -> None:
    """Neither in the table nor in the log, the history or free pages of the file."""
    store = _Store(tmp_path / "config.db")
    store.change(replace(WEB, osparams_private={"password": "hunter2-new"}))
    data = store.bytes()
    assert b"hunter2-web" not in data
    assert b"hunter2-new" in data
    store.change(replace(store.head.instances["i1"], osparams_private={}))
    assert b"hunter2-new" not in store.bytes()
    store.change(drop=(store.head.disks["d1"],))
    settings = replace(store.head.settings, osparams_private_cluster={})
    store.change(settings)
    assert b"hunter2" not in store.bytes()
    assert store.database.rows(Space.SECRET) == []


def test_an_export_has_none(tmp_path: Path) -> None:
    """And its objects are whole but for them."""
    store = _Store(tmp_path / "config.db")
    store.change(replace(WEB, tags=("a",)))
    copy_store(store.path, tmp_path / "export.db", export=True)
    assert b"hunter2" not in (tmp_path / "export.db").read_bytes()
    exported = Database.open(tmp_path / "export.db")
    cluster = exported.load_cluster()
    assert cluster.instances["i1"] == replace(store.head.instances["i1"], osparams_private={})
    assert cluster.disks["d1"].logical_id[:5] == DRBD.logical_id[:5]
    assert cluster.settings.osparams_private_cluster == {}
    exported.close()
