"""How objects are stamped and stand in rows."""

from __future__ import annotations

import msgspec
import pytest

from gnt.model.cluster import Cluster
from gnt.model.epoch import START
from gnt.model.errors import ConfigError
from gnt.model.objects import ClusterSettings, ConfigObject, Instance, Node, NodeGroup
from gnt.store.changes import Change, Put, Space
from gnt.store.configuration import initial_changes, object_changes
from gnt.store.database import Database
from tests.store.support import at, entry

GROUP = NodeGroup(uuid="g1", name="default")
NODE = Node(uuid="n1", name="node1.example.com", primary_ip="192.0.2.1", group="g1", master_candidate=True)
CLUSTER = Cluster.of(
    ClusterSettings(uuid="c1", cluster_name="cluster.example.com", master_node="n1"), [GROUP, NODE], ctime=5.0
)
NOW = 1000.0


def _stored(cluster: Cluster, changes: list[Change]) -> Cluster:
    database = Database.create(None, "uuid")
    database.append(START, [entry(1, *initial_changes(cluster))])
    database.append(at(1), [entry(2, *changes)])
    return database.load_cluster()


def _equal(one: Cluster, two: Cluster) -> bool:
    def everything(cluster: Cluster) -> tuple[list[ConfigObject], int, float, float]:
        objects = sorted(cluster.objects(), key=lambda obj: obj.uuid)
        return objects, cluster.serial_no, cluster.ctime, cluster.mtime

    return everything(one) == everything(two)


def test_a_cluster_comes_back_from_its_rows() -> None:
    """Everything, with serial and times."""
    assert _equal(_stored(CLUSTER, []), CLUSTER)


def test_a_cluster_without_its_instances_is_the_rest_of_it() -> None:
    """For who only asks which nodes there are: it has the same serial and times."""
    whole = CLUSTER.put(Instance(name="web1", uuid="i1", primary_node="n1"))
    database = Database.create(None, "uuid")
    database.append(START, [entry(1, *initial_changes(whole))])
    assert _equal(database.load_cluster(), whole)
    assert _equal(database.load_cluster(instances=False), CLUSTER)


def test_a_new_object_gets_its_stamps() -> None:
    """Serial 1, both times now; the cluster's own serial moves when a node comes, and so does the whole."""
    new = Node(uuid="n2", name="node2.example.com", primary_ip="192.0.2.2", group="g1", serial_no=77)
    head, changes = object_changes(CLUSTER, [new], [], NOW)
    assert (head.nodes["n2"].serial_no, head.nodes["n2"].ctime, head.nodes["n2"].mtime) == (1, NOW, NOW)
    assert (head.serial_no, head.mtime, head.settings.serial_no, head.settings.mtime) == (2, NOW, 2, NOW)
    assert _equal(_stored(CLUSTER, changes), head)


def test_the_cluster_object_is_not_written_for_its_serial() -> None:
    """It is large and would fill the history; its serial stands beside it."""
    _, changes = object_changes(CLUSTER, [msgspec.structs.replace(NODE, drained=True)], [], NOW)
    assert [change.key for change in changes if isinstance(change, Put)] == ["node/n1", "cluster_serial"]


def test_a_change_of_a_group_moves_only_that_group() -> None:
    """And the configuration as a whole."""
    head, changes = object_changes(CLUSTER, [msgspec.structs.replace(GROUP, tags=("a",))], [], NOW)
    assert (head.groups["g1"].serial_no, head.settings.serial_no, head.serial_no) == (2, 1, 2)
    assert _equal(_stored(CLUSTER, changes), head)


def test_a_change_of_the_settings_moves_them_once() -> None:
    """Also when a node changes with them."""
    settings = msgspec.structs.replace(CLUSTER.settings, candidate_pool_size=3)
    head, changes = object_changes(CLUSTER, [settings, msgspec.structs.replace(NODE, tags=("x",))], [], NOW)
    assert (head.settings.serial_no, head.settings.candidate_pool_size) == (2, 3)
    assert _equal(_stored(CLUSTER, changes), head)


def test_what_changes_nothing_moves_nothing() -> None:
    """Neither the same content nor dropping what is not there."""
    absent = NodeGroup(uuid="g9", name="gone")
    same = msgspec.structs.replace(NODE, serial_no=12, mtime=9.0)
    assert object_changes(CLUSTER, [same], [absent], NOW) == (CLUSTER, [])


def test_several_versions_of_one_older_object_follow_each_other() -> None:
    """As a plan makes them: its serial in the store counts, not the one that it was made from."""
    head, _ = object_changes(CLUSTER, [msgspec.structs.replace(NODE, tags=("a",))], [], NOW)
    head, _ = object_changes(head, [msgspec.structs.replace(NODE, tags=("b",))], [], NOW + 1)
    assert (head.nodes["n1"].serial_no, head.nodes["n1"].mtime, head.nodes["n1"].tags) == (3, NOW + 1, ("b",))


def test_a_store_without_a_cluster_or_with_damage_says_so() -> None:
    """Naming the row."""
    database = Database.create(None, "uuid")
    with pytest.raises(ConfigError, match="holds no cluster"):
        database.load_cluster()
    database.append(START, [entry(1, *initial_changes(CLUSTER), Put(Space.OBJECT, "node/n1", b'{"uuid":1}'))])
    with pytest.raises(ConfigError, match="node/n1 is damaged"):
        database.load_cluster()
