"""Disks on this node: which template answers a call, and the stable links."""

from __future__ import annotations

from collections.abc import Mapping

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.storage.allowed import AllowedDirectories
from gnt.noded.storage.diskless import Diskless
from gnt.noded.storage.file import FileDisks
from gnt.noded.storage.interface import IDiskTemplate
from gnt.noded.storage.links import DeviceLinks
from gnt.wire.calls import (
    DiskAssemble,
    DiskCreate,
    DiskDevice,
    DiskFacts,
    DiskFind,
    DiskRelease,
    DiskRemove,
    StorageCheck,
)

POOL = "storage"


def real_templates(layout: Layout) -> dict[str, IDiskTemplate]:
    """Give the disk templates that a node can serve, by name."""
    return {
        "diskless": Diskless(),
        "file": FileDisks(layout, "file"),
        "sharedfile": FileDisks(layout, "sharedfile"),
    }


class Disks:
    """Takes the calls about disks. `templates` maps the names of disk templates to what serves them."""

    def __init__(
        self, place: Place, templates: Mapping[str, IDiskTemplate], *, links: DeviceLinks | None = None
    ) -> None:
        self._layout = place.layout
        self._pool = place.runtime.pools(POOL)
        self._templates = templates
        self._links = links or DeviceLinks(place.layout)

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {
            DiskCreate: self._create,
            DiskRemove: self._remove,
            DiskAssemble: self._assemble,
            DiskRelease: self._release,
            DiskFind: self._find,
            StorageCheck: self._check,
        }

    def device(self, disk: DiskSpec) -> DiskDevice:
        """Give the device of an assembled disk, with its link. Blocks.

        Raises `NodeFailure`: `not_found` if the disk is not there, else as its template does.
        """
        found = self._template(disk).find(disk)
        if found is None:
            raise NodeFailure(
                "not_found",
                f"Block device 'disk/{disk.index}' of {disk.instance_name} is not set up.",
                hint="gnt-instance activate-disks",
            )
        return DiskDevice(path=found.path, link=self._links.find(disk))

    async def _create(self, call: DiskCreate, _context: CallContext) -> None:
        await self._pool.run(self._template(call.disk).create, call.disk)

    async def _remove(self, call: DiskRemove, _context: CallContext) -> None:
        def work() -> None:
            template = self._template(call.disk)
            self._links.remove(call.disk)
            template.remove(call.disk)

        await self._pool.run(work)

    async def _assemble(self, call: DiskAssemble, _context: CallContext) -> DiskDevice:
        def work() -> DiskDevice:
            device = self._template(call.disk).assemble(call.disk, call.primary)
            if not call.primary:
                return device
            return DiskDevice(path=device.path, link=self._links.make(call.disk, device.path), uri=device.uri)

        return await self._pool.run(work)

    async def _release(self, call: DiskRelease, _context: CallContext) -> None:
        def work() -> None:
            template = self._template(call.disk)
            self._links.remove(call.disk)
            template.release(call.disk)

        await self._pool.run(work)

    async def _find(self, call: DiskFind, _context: CallContext) -> DiskFacts | None:
        return await self._pool.run(self._template(call.disk).find, call.disk)

    async def _check(self, call: StorageCheck, _context: CallContext) -> None:
        if call.kind not in {"file", "sharedfile"}:
            raise NodeFailure("unsupported", f"Storage of the kind {call.kind!r} is not supported yet")
        await self._pool.run(AllowedDirectories(self._layout, call.kind).check, call.directory)

    def _template(self, disk: DiskSpec) -> IDiskTemplate:
        """Find the template that serves a disk, or refuse it by name."""
        template = self._templates.get(str(disk.dev_type))
        if template is None:
            raise NodeFailure(
                "unsupported",
                f"Disk template {disk.dev_type!s} is not supported yet",
                hint=f"this node serves {', '.join(sorted(self._templates))}",
            )
        return template
