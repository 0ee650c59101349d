"""Stable names of the disks of this node's guests: `instance-disks/INSTANCE:INDEX` in the run directory.

Hypervisors are given the link, so that the name stays when the device behind it changes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.model.objects import DiskTemplate
from gnt.model.specs import DiskSpec

MAX_DISKS: Final = 16
_VOLUMES: Final = frozenset({DiskTemplate.PLAIN, DiskTemplate.THIN})


class DeviceLinks:
    """The links of one node. All methods block and may be repeated."""

    def __init__(self, layout: Layout) -> None:
        self._directory = layout.run / "instance-disks"

    def make(self, disk: DiskSpec, device: str) -> str:
        """Point the disk's link at its device, also if it pointed elsewhere; gives the link's path."""
        link = self._path(disk)
        try:
            if link.is_symlink() and str(link.readlink()) == device:
                return str(link)
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            fresh = link.with_name(f".{link.name}.new")
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            fresh.symlink_to(device)
            fresh.replace(link)
            self._forget_others(disk, link, device)
        except OSError as error:
            raise NodeFailure("storage_error", f"Cannot make the link {link}: {error.strerror}") from error
        return str(link)

    def _forget_others(self, disk: DiskSpec, link: Path, device: str) -> None:
        """Take away the link that the disk had while it was another one in the instance's list."""
        names = {f"{disk.instance_name}:{index}" for index in range(MAX_DISKS)} - {link.name}
        for name in sorted(names.intersection(os.listdir(self._directory))):  # noqa: PTH208  (names are all it needs)
            other = self._directory / name
            if other.is_symlink() and str(other.readlink()) == device:
                other.unlink(missing_ok=True)

    def remove(self, disk: DiskSpec) -> None:
        """Take the disk's link away.

        A volume that is or was a part of a mirror has the index of the mirror, whose guest may run: the link that
        points to the mirror is none of the volume's.
        """
        link = self._path(disk)
        try:
            if not (disk.dev_type in _VOLUMES and link.is_symlink() and not _is_volume(link.readlink(), disk)):
                link.unlink(missing_ok=True)
        except OSError as error:
            raise NodeFailure("storage_error", f"Cannot remove the link {link}: {error.strerror}") from error

    def find(self, disk: DiskSpec) -> str | None:
        """Give the disk's link, if there is one."""
        link = self._path(disk)
        return str(link) if link.is_symlink() else None

    def _path(self, disk: DiskSpec) -> Path:
        if "/" in disk.instance_name or disk.instance_name in {"", ".", ".."}:
            raise NodeFailure("wrong_input", f"{disk.shown}: {disk.instance_name!r} is no instance name")
        return self._directory / f"{disk.instance_name}:{disk.index}"


def _is_volume(device: Path, disk: DiskSpec) -> bool:
    """Say whether a device is the logical volume of a disk."""
    return device.parts[-2:] == tuple(map(str, disk.logical_id))
