"""The whole configuration as one immutable value, and the codec of its objects.

Changing gives a new `Cluster` that shares all the rest with the old one, so a snapshot costs nothing to keep: planning,
queries and the store each hold their own.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

import msgspec

from gnt.model.errors import UNKNOWN_ENTITY, Refused
from gnt.model.names import nice_key
from gnt.model.objects import (
    ClusterSettings,
    ConfigObject,
    Disk,
    DiskTemplate,
    Instance,
    JobFilter,
    Network,
    Node,
    NodeGroup,
    disk_nodes,
)
from gnt.model.table import SharedMap, Table

CONFIG_VERSION: Final = 3010000
"""The version of the configuration that gnt writes: major * 1000000 + minor * 10000."""

HINT_NAMES: Final = 8


class Kind(StrEnum):
    """The kinds of configuration objects, as the store and the history name them."""

    CLUSTER = "cluster"
    NODE = "node"
    GROUP = "group"
    INSTANCE = "instance"
    DISK = "disk"
    NETWORK = "network"
    FILTER = "filter"


_TYPES: Final[dict[Kind, type[msgspec.Struct]]] = {
    Kind.CLUSTER: ClusterSettings,
    Kind.NODE: Node,
    Kind.GROUP: NodeGroup,
    Kind.INSTANCE: Instance,
    Kind.DISK: Disk,
    Kind.NETWORK: Network,
    Kind.FILTER: JobFilter,
}
_KINDS: Final = {type_: kind for kind, type_ in _TYPES.items()}
_DECODERS: Final[dict[Kind, msgspec.json.Decoder[Any]]] = {k: msgspec.json.Decoder(t) for k, t in _TYPES.items()}
_ENCODER: Final = msgspec.json.Encoder()


def kind_of(obj: ConfigObject) -> Kind:
    """Give the kind of a configuration object. Raises `KeyError` for anything else."""
    return _KINDS[type(obj)]


def encode(obj: ConfigObject) -> bytes:
    """Give the object as JSON, secrets included: for the store, not for people."""
    return _ENCODER.encode(obj)


def decode(kind: Kind, data: bytes) -> ConfigObject:
    """Give the object that `encode` made. Missing slots get their defaults. Raises `msgspec.ValidationError`."""
    obj: ConfigObject = _DECODERS[kind].decode(data)
    return obj


T = TypeVar("T", ClusterSettings, Node, NodeGroup, Instance, Disk, Network, JobFilter)


def bumped(new: T, old: T | None, now: float) -> T:
    """Stamp an object about to be stored: serial and mtime move if the content does, else the old object stays.

    Without `old` the object is new: serial 1, both times `now` (seconds). Filters carry no stamps.
    """
    if isinstance(new, JobFilter):
        return new
    if old is None or isinstance(old, JobFilter):
        return msgspec.structs.replace(new, serial_no=1, ctime=now, mtime=now)
    same = msgspec.structs.replace(new, serial_no=old.serial_no, ctime=old.ctime, mtime=old.mtime)
    if same == old:
        return old
    return msgspec.structs.replace(same, serial_no=old.serial_no + 1, mtime=now)


def bumps_cluster(new: ConfigObject | None, old: ConfigObject | None) -> bool:
    """Say whether a change moves the cluster's own serial too: whatever alters ssconf (`spec/config.md`, section 1).

    None stands for an object that is not there: before it was added, or after it was removed.
    """
    obj = new if new is not None else old
    if isinstance(obj, Node | ClusterSettings):
        return new != old
    if isinstance(obj, Instance | NodeGroup | Network):
        return new is None or old is None or getattr(new, "name", "") != getattr(old, "name", "")
    return False


class _Named(Protocol):
    @property
    def uuid(self) -> str: ...
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def _find(table: Table[N], text: str, noun: str, plural: str) -> N:
    """Give the one object that a person means, or refuse with the names they may have meant."""
    found = table.matching(text)
    if len(found) == 1:
        return found[0]
    if found:
        could = " ".join(heapq.nsmallest(HINT_NAMES, (obj.name for obj in found), key=nice_key))
        raise Refused(UNKNOWN_ENTITY, f"{text} is more than one {noun} of this cluster", hint=f"could be: {could}")
    article = "an" if noun[0] in "aeiou" else "a"
    raise Refused(UNKNOWN_ENTITY, f"{_shown(text)} is not {article} {noun} of this cluster", hint=_known(table, plural))


def _shown(text: str) -> str:
    return text if text.isprintable() and 0 < len(text) <= 80 else repr(text[:80])


def _known(table: Table[N], plural: str) -> str:
    if not table:
        return f"there are no {plural}"
    names = heapq.nsmallest(HINT_NAMES, (obj.name for obj in table.values()), key=nice_key)
    more = len(table) - len(names)
    return f"known {plural}: {' '.join(names)}" + (f" and {more} more" if more else "")


Members = SharedMap[SharedMap[None]]
"""UUIDs under a UUID: which instances or disks a node has."""


def _moved(members: Members, member: str, old: Iterable[str], new: Iterable[str]) -> Members:
    """Give the index after `member` left the keys `old` and joined the keys `new`."""
    before, after = set(old), set(new)
    for key in sorted(before - after):
        left = members[key].drop(member)
        members = members.put(key, left) if left else members.drop(key)
    for key in sorted(after - before):
        members = members.put(key, members.get(key, SharedMap[None]()).put(member, None))
    return members


def _members(items: Iterable[tuple[str, Iterable[str]]]) -> Members:
    """Build the index from members, each with its keys."""
    found: dict[str, list[str]] = {}
    for member, keys in items:
        for key in keys:
            found.setdefault(key, []).append(member)
    return SharedMap((key, SharedMap((member, None) for member in members)) for key, members in found.items())


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A snapshot of everything: settings and one table for each kind of object, by UUID.

    `serial_no` and `mtime` (seconds) are those of the configuration as a whole: the store moves them with each write.
    Build one with `Cluster.of`; the fields that begin with an underscore are indices.
    """

    settings: ClusterSettings
    nodes: Table[Node] = field(default_factory=Table)
    groups: Table[NodeGroup] = field(default_factory=Table)
    instances: Table[Instance] = field(default_factory=Table)
    disks: Table[Disk] = field(default_factory=Table)
    networks: Table[Network] = field(default_factory=Table)
    filters: Table[JobFilter] = field(default_factory=Table)
    serial_no: int = 1
    ctime: float = 0.0
    mtime: float = 0.0
    _primaries: Members = field(default_factory=SharedMap, repr=False, compare=False)
    _disks_on: Members = field(default_factory=SharedMap, repr=False, compare=False)
    _owners: SharedMap[str] = field(default_factory=SharedMap, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        settings: ClusterSettings,
        objects: Iterable[ConfigObject] = (),
        *,
        serial_no: int = 1,
        ctime: float = 0.0,
        mtime: float = 0.0,
    ) -> Cluster:
        """Build a snapshot from all its objects, in any order."""
        by_type: dict[type[Any], list[Any]] = {type_: [] for type_ in _KINDS}
        for obj in objects:
            by_type[type(obj)].append(obj)
        instances, disks = by_type[Instance], by_type[Disk]
        return cls(
            settings=settings,
            nodes=Table(by_type[Node]),
            groups=Table(by_type[NodeGroup]),
            instances=Table(instances),
            disks=Table(disks),
            networks=Table(by_type[Network]),
            filters=Table(by_type[JobFilter]),
            serial_no=serial_no,
            ctime=ctime,
            mtime=mtime,
            _primaries=_members((instance.uuid, _primary_keys(instance)) for instance in instances),
            _disks_on=_members((disk.uuid, disk_nodes(disk)) for disk in disks),
            _owners=SharedMap((disk, instance.uuid) for instance in instances for disk in instance.disks),
        )

    def objects(self) -> Iterator[ConfigObject]:
        """Go through all objects, the settings first."""
        yield self.settings
        for table in (self.groups, self.nodes, self.networks, self.disks, self.instances, self.filters):
            yield from table.values()

    # Looking up

    def node(self, text: str) -> Node:
        """Give the node of this name, short name or UUID. Raises `Refused` (`unknown_entity`)."""
        return _find(self.nodes, text, "node", "nodes")

    def instance(self, text: str) -> Instance:
        """Give the instance of this name, short name or UUID. Raises `Refused` (`unknown_entity`)."""
        return _find(self.instances, text, "instance", "instances")

    def group(self, text: str) -> NodeGroup:
        """Give the node group of this name, short name or UUID. Raises `Refused` (`unknown_entity`)."""
        return _find(self.groups, text, "node group", "node groups")

    def network(self, text: str) -> Network:
        """Give the network of this name, short name or UUID. Raises `Refused` (`unknown_entity`)."""
        return _find(self.networks, text, "network", "networks")

    def disk(self, uuid: str) -> Disk:
        """Give the disk of this UUID. Raises `Refused` (`unknown_entity`)."""
        found = self.disks.get(uuid)
        if found is None:
            raise Refused(UNKNOWN_ENTITY, f"{_shown(uuid)} is not a disk of this cluster", hint="disks go by UUID here")
        return found

    # Relations

    @property
    def master(self) -> Node:
        """Give the master node. Raises `KeyError` if the configuration names none of its nodes."""
        return self.nodes[self.settings.master_node]

    def candidates(self) -> tuple[Node, ...]:
        """Give the master candidates, the master among them, sorted by name."""
        return tuple(node for node in self.sorted_nodes() if node.master_candidate)

    def sorted_nodes(self) -> list[Node]:
        """Give all nodes in the order in which people count their names."""
        return sorted(self.nodes.values(), key=lambda node: nice_key(node.name))

    def sorted_instances(self) -> list[Instance]:
        """Give all instances in the order in which people count their names."""
        return sorted(self.instances.values(), key=lambda instance: nice_key(instance.name))

    def members(self, group: NodeGroup) -> tuple[Node, ...]:
        """Give the nodes of a group, sorted by name."""
        return tuple(node for node in self.sorted_nodes() if node.group == group.uuid)

    def group_of(self, node: Node) -> NodeGroup:
        """Give the group of a node. Raises `KeyError` if the configuration does not have it."""
        return self.groups[node.group]

    def disks_of(self, instance: Instance) -> tuple[Disk, ...]:
        """Give the disks of an instance in their order; those that the configuration does not have are left out."""
        return tuple(self.disks[uuid] for uuid in instance.disks if uuid in self.disks)

    def owner(self, disk_uuid: str) -> Instance | None:
        """Give the instance that a disk is attached to, or None."""
        uuid = self._owners.get(disk_uuid)
        return self.instances.get(uuid) if uuid is not None else None

    def disk_template(self, instance: Instance) -> DiskTemplate:
        """Give the template of an instance, derived from its disks: none is diskless, several kinds are mixed."""
        found = {disk.dev_type for disk in self.disks_of(instance)}
        if len(found) > 1:
            return DiskTemplate.MIXED
        return found.pop() if found else DiskTemplate.DISKLESS

    def secondary_uuids(self, instance: Instance) -> tuple[str, ...]:
        """Give the UUIDs of all nodes of the instance's disks other than its primary node, in the disks' order."""
        uuids = dict.fromkeys(uuid for disk in self.disks_of(instance) for uuid in disk_nodes(disk))
        uuids.pop(instance.primary_node, None)
        return tuple(uuids)

    def secondaries(self, instance: Instance) -> tuple[Node, ...]:
        """Give the secondary nodes of an instance; those that the configuration does not have are left out."""
        return tuple(self.nodes[uuid] for uuid in self.secondary_uuids(instance) if uuid in self.nodes)

    def instances_on(self, node_uuid: str) -> tuple[Instance, ...]:
        """Give the instances whose primary node this is."""
        return tuple(self.instances[uuid] for uuid in self._primaries.get(node_uuid, ()))

    def secondary_instances_on(self, node_uuid: str) -> tuple[Instance, ...]:
        """Give the instances that have a secondary node here."""
        owners = dict.fromkeys(self._owners.get(uuid, "") for uuid in self._disks_on.get(node_uuid, ()))
        found = (self.instances[uuid] for uuid in owners if uuid)
        return tuple(instance for instance in found if instance.primary_node != node_uuid)

    # Changing

    def put(self, obj: ConfigObject) -> Cluster:
        """Give a snapshot with this object added, or in place of the one with its UUID."""
        match obj:
            case ClusterSettings():
                return replace(self, settings=obj)
            case Node():
                return replace(self, nodes=self.nodes.put(obj))
            case NodeGroup():
                return replace(self, groups=self.groups.put(obj))
            case Instance():
                return self._with_instance(obj)
            case Disk():
                old = self.disks.get(obj.uuid)
                on = _moved(self._disks_on, obj.uuid, disk_nodes(old) if old else (), disk_nodes(obj))
                return replace(self, disks=self.disks.put(obj), _disks_on=on)
            case Network():
                return replace(self, networks=self.networks.put(obj))
            case JobFilter():
                return replace(self, filters=self.filters.put(obj))

    def drop(self, obj: ConfigObject) -> Cluster:
        """Give a snapshot without the object of this kind and UUID. Raises `ValueError` for the settings."""
        match obj:
            case ClusterSettings():
                raise ValueError("a cluster cannot be without its settings")
            case Node():
                return replace(self, nodes=self.nodes.drop(obj.uuid))
            case NodeGroup():
                return replace(self, groups=self.groups.drop(obj.uuid))
            case Instance():
                return self._without_instance(obj.uuid)
            case Disk():
                old = self.disks.get(obj.uuid)
                on = _moved(self._disks_on, obj.uuid, disk_nodes(old) if old else (), ())
                return replace(self, disks=self.disks.drop(obj.uuid), _disks_on=on)
            case Network():
                return replace(self, networks=self.networks.drop(obj.uuid))
            case JobFilter():
                return replace(self, filters=self.filters.drop(obj.uuid))

    def written(self, now: float) -> Cluster:
        """Give the snapshot as one write later: the configuration's own serial and mtime move."""
        return replace(self, serial_no=self.serial_no + 1, mtime=now)

    def _with_instance(self, new: Instance) -> Cluster:
        old = self.instances.get(new.uuid)
        primaries = _moved(self._primaries, new.uuid, _primary_keys(old) if old else (), _primary_keys(new))
        owners = self._owners
        for uuid in old.disks if old else ():
            if uuid not in new.disks and owners.get(uuid) == new.uuid:
                owners = owners.drop(uuid)
        for uuid in new.disks:
            if owners.get(uuid) != new.uuid:
                owners = owners.put(uuid, new.uuid)
        return replace(self, instances=self.instances.put(new), _primaries=primaries, _owners=owners)

    def _without_instance(self, uuid: str) -> Cluster:
        old = self.instances.get(uuid)
        if old is None:
            return self
        owners = self._owners
        for disk in old.disks:
            if owners.get(disk) == uuid:
                owners = owners.drop(disk)
        primaries = _moved(self._primaries, uuid, _primary_keys(old), ())
        return replace(self, instances=self.instances.drop(uuid), _primaries=primaries, _owners=owners)


def _primary_keys(instance: Instance) -> tuple[str, ...]:
    return (instance.primary_node,) if instance.primary_node else ()
