"""The disk templates and mirrors that a node can serve, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import Place
from gnt.noded.processes import IProcesses
from gnt.noded.storage.blockdev import BlockDevices
from gnt.noded.storage.diskless import Diskless
from gnt.noded.storage.drbd import MirroredDisks, own_uuid
from gnt.noded.storage.drbd_kernel import Kernel
from gnt.noded.storage.ext import ProvidedDisks
from gnt.noded.storage.file import FileDisks
from gnt.noded.storage.interface import IDiskTemplate, IMirror
from gnt.noded.storage.plain import LogicalVolumes
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.qcow2 import Images
from gnt.noded.storage.rbd import RadosImages
from gnt.noded.storage.thin import ThinVolumes


def real_templates(place: Place, processes: IProcesses) -> dict[str, IDiskTemplate]:
    """Give the disk templates of a node."""
    programs = Programs(processes)
    plain = LogicalVolumes(place, programs)
    kernel = Kernel(place.runtime.pools("storage"), programs)
    return {
        "diskless": Diskless(),
        "file": FileDisks(place, "file"),
        "sharedfile": FileDisks(place, "sharedfile"),
        "plain": plain,
        "thin": ThinVolumes(place, programs),
        "qcow2": Images(place, programs),
        "blockdev": BlockDevices(place),
        "rbd": RadosImages(programs),
        "ext": ProvidedDisks(place, processes),
        "drbd": MirroredDisks(place, kernel, plain, own_uuid(place)),
    }


def template_of(templates: Mapping[str, IDiskTemplate], disk: DiskSpec) -> IDiskTemplate:
    """Find the template that serves a disk, or refuse it by name."""
    template = templates.get(str(disk.dev_type))
    if template is None:
        raise NodeFailure(
            "unsupported",
            f"Disk template {disk.dev_type!s} is not supported yet",
            hint=f"this node serves {', '.join(sorted(templates))}",
        )
    return template


def mirror_of(templates: Mapping[str, IDiskTemplate], disk: DiskSpec) -> IMirror:
    """Find what serves a disk that is a mirror, or refuse it by name."""
    template: Any = template_of(templates, disk)
    if not IMirror.providedBy(template):
        raise NodeFailure("unsupported", f"Disks of the template {disk.dev_type!s} are no mirrors")
    return template
