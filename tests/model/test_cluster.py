"""The cluster as a value: lookups, relations, and indices that stay true under change."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, Refused
from gnt.model.objects import ClusterSettings, Disk, DiskTemplate, Instance, JobFilter, Network, Node, NodeGroup
from gnt.model.table import SharedMap, Table

SETTINGS = ClusterSettings(uuid="c", cluster_name="c", master_node="n1")


# Tables


@given(st.lists(st.tuples(st.text(max_size=4), st.none() | st.integers())))
def test_a_shared_map_behaves_like_a_dict(changes: list[tuple[str, int | None]]) -> None:
    """Putting and dropping (None) in any order gives what a dict gives, and leaves earlier copies as they were."""
    model: dict[str, int] = {}
    shared = SharedMap[int]()
    history: list[tuple[SharedMap[int], dict[str, int]]] = []
    for key, value in changes:
        history.append((shared, dict(model)))
        if value is None:
            model.pop(key, None)
            shared = shared.drop(key)
        else:
            model[key] = value
            shared = shared.put(key, value)
    history.append((shared, model))
    for copy, expected in history:
        assert dict(copy) == expected
        assert len(copy) == len(expected)
        assert all(key in copy for key in expected)


@given(st.lists(st.text(max_size=5), unique=True), st.randoms())
def test_the_order_depends_on_the_keys_alone(keys: list[str], random: Any) -> None:
    """Two maps with the same keys are walked in the same order, however they came to be."""
    built = SharedMap((key, 0) for key in keys)
    random.shuffle(keys)
    grown = SharedMap[int]().put("gone", 1)
    for key in keys:
        grown = grown.put(key, 0)
    if "gone" not in keys:
        grown = grown.drop("gone")
    assert list(grown) == list(built)


@pytest.mark.parametrize("missing", ["nobody", "", 3, None])
def test_what_is_not_in_a_map_is_not_in_it(missing: Any) -> None:
    """Keys of any type may be asked for."""
    assert missing not in SharedMap([("a", 1)])
    assert missing not in Table([NodeGroup(name="a", uuid="u")])


class Changes(RuleBasedStateMachine):
    """Random puts and drops, compared with the same cluster built anew."""

    uuids = st.sampled_from(["a", "b", "c", "d"])
    names = st.sampled_from(["web1.example.com", "WEB1.example.com", "web1.other.org", "web1", "db1.example.com"])
    nodes = st.sampled_from(["", "n1", "n2", "n3"])

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster.of(SETTINGS)
        self.kept: dict[tuple[type, str], Any] = {}

    def _put(self, obj: Any) -> None:
        self.cluster = self.cluster.put(obj)
        self.kept[type(obj), obj.uuid] = obj

    @rule(uuid=uuids, name=names, node=nodes, disks=st.lists(uuids, unique=True, max_size=2))
    def put_instance(self, uuid: str, name: str, node: str, disks: list[str]) -> None:
        """Add or change an instance; a disk has one owner, as in any sound configuration."""
        owned = {d for (kind, u), o in self.kept.items() if kind is Instance and u != uuid for d in o.disks}
        own = tuple(disk for disk in disks if disk not in owned)
        self._put(Instance(name=name, uuid=uuid, primary_node=node, disks=own))

    @rule(uuid=uuids, nodes=st.lists(nodes.filter(bool), unique=True, max_size=2))
    def put_disk(self, uuid: str, nodes: list[str]) -> None:
        """Add or change a disk."""
        self._put(Disk(uuid=uuid, dev_type=DiskTemplate.PLAIN, nodes=tuple(nodes)))

    @rule(uuid=uuids, name=names)
    def put_node(self, uuid: str, name: str) -> None:
        """Add or rename a node."""
        self._put(Node(uuid=uuid, name=name, primary_ip="192.0.2.1", group="g"))

    @rule(kind=st.sampled_from([Instance, Disk, Node]), uuid=uuids)
    def drop(self, kind: type, uuid: str) -> None:
        """Remove an object, which may not be there."""
        gone = self.kept.pop((kind, uuid), None)
        if gone is not None:
            self.cluster = self.cluster.drop(gone)
            self.cluster = self.cluster.drop(gone)

    @invariant()
    def equals_a_cluster_built_anew(self) -> None:
        """Content and every index are as if there had never been a change."""
        anew = Cluster.of(SETTINGS, self.kept.values())
        assert self.cluster == anew
        assert list(self.cluster.objects()) == list(anew.objects())
        for node in ("n1", "n2", "n3"):
            assert self.cluster.instances_on(node) == anew.instances_on(node)
            assert self.cluster.secondary_instances_on(node) == anew.secondary_instances_on(node)
        for uuid in ("a", "b", "c", "d"):
            assert self.cluster.owner(uuid) == anew.owner(uuid)
        for text in ("web1", "web1.example", "WEB1.EXAMPLE.COM", "db1", "web"):
            assert self.cluster.instances.matching(text) == anew.instances.matching(text)
            assert self.cluster.instances.by_name(text) == anew.instances.by_name(text)

    @invariant()
    def relations_are_what_a_search_finds(self) -> None:
        """Check that the indices agree with looking through everything."""
        instances = list(self.cluster.instances.values())
        for node in ("n1", "n2", "n3"):
            assert {i.uuid for i in self.cluster.instances_on(node)} == {
                i.uuid for i in instances if i.primary_node == node
            }
            assert {i.uuid for i in self.cluster.secondary_instances_on(node)} == {
                i.uuid for i in instances if node in self.cluster.secondary_uuids(i)
            }


Changes.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestChanges = Changes.TestCase


# Lookups


def test_objects_are_found_by_name_uuid_and_short_name(cluster: Cluster) -> None:
    """In any case of letters; whole leading parts only."""
    for text in ("web2.example.com", "WEB2.Example.COM", "i2", "web2", "web2.example"):
        assert cluster.instance(text).uuid == "i2"
    assert cluster.node("node1").uuid == "n1"
    assert cluster.group("default").uuid == "g1"
    assert cluster.network("lan").uuid == "net1"
    assert cluster.disk("d1").size == 1024


@pytest.mark.parametrize("text", ["web", "web2.exa", "example.com", "", ".", "web2.", "../web2", "\0"])
def test_part_of_a_name_part_finds_nothing(cluster: Cluster, text: str) -> None:
    """Only whole leading parts count, so a slip never hits another instance."""
    with pytest.raises(Refused) as caught:
        cluster.instance(text)
    assert caught.value.code == UNKNOWN_ENTITY


def test_an_unknown_node_is_refused_with_the_known_ones(cluster: Cluster) -> None:
    """One line, and the names that there are, as people count them."""
    with pytest.raises(Refused) as caught:
        cluster.node("node9")
    assert caught.value.text == "node9 is not a node of this cluster"
    assert caught.value.hint == "known nodes: node1.example.com node2.example.com node10.example.com"
    with pytest.raises(Refused, match="x is not an instance of this cluster"):
        cluster.instance("x")
    with pytest.raises(Refused, match="x is not a disk of this cluster"):
        cluster.disk("x")


def test_the_hint_stays_short() -> None:
    """Of many names eight are shown, of none that there are none; a long text is cut."""
    many = Cluster.of(SETTINGS, [Network(name=f"n{i}", uuid=str(i), network="x") for i in range(30)])
    with pytest.raises(Refused) as caught:
        many.network("y" * 500)
    assert caught.value.hint == "known networks: n0 n1 n2 n3 n4 n5 n6 n7 and 22 more"
    assert len(caught.value.text) < 150
    with pytest.raises(Refused) as caught:
        many.instance("w")
    assert caught.value.hint == "there are no instances"


def test_an_ambiguous_short_name_is_refused() -> None:
    """The names that it could be are shown; a full name is never ambiguous."""
    cluster = Cluster.of(
        SETTINGS,
        [Instance(name=name, uuid=name) for name in ("web.a.org", "web.b.org", "db", "db.a.org")],
    )
    with pytest.raises(Refused) as caught:
        cluster.instance("web")
    assert caught.value.text == "web is more than one instance of this cluster"
    assert caught.value.hint == "could be: web.a.org web.b.org"
    assert cluster.instance("web.a").name == "web.a.org"
    assert cluster.instance("db").name == "db"


# Relations


def test_relations(cluster: Cluster) -> None:
    """Master, candidates, members, disks, owners, primaries and secondaries."""
    web1, web2, db = cluster.instance("i1"), cluster.instance("i2"), cluster.instance("i3")
    assert cluster.master.uuid == "n1"
    assert [node.uuid for node in cluster.candidates()] == ["n1", "n2", "n10"]
    assert [node.uuid for node in cluster.members(cluster.group("default"))] == ["n1", "n2", "n10"]
    assert cluster.group_of(cluster.master).name == "default"
    assert [disk.uuid for disk in cluster.disks_of(web1)] == ["d1"]
    assert cluster.owner("d1") == web1
    assert cluster.owner("nothing") is None
    assert [node.uuid for node in cluster.secondaries(web1)] == ["n2"]
    assert cluster.secondaries(web2) == ()
    assert {instance.uuid for instance in cluster.instances_on("n1")} == {"i1", "i3"}
    assert cluster.secondary_instances_on("n2") == (web1,)
    assert cluster.secondary_instances_on("n1") == ()
    assert cluster.disk_template(web1) is DiskTemplate.DRBD
    assert cluster.disk_template(db) is DiskTemplate.DISKLESS
    assert cluster.disk_template(replace(web1, disks=("d1", "d2"))) is DiskTemplate.MIXED
    assert [instance.name.split(".")[0] for instance in cluster.sorted_instances()] == ["db", "web1", "web2"]


def test_a_failover_moves_an_instance_in_the_index(cluster: Cluster) -> None:
    """After its primary node changes, primary and secondary are swapped."""
    moved = cluster.put(replace(cluster.instance("i1"), primary_node="n2"))
    assert {instance.uuid for instance in moved.instances_on("n2")} == {"i1", "i2"}
    assert [instance.uuid for instance in moved.secondary_instances_on("n1")] == ["i1"]
    assert [instance.uuid for instance in cluster.secondary_instances_on("n2")] == ["i1"]


def test_every_kind_can_be_put_and_dropped(cluster: Cluster) -> None:
    """Whatever is put is there, whatever is dropped is gone; the settings only change."""
    for obj in (*cluster.objects(), JobFilter(uuid="f")):
        assert obj in list(cluster.put(obj).objects())
        if isinstance(obj, ClusterSettings):
            with pytest.raises(ValueError, match="settings"):
                cluster.drop(obj)
        else:
            assert obj not in list(cluster.put(obj).drop(obj).objects())
    assert cluster.put(replace(cluster.settings, cluster_name="new")).settings.cluster_name == "new"


def test_a_write_moves_the_whole(cluster: Cluster) -> None:
    """Serial one up, mtime now."""
    written = cluster.written(7.0)
    assert (written.serial_no, written.mtime) == (cluster.serial_no + 1, 7.0)


def test_a_change_does_not_cost_in_proportion_to_the_cluster() -> None:
    """At 10,000 instances a change takes far less than a millisecond: the median of many, so a pause spoils nothing."""
    instances = [Instance(name=f"i{n}.example.com", uuid=f"u{n}", primary_node=f"n{n % 100}") for n in range(10000)]
    cluster = Cluster.of(SETTINGS, instances)
    costs = []
    for number in range(200):
        before = time.perf_counter()
        changed = cluster.put(replace(instances[number], serial_no=2))
        changed = changed.put(Instance(name=f"new{number}.example.com", uuid=f"new{number}", primary_node="n3"))
        changed.drop(instances[number])
        costs.append(time.perf_counter() - before)
    assert sorted(costs)[len(costs) // 2] < 0.001
