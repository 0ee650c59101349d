"""New disks as an opcode describes them: checked, with all names and numbers chosen. `spec/storage.md`, section 1.1."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from gnt.masterd.operation import Fresh
from gnt.masterd.operations.numbers import FreeNumbers
from gnt.model.cluster import Cluster
from gnt.model.errors import NOT_UNIQUE, WRONG_INPUT, WRONG_STATE, Refused, Unsupported
from gnt.model.names import check_device_name
from gnt.model.objects import Disk, DiskTemplate
from gnt.model.params import fill_disk
from gnt.model.templates import ADOPTING, DRBD_META_SIZE, FILE_BASED, INTERNALLY_MIRRORED, MUST_ADOPT
from gnt.model.units import check_disk_size

MAX_DISKS: Final = 16

_COMMON: Final = frozenset({"size", "mode", "name", "adopt", "spindles"})
_OWN: Final[Mapping[str, frozenset[str]]] = {
    "plain": frozenset({"vg"}),
    "thin": frozenset({"vg"}),
    "drbd": frozenset({"vg", "metavg"}),
    "rbd": frozenset({"access"}),
    "ext": frozenset({"provider", "access"}),
}
_LVM_NAME: Final = re.compile(r"[a-zA-Z0-9+_.-]+")
_LVM_TAKEN: Final = frozenset({".", "..", "snapshot", "pvmove"})

Described = Mapping[str, Any]
"""A disk as an opcode describes it: `size` and other keys; `None` stands for a key that is not given."""


class Lie(msgspec.Struct, frozen=True, kw_only=True):
    """Where disks are to lie: the template, the nodes (UUIDs, the primary first), and what file disks need beside.

    `adopted` are the sizes (MiB) of what is there to be adopted, by name; None: not looked at yet.
    """

    template: DiskTemplate
    instance_name: str
    nodes: tuple[str, ...]
    driver: str | None = None
    subdirectory: str | None = None
    adopted: Mapping[str, int] | None = None


class NewDisks:
    """Makes disks of one instance; all are forthcoming. Raises `Refused` and `Unsupported` that name the disk."""

    def __init__(self, cluster: Cluster, fresh: Fresh, numbers: FreeNumbers, lie: Lie) -> None:
        self._cluster = cluster
        self._fresh = fresh
        self._numbers = numbers
        self._lie = lie
        self._makers: dict[str, Callable[[Disk, int, Described], Disk]] = {
            "file": self._file,
            "sharedfile": self._file,
            "qcow2": self._file,
            "plain": self._volume,
            "thin": self._volume,
            "drbd": self._mirror,
            "blockdev": self._device,
            "rbd": self._image,
            "ext": self._provided,
        }
        self._refuse_lie()

    def disks(self, described: Sequence[Described]) -> tuple[Disk, ...]:
        """Make all disks of a new instance."""
        template = self._lie.template
        if template is DiskTemplate.DISKLESS:
            if described:
                raise Refused(WRONG_INPUT, "A diskless instance has no disks", hint="leave out --disk, or choose -t")
            return ()
        if not described:
            raise Refused(WRONG_INPUT, "No disk is given", hint="--disk 0:size=SIZE, or -t diskless")
        if len(described) > MAX_DISKS:
            raise Refused(WRONG_INPUT, f"{len(described)} disks are too many: at most {MAX_DISKS}")
        adopting = [disk.get("adopt") is not None for disk in described]
        if any(adopting) and not all(adopting):
            index = adopting.index(False)
            raise Refused(WRONG_INPUT, f"disk/{index}: either all disks are adopted or none", hint="adopt=NAME")
        made = tuple(self.disk(index, disk) for index, disk in enumerate(described))
        self._refuse_twice(described)
        return made

    def disk(self, index: int, described: Described) -> Disk:
        """Make the disk that gets this index."""
        where, template = f"disk/{index}", self._lie.template
        given = {key: value for key, value in described.items() if value is not None}
        own = _OWN.get(template, frozenset())
        if template != "ext":
            for key in sorted(given.keys() - _COMMON - own):
                raise Refused(
                    WRONG_INPUT,
                    f"{where}: {key} is no parameter of a disk of template {template}",
                    hint=f"it has: {', '.join(sorted({'size', 'mode', 'name'} | own))}",
                )
        if "spindles" in given:
            raise Unsupported(f"{where}: spindles need exclusive storage, which this version does not have")
        mode = given.get("mode") or "rw"
        if mode not in {"rw", "ro"}:
            raise Refused(WRONG_INPUT, f"{where}: mode {mode!r} is none", hint="rw or ro")
        common = Disk(
            uuid=self._fresh.uuid(),
            dev_type=template,
            iv_name=where,
            size=self._size(where, given),
            mode=mode,
            name=check_device_name(given.get("name"), where),
            forthcoming=True,
        )
        maker = self._makers.get(template)
        if maker is None:
            raise Unsupported(f"{where}: new disks of template {template} are not supported by this version")
        return maker(common, index, given)

    def like(self, disk: Disk, index: int, params: Described, *, group: str | None = None) -> Disk:
        """Make a new disk of the size, mode and name of another one, at this index; in its volume group if it can."""
        given = {"size": disk.size, "mode": disk.mode, **params}
        if group is not None and "vg" in _OWN.get(self._lie.template, ()):
            given["vg"] = group
        return replace(self.disk(index, given), name=disk.name)

    def _refuse_lie(self) -> None:
        lie = self._lie
        if lie.template in FILE_BASED:
            return
        for what, value in (("file driver", lie.driver), ("file storage directory", lie.subdirectory)):
            if value is not None:
                raise Refused(WRONG_INPUT, f"A {what} is given, but disks of template {lie.template} are no files")

    def _size(self, where: str, given: Described) -> int:
        """Give the size that is wanted, or that of what is adopted."""
        template, adopt = self._lie.template, given.get("adopt")
        index = where.removeprefix("disk/")
        if adopt is None:
            if template in MUST_ADOPT:
                raise Refused(
                    WRONG_INPUT,
                    f"{where}: disks of template {template} are adopted, not made",
                    hint=f"--disk {index}:adopt=/dev/disk/...",
                )
            if "size" not in given:
                raise Refused(WRONG_INPUT, f"{where}: no size is given", hint=f"--disk {index}:size=SIZE")
            return check_disk_size(given["size"], f"{where}: size")
        if template not in ADOPTING:
            raise Refused(
                WRONG_INPUT,
                f"{where}: template {template} adopts nothing",
                hint=f"adopting are: {', '.join(sorted(ADOPTING))}",
            )
        if "size" in given:
            raise Refused(WRONG_INPUT, f"{where}: size and adopt exclude each other", hint="what is adopted has a size")
        if self._lie.adopted is None:
            return 1
        name = self.adopted_name(given)
        if name not in self._lie.adopted:
            node = self._cluster.nodes[self._lie.nodes[0]].name
            raise Refused(WRONG_INPUT, f"{where}: {name} is not there on {node}", hint="gnt-node volumes lists volumes")
        return self._lie.adopted[name]

    def adopted_name(self, described: Described) -> str:
        """Give the name of what a disk adopts: group and volume, or the path of the device."""
        adopt = str(described["adopt"])
        if self._lie.template is DiskTemplate.BLOCKDEV:
            if not adopt.startswith("/dev/disk/") or any(part in {".", "..", ""} for part in adopt.split("/")[1:]):
                raise Refused(
                    WRONG_INPUT,
                    f"{adopt[:80]!r} is no device below /dev/disk",
                    hint="those names stay when the machine boots anew",
                )
            return adopt
        return f"{self._group(described, 'adopt')}/{_lvm_name(adopt, 'adopt')}"

    def _refuse_twice(self, described: Sequence[Described]) -> None:
        """Refuse what is adopted twice, or is a disk of this cluster already."""
        names = [self.adopted_name(disk) for disk in described if disk.get("adopt") is not None]
        for name in names:
            if names.count(name) > 1:
                raise Refused(WRONG_INPUT, f"{name} is adopted twice", hint="name each volume once")
            owner = self._user_of(name)
            if owner is not None:
                raise Refused(NOT_UNIQUE, f"{name} belongs to {owner} already")

    def _user_of(self, name: str) -> str | None:
        node = self._lie.nodes[0]
        for disk in self._cluster.disks.values():
            owner = self._cluster.owner(disk.uuid)
            here = disk.dev_type is DiskTemplate.BLOCKDEV or node in disk.nodes
            if here and any(_device_name(part) == name for part in (disk, *disk.children)):
                return f"instance {owner.name}" if owner is not None else f"disk {disk.uuid}"
        return None

    # One maker for each kind of template

    def _file(self, disk: Disk, index: int, _given: Described) -> Disk:
        lie = self._lie
        path = f"{self._base()}/{lie.instance_name}/{disk.uuid}.{lie.template}.disk{index}"
        nodes = () if lie.template is DiskTemplate.SHAREDFILE else lie.nodes[:1]
        return replace(disk, logical_id=(lie.driver or "loop", path), nodes=nodes)

    def _volume(self, disk: Disk, index: int, given: Described) -> Disk:
        group = self._group(given, disk.iv_name)
        return replace(disk, logical_id=(group, f"{disk.uuid}.disk{index}"), nodes=self._lie.nodes[:1])

    def _mirror(self, disk: Disk, index: int, given: Described) -> Disk:
        primary, secondary = self._lie.nodes
        group = self._group(given, disk.iv_name)
        metadata = self._metadata_group(given, group, disk.iv_name)
        number = self._numbers
        return replace(
            disk,
            logical_id=(
                primary,
                secondary,
                number.port(),
                number.minor(primary),
                number.minor(secondary),
                number.secret(self._fresh),
            ),
            nodes=self._lie.nodes,
            children=(
                self.part(disk, (group, f"{disk.uuid}.disk{index}_data"), disk.size),
                self.part(disk, (metadata, f"{disk.uuid}.disk{index}_meta"), DRBD_META_SIZE),
            ),
        )

    def part(self, disk: Disk, volume: tuple[str, str], size: int) -> Disk:
        """Make a volume below a mirror."""
        return Disk(
            uuid=self._fresh.uuid(),
            dev_type=DiskTemplate.PLAIN,
            logical_id=volume,
            nodes=disk.nodes or self._lie.nodes,
            size=size,
            forthcoming=True,
        )

    def _device(self, disk: Disk, _index: int, given: Described) -> Disk:
        return replace(disk, logical_id=("manual", self.adopted_name(given)))

    def _image(self, disk: Disk, index: int, given: Described) -> Disk:
        # The pool is recorded: an image does not move when another pool is chosen for new ones.
        group = self._cluster.group_of(self._cluster.nodes[self._lie.nodes[0]])
        params = {"pool": fill_disk(self._cluster, group, DiskTemplate.RBD, {})["pool"]}
        params |= {key: given[key] for key in ("access",) if key in given}
        return replace(disk, logical_id=("rbd", f"{disk.uuid}.rbd.disk{index}"), params=params)

    def _provided(self, disk: Disk, index: int, given: Described) -> Disk:
        provider = given.get("provider")
        if not provider:
            raise Refused(
                WRONG_INPUT, f"{disk.iv_name}: no provider is given", hint=f"--disk {index}:provider=NAME,size=SIZE"
            )
        params = {key: value for key, value in given.items() if key not in _COMMON}
        return replace(disk, logical_id=(provider, f"{disk.uuid}.ext.disk{index}"), params=params)

    # Places

    def _group(self, given: Described, where: str) -> str:
        group = given.get("vg") or self._cluster.settings.volume_group_name
        if not group:
            raise Refused(WRONG_STATE, f"{where}: the cluster has no volume group", hint="vg=NAME names one")
        return _lvm_name(str(group), f"{where}: vg")

    def _metadata_group(self, given: Described, data_group: str, where: str) -> str:
        if given.get("metavg"):
            return _lvm_name(str(given["metavg"]), f"{where}: metavg")
        group = self._cluster.groups.get(self._cluster.nodes[self._lie.nodes[0]].group)
        own = group.diskparams.get("drbd", {}) if group is not None else {}
        if "metavg" in own or "metavg" in self._cluster.settings.diskparams.get("drbd", {}):
            return str(fill_disk(self._cluster, group, "drbd", {})["metavg"])
        return self._cluster.settings.volume_group_name or data_group

    def _base(self) -> str:
        settings, lie = self._cluster.settings, self._lie
        shared = lie.template is DiskTemplate.SHAREDFILE
        base = settings.shared_file_storage_dir if shared else settings.file_storage_dir
        if not base:
            raise Refused(WRONG_INPUT, f"The cluster has no storage directory for {lie.template}")
        if lie.subdirectory is None:
            return base
        if lie.subdirectory.startswith("/"):
            raise Refused(
                WRONG_INPUT,
                f"The file storage directory {lie.subdirectory} is absolute",
                hint=f"give a directory relative to {base}",
            )
        parts = [part for part in lie.subdirectory.split("/") if part]
        if not parts or any(part in {".", ".."} or "\0" in part for part in parts):
            raise Refused(WRONG_INPUT, f"The file storage directory {lie.subdirectory!r} leaves {base}")
        return "/".join((base, *parts))


def space_needed(disks: Sequence[Disk]) -> dict[str, int]:
    """Give the MiB that disks need of each volume group on each node that holds them."""
    needed: dict[str, int] = {}
    for disk in disks:
        for part in disk.children or (disk,):
            if part.dev_type is DiskTemplate.PLAIN:
                group = str(part.logical_id[0])
                needed[group] = needed.get(group, 0) + part.size
    return needed


def needs_secondary(template: str) -> bool:
    """Say whether disks of a template lie on two nodes."""
    return template in INTERNALLY_MIRRORED


def _device_name(disk: Disk) -> str:
    if disk.dev_type is DiskTemplate.PLAIN:
        return "/".join(map(str, disk.logical_id))
    return str(disk.logical_id[1]) if disk.dev_type is DiskTemplate.BLOCKDEV else ""


def _lvm_name(name: str, what: str) -> str:
    """Give a name that LVM takes: `spec/storage.md`, section 3."""
    sound = _LVM_NAME.fullmatch(name) and name not in _LVM_TAKEN and not name.startswith("-")
    if not sound or "_mlog" in name or "_mimage" in name:
        raise Refused(WRONG_INPUT, f"{what}: {name[:80]!r} is not a name that LVM takes")
    return name
