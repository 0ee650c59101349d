"""Changes to the list of an instance's disks: what they ask for, as values. `spec/storage.md`, section 10.13."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from gnt.masterd.operation import Fresh
from gnt.masterd.operations.new_disks import MAX_DISKS, Lie, NewDisks
from gnt.masterd.operations.numbers import FreeNumbers
from gnt.model.cluster import Cluster
from gnt.model.errors import UNKNOWN_ENTITY, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.names import check_device_name
from gnt.model.objects import ClusterSettings, Disk, DiskTemplate, Instance, disk_nodes
from gnt.model.templates import EXTERNALLY_MIRRORED, INTERNALLY_MIRRORED, MUST_ADOPT
from gnt.opcodes.devices import Change


class DiskChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What changes ask for: the disks as they will be in order; which of them are new or attached; those that go.

    `settings` where they must note the numbers that were given out; `said` are pairs for the opcode's result.
    """

    disks: tuple[Disk, ...]
    new: tuple[Disk, ...] = ()
    attached: tuple[Disk, ...] = ()
    detached: tuple[Disk, ...] = ()
    removed: tuple[Disk, ...] = ()
    settings: ClusterSettings | None = None
    said: tuple[tuple[str, Any], ...] = ()


class _Changing:
    """Works changes off one after the other; each sees what those before it have left."""

    def __init__(self, cluster: Cluster, instance: Instance, fresh: Fresh, lie: Lie) -> None:
        self.cluster = cluster
        self.instance = instance
        self.numbers = FreeNumbers(cluster)
        self.fresh = fresh
        self.lie = lie
        self.disks = list(cluster.disks_of(instance))
        self.new: list[Disk] = []
        self.attached: list[Disk] = []
        self.detached: list[Disk] = []
        self.removed: list[Disk] = []
        self.said: list[tuple[str, Any]] = []

    def apply(self, change: Change) -> None:
        """Apply one change."""
        params = {key: value for key, value in change.params.items() if value is not None}
        {
            "add": self._add,
            "attach": self._attach,
            "detach": self._detach,
            "remove": self._remove,
            "modify": self._modify,
        }[change.action](change.target, params)

    def _add(self, target: int | str, params: dict[str, Any]) -> None:
        place = self._place(target)
        template = params.pop("dev_type", None) or self._template()
        lie = replace(self.lie, template=DiskTemplate(template))
        disk = NewDisks(self.cluster, self.fresh, self.numbers, lie).disk(place, params)
        self.disks.insert(place, disk)
        self.new.append(disk)
        self.said.append((f"disk/{place}", f"add:size={disk.size},mode={disk.mode}"))

    def _template(self) -> str:
        template = self.cluster.disk_template(self.instance)
        if template is DiskTemplate.MIXED:
            raise Refused(WRONG_INPUT, "The instance has disks of several templates", hint="dev_type=TEMPLATE")
        if template is DiskTemplate.DISKLESS:
            return self.cluster.settings.enabled_disk_templates[0]
        return template

    def _attach(self, target: int | str, params: dict[str, Any]) -> None:
        place = self._place(-1)
        wanted = str(params.get("uuid") or params.get("name") or target)
        disk = self._loose(wanted)
        nodes = set(disk_nodes(disk))
        mine = {self.instance.primary_node, *self.cluster.secondary_uuids(self.instance)}
        if disk.dev_type in INTERNALLY_MIRRORED and not self.disks:
            mine |= nodes
        if (
            nodes
            and disk.dev_type not in EXTERNALLY_MIRRORED
            and (self.instance.primary_node not in nodes or not nodes <= mine)
        ):
            names = " ".join(self.cluster.nodes[uuid].name for uuid in sorted(nodes) if uuid in self.cluster.nodes)
            raise Refused(WRONG_STATE, f"disk {wanted} lies on {names}, where {self.instance.name} does not")
        self.disks.append(disk)
        self.attached.append(disk)
        self.said.append((f"disk/{place}", f"attach:uuid={disk.uuid}"))

    def _loose(self, wanted: str) -> Disk:
        """Give a disk that belongs to no instance, by UUID or name."""
        found = [disk for disk in self.cluster.disks.values() if wanted in {disk.uuid, disk.name}]
        loose = [disk for disk in found if self.cluster.owner(disk.uuid) is None and disk not in self.attached]
        if len(loose) == 1:
            return loose[0]
        if len(loose) > 1:
            raise Refused(UNKNOWN_ENTITY, f"{wanted[:60]} is the name of several disks", hint="give the UUID")
        owner = self.cluster.owner(found[0].uuid) if found else None
        why = f"belongs to instance {owner.name}" if owner is not None else "is not a disk of this cluster"
        raise Refused(WRONG_STATE if owner is not None else UNKNOWN_ENTITY, f"{wanted[:60]} {why}")

    def _detach(self, target: int | str, _params: dict[str, Any]) -> None:
        place = self._index(target)
        disk = self.disks.pop(place)
        self.detached.append(disk)
        self.said.append((f"disk/{place}", "detach"))

    def _remove(self, target: int | str, _params: dict[str, Any]) -> None:
        place = self._index(target)
        disk = self.disks.pop(place)
        if disk in self.new:
            raise Refused(WRONG_INPUT, f"disk/{place} is added and removed at once")
        self.removed.append(disk)
        self.said.append((f"disk/{place}", "remove"))

    def _modify(self, target: int | str, params: dict[str, Any]) -> None:
        place = self._index(target)
        where = f"disk/{place}"
        if not params:
            raise Refused(WRONG_INPUT, f"{where}: nothing is changed", hint="mode and name can be")
        for key in sorted(params.keys() - {"mode", "name"}):
            hint = "gnt-instance grow-disk makes it larger" if key == "size" else "mode and name can be changed"
            raise Refused(WRONG_INPUT, f"{where}: {key} cannot be changed here", hint=hint)
        old = self.disks[place]
        name = check_device_name(params["name"], where) if "name" in params else old.name
        self.disks[place] = replace(old, mode=params.get("mode", old.mode), name=name)
        self.said += [(f"disk.{key}/{place}", value) for key, value in sorted(params.items())]

    def _place(self, target: int | str) -> int:
        """Give where a disk is to be put; -1 is the end."""
        if len(self.disks) >= MAX_DISKS:
            raise Refused(WRONG_STATE, f"{self.instance.name} has {MAX_DISKS} disks, the most there can be")
        number = self._number(target)
        if number is None or not -1 <= number <= len(self.disks):
            raise Refused(WRONG_INPUT, f"disk {target!r}: no place for a disk", hint=f"-1, or 0 to {len(self.disks)}")
        return len(self.disks) if number == -1 else number

    def _index(self, target: int | str) -> int:
        """Give the index of a disk by its number, name or UUID; -1 is the last one."""
        number = self._number(target)
        if number is not None:
            index = len(self.disks) - 1 if number == -1 else number
            if 0 <= index < len(self.disks):
                return index
            raise Refused(WRONG_INPUT, f"{self.instance.name} has no disk {target}", hint=f"it has {len(self.disks)}")
        found = [index for index, disk in enumerate(self.disks) if target in {disk.uuid, disk.name}]
        if len(found) != 1:
            raise Refused(
                WRONG_INPUT, f"{self.instance.name} has no disk {str(target)[:60]!r}", hint="index, name or UUID"
            )
        return found[0]

    @staticmethod
    def _number(target: int | str) -> int | None:
        if isinstance(target, int):
            return target
        return int(target) if target.removeprefix("-").isdecimal() else None


def disk_changes(
    cluster: Cluster, instance: Instance, changes: Sequence[Change], fresh: Fresh, lie: Lie
) -> DiskChanges:
    """Say what changes ask for. `lie` says where new disks are to lie. Raises `Refused` naming the disk."""
    changing = _Changing(cluster, instance, fresh, lie)
    for change in changes:
        if change.action == "add" and (lie.template in MUST_ADOPT or change.params.get("adopt") is not None):
            raise Unsupported(
                "disks: only new instances adopt what is there", hint="gnt-instance add --disk 0:adopt=NAME"
            )
        changing.apply(change)
    numbered = tuple(replace(disk, iv_name=f"disk/{index}") for index, disk in enumerate(changing.disks))
    by_uuid = {disk.uuid: disk for disk in numbered}
    return DiskChanges(
        disks=numbered,
        new=tuple(by_uuid[disk.uuid] for disk in changing.new if disk.uuid in by_uuid),
        attached=tuple(by_uuid[disk.uuid] for disk in changing.attached if disk.uuid in by_uuid),
        detached=tuple(changing.detached),
        removed=tuple(changing.removed),
        settings=changing.numbers.settings(),
        said=tuple(changing.said),
    )
