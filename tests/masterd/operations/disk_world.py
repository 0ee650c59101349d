"""Nodes with disks in memory, as masterd sees them: each call has the end that its docstring promises, twice as once.

What must never happen is noted in `wrongs`: two nodes that write to one disk, a volume taken that is another's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.wire.calls import DiskDevice, DiskFacts, NodeFacts, StorageFacts
from gnt.wire.disk_calls import DiskState, MirrorFacts, MirrorOverview, StorageRow, VolumeFacts

VG_SIZE = 100_000


@dataclass
class Volume:
    """A volume or file: the UUID of the disk that owns it (empty: foreign), its size, whether it is open."""

    owner: str
    size: int
    opened: bool = False


@dataclass
class Mirror:
    """A drbd minor: whose it is, its volumes (None: without local disk), its peer (None: stands alone), its role."""

    owner: str
    volumes: tuple[str, str] | None
    peer: str | None = None
    primary: bool = False
    dual: bool = False
    good: bool = False
    paused: bool = False
    size: int = 0


@dataclass
class DiskWorld:
    """The disks of all nodes. `percent` is what a sync shows; None: in step at once. `extents`: where they differ."""

    volumes: dict[str, dict[str, Volume]] = field(default_factory=dict)
    mirrors: dict[str, dict[int, Mirror]] = field(default_factory=dict)
    metadata: dict[str, set[str]] = field(default_factory=dict)
    wrongs: list[str] = field(default_factory=list)
    percent: list[float] = field(default_factory=list)
    groups: tuple[str, ...] = ("xenvg",)
    extent: int = 0
    extents: dict[str, int] = field(default_factory=dict)
    wiped: list[tuple[str, int, int]] = field(default_factory=list)
    copied: list[tuple[str, str]] = field(default_factory=list)

    def answers(self) -> dict[str, Any]:
        """Give what answers each call about disks."""
        return {
            name: self._guarded(getattr(self, f"_{name}"))
            for name in [
                "disk_create",
                "disk_remove",
                "disk_assemble",
                "disk_release",
                "disk_find",
                "disk_grow",
                "disk_grow_check",
                "disk_rename",
                "disk_snapshot",
                "disk_label",
                "disk_wipe",
                "disk_copy",
                "disk_pull",
                "disk_offer",
                "disk_promote",
                "disk_demote",
                "disk_states",
                "mirror_connect",
                "mirror_disconnect",
                "mirror_detach",
                "mirror_attach",
                "mirror_pause",
                "mirror_list",
                "volume_list",
                "device_sizes",
                "storage_list",
            ]
            if hasattr(self, f"_{name}")
        }

    def _guarded(self, answer: Any) -> Any:
        def guarded(node: str, call: Any) -> Any:
            try:
                return answer(node, call)
            except NodeFailure as failure:
                return failure

        return guarded

    def orphans(self, known: set[str]) -> list[str]:
        """Give the volumes of ours whose disk is none of those that are known (UUIDs)."""
        return [
            f"{node}: {name}"
            for node, volumes in self.volumes.items()
            for name, volume in volumes.items()
            if volume.owner and volume.owner not in known
        ]

    def free(self, node: str) -> int:
        """Give the MiB that are free in the group of a node."""
        return VG_SIZE - sum(volume.size for volume in self.volumes.get(node, {}).values())

    def facts(self, node: str, units: Any) -> list[StorageFacts]:
        """Answer the question for free space."""
        extent = self.extents.get(node, self.extent)
        return [
            StorageFacts(kind=unit.kind, key=unit.key, free=self.free(node), size=VG_SIZE, extent=extent)
            if unit.key in self.groups
            else StorageFacts(kind=unit.kind, key=unit.key, free=None, size=None)
            for unit in units
        ]

    # Volumes

    def _of(self, node: str) -> dict[str, Volume]:
        return self.volumes.setdefault(node, {})

    def _create(self, node: str, disk: DiskSpec) -> None:
        name = name_of(disk)
        there = self._of(node).get(name)
        if there is not None and there.owner != disk.uuid:
            raise NodeFailure("exists", f"{name} is there")
        if disk.dev_type == "plain" and str(disk.logical_id[0]) not in self.groups:
            raise NodeFailure("unknown_group", f"no volume group {disk.logical_id[0]}")
        if there is None and disk.size > self.free(node):
            raise NodeFailure("no_space", f"{disk.size} MiB wanted, {self.free(node)} MiB free")
        self._of(node)[name] = Volume(disk.uuid, disk.size)

    def _remove(self, node: str, disk: DiskSpec) -> None:
        name = name_of(disk)
        there = self._of(node).get(name)
        if there is None:
            return
        if there.owner != disk.uuid:
            self.wrongs.append(f"{name} on {node} was to be removed as {disk.uuid}, but is {there.owner or 'foreign'}")
            raise NodeFailure("foreign", f"{name} is not ours")
        del self._of(node)[name]

    def _disk_create(self, node: str, call: Any) -> None:
        for part in parts_of(call.disk):
            self._create(node, part)
        if call.disk.children:
            self.metadata.setdefault(node, set()).add(call.disk.uuid)

    def _disk_remove(self, node: str, call: Any) -> None:
        if call.disk.children:
            self._down(node, call.disk)
            self.metadata.setdefault(node, set()).discard(call.disk.uuid)
        for part in parts_of(call.disk):
            self._remove(node, part)

    def _disk_rename(self, node: str, call: Any) -> None:
        old, new = name_of(call.disk), name_of(call.target)
        here = self._of(node)
        if old not in here and new not in here:
            raise NodeFailure("not_found", f"neither {old} nor {new} is there")
        if old in here and new in here:
            raise NodeFailure("exists", f"{old} and {new} are both there")
        if old in here:
            if here[old].owner != call.disk.uuid:
                raise NodeFailure("foreign", f"{old} is not ours")
            here[new] = here.pop(old)
        here[new].owner = call.target.uuid

    def _disk_label(self, node: str, call: Any) -> None:
        del node, call

    def _disk_grow(self, node: str, call: Any) -> None:
        disk = call.disk
        if not call.backing:
            self._mirror(node, disk).size = max(self._mirror(node, disk).size, call.size)
            return
        volume = self._volume(node, disk.children[0] if disk.children else disk)
        if call.size - volume.size > self.free(node):
            raise NodeFailure("no_space", f"{call.size - volume.size} MiB wanted, {self.free(node)} MiB free")
        volume.size = max(volume.size, call.size)

    def _disk_grow_check(self, node: str, call: Any) -> None:
        volume = self._volume(node, call.disk.children[0] if call.disk.children else call.disk)
        if call.size - volume.size > self.free(node):
            raise NodeFailure("no_space", f"{call.size - volume.size} MiB wanted, {self.free(node)} MiB free")

    def _volume(self, node: str, disk: DiskSpec) -> Volume:
        found = self._of(node).get(name_of(disk))
        if found is None or found.owner != disk.uuid:
            raise NodeFailure("not_found", f"{name_of(disk)} is not there")
        return found

    def _disk_wipe(self, node: str, call: Any) -> None:
        self._writable(node, call.disk)
        self.wiped.append((call.disk.uuid, call.offset, call.size))

    def _disk_copy(self, node: str, call: Any) -> None:
        self._volume(node, parts_of(call.source)[0])
        self._writable(node, call.disk)
        self.copied.append((call.source.uuid, call.disk.uuid))

    def _disk_offer(self, node: str, call: Any) -> dict[str, Any]:
        self._volume(node, call.disk)
        return {"disk": call.disk.uuid, "at": call.address}

    def _disk_pull(self, node: str, call: Any) -> None:
        if call.ticket["disk"] != call.source.uuid:
            self.wrongs.append(f"{call.source.uuid} is fetched with the ticket of {call.ticket['disk']}")
        self._writable(node, call.disk)
        self.copied.append((call.source.uuid, call.disk.uuid))

    def _writable(self, node: str, disk: DiskSpec) -> None:
        if disk.children and not self._mirror(node, disk).primary:
            raise NodeFailure("failed", f"{disk.uuid} is not open for writing")
        self._volume(node, parts_of(disk)[0])

    # Mirrors

    def _mirror(self, node: str, disk: DiskSpec) -> Mirror:
        found = self.mirrors.get(node, {}).get(minor_of(disk, node))
        if found is None or found.owner != disk.uuid:
            raise NodeFailure("not_found", f"minor {minor_of(disk, node)} is not {disk.uuid}")
        return found

    def _down(self, node: str, disk: DiskSpec) -> None:
        here = self.mirrors.setdefault(node, {})
        minor = minor_of(disk, node)
        if minor in here and here[minor].owner == disk.uuid:
            self._alone(node, disk)
            del here[minor]

    def _disk_assemble(self, node: str, call: Any) -> DiskDevice:
        disk = call.disk
        if not disk.children:
            self._volume(node, disk)
            return DiskDevice(path=f"/dev/{name_of(disk)}")
        here = self.mirrors.setdefault(node, {})
        minor = minor_of(disk, node)
        if minor in here and here[minor].owner != disk.uuid:
            raise NodeFailure("exists", f"minor {minor} is another's")
        if minor not in here:
            whole = all(
                name_of(child) in self._of(node) and self._of(node)[name_of(child)].owner == child.uuid
                for child in disk.children
            )
            volumes = (name_of(disk.children[0]), name_of(disk.children[1])) if whole else None
            here[minor] = Mirror(disk.uuid, volumes, good=whole, size=disk.size)
        here[minor].peer = peer_of(disk, node)
        if call.primary:
            self._open(node, disk)
        return DiskDevice(path=f"/dev/drbd{minor}")

    def _open(self, node: str, disk: DiskSpec) -> None:
        mirror = self._mirror(node, disk)
        for other, mirrors in self.mirrors.items():
            for theirs in mirrors.values():
                if other != node and theirs.owner == disk.uuid and theirs.primary and not (theirs.dual and mirror.dual):
                    self.wrongs.append(f"{disk.uuid} is written to on {other} and {node}")
                    raise NodeFailure("failed", f"{other} is primary")
        mirror.primary = True

    def _disk_release(self, node: str, call: Any) -> None:
        if call.disk.children:
            self._down(node, call.disk)

    def _disk_promote(self, node: str, call: Any) -> None:
        if call.disk.children:
            self._open(node, call.disk)

    def _disk_demote(self, node: str, call: Any) -> None:
        if call.disk.children:
            self._mirror(node, call.disk).primary = False

    def _alone(self, node: str, disk: DiskSpec) -> None:
        mirror = self._mirror(node, disk)
        mirror.peer, mirror.dual = None, False

    def _mirror_connect(self, node: str, call: Any) -> None:
        mirror = self._mirror(node, call.disk)
        mirror.peer, mirror.dual = peer_of(call.disk, node), call.dual

    def _mirror_disconnect(self, node: str, call: Any) -> None:
        mirror = self._mirror(node, call.disk)
        if mirror.peer is not None and mirror.primary and mirror.dual:
            other = self.mirrors.get(mirror.peer, {}).values()
            if any(theirs.owner == call.disk.uuid and theirs.primary for theirs in other):
                self.wrongs.append(f"{call.disk.uuid} is torn apart while both sides write")
        self._alone(node, call.disk)

    def _mirror_detach(self, node: str, call: Any) -> None:
        self._mirror(node, call.disk).volumes = None

    def _mirror_attach(self, node: str, call: Any) -> None:
        mirror = self._mirror(node, call.disk)
        for child in call.disk.children:
            self._volume(node, child)
        mirror.volumes = (name_of(call.disk.children[0]), name_of(call.disk.children[1]))
        mirror.good = True

    def _mirror_pause(self, node: str, call: Any) -> None:
        self._mirror(node, call.disk).paused = call.pause

    def _mirror_list(self, node: str, call: Any) -> MirrorOverview:
        del call
        minors = [
            MirrorFacts(
                minor=minor,
                connection="Connected" if mirror.peer else "StandAlone",
                role="Primary" if mirror.primary else "Secondary",
                peer_role="Secondary",
                disk="UpToDate" if mirror.volumes else "Diskless",
                peer_disk="UpToDate",
            )
            for minor, mirror in self.mirrors.get(node, {}).items()
        ]
        return MirrorOverview(version="8.4.11", helper="/bin/true", minors=minors)

    # Looking

    def _disk_states(self, node: str, call: Any) -> list[DiskState]:
        return [self._state(node, disk) for disk in call.disks]

    def _disk_find(self, node: str, call: Any) -> DiskFacts | None:
        return self._state(node, call.disk).facts

    def _state(self, node: str, disk: DiskSpec) -> DiskState:
        try:
            if not disk.children:
                return DiskState(facts=DiskFacts(path=f"/dev/{name_of(disk)}", size=self._volume(node, disk).size))
            mirror = self._mirror(node, disk)
        except NodeFailure:
            return DiskState()
        peers = self.mirrors.get(mirror.peer or "", {}).values()
        theirs = next((each for each in peers if each.owner == disk.uuid and each.peer == node), None)
        whole = theirs is not None and theirs.volumes is not None and mirror.volumes is not None
        percent = self.percent.pop(0) if whole and self.percent else None
        facts = DiskFacts(
            path=f"/dev/drbd{minor_of(disk, node)}",
            size=mirror.size,
            sync_percent=percent,
            estimated_time=1.0 if percent is not None else None,
            degraded=theirs is None or mirror.volumes is None or percent is not None,
            local_status="ok" if mirror.volumes else "faulty",
        )
        return DiskState(facts=facts)

    def _volume_list(self, node: str, call: Any) -> list[VolumeFacts]:
        return [
            VolumeFacts(group=group, name=name, size=volume.size, active=True, opened=volume.opened)
            for (group, _, name), volume in ((key.partition("/"), each) for key, each in self._of(node).items())
            if not call.groups or group in call.groups
        ]

    def _device_sizes(self, _node: str, call: Any) -> dict[str, int]:
        return {path: 2048 << 20 for path in call.paths if path.startswith("/dev/disk/by-id/")}

    def _storage_list(self, node: str, call: Any) -> list[StorageRow]:
        used = VG_SIZE - self.free(node)
        return [StorageRow(kind=call.kind, name="xenvg", size=VG_SIZE, used=used, free=self.free(node))]


def parts_of(disk: DiskSpec) -> tuple[DiskSpec, ...]:
    """Give the volumes of a disk."""
    return disk.children or (disk,)


def name_of(disk: DiskSpec) -> str:
    """Give a volume's name: group and name, or the path of a file."""
    return "/".join(map(str, disk.logical_id)) if disk.dev_type in {"plain", "thin"} else str(disk.logical_id[1])


def minor_of(disk: DiskSpec, node: str) -> int:
    """Give the minor of a mirror on a node."""
    return int(disk.logical_id[3 if disk.logical_id[0] == node else 4])


def peer_of(disk: DiskSpec, node: str) -> str:
    """Give the other node of a mirror."""
    return str(disk.logical_id[1 if disk.logical_id[0] == node else 0])


def all_disks(cluster: Any) -> Iterator[str]:
    """Give the UUIDs of all disks and parts that the model has."""
    for disk in cluster.disks.values():
        yield disk.uuid
        yield from (child.uuid for child in disk.children)


__all__ = ["DiskWorld", "NodeFacts", "all_disks"]
