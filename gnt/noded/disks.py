"""Disks on this node: which template answers a call, and the stable links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Handlers, Place
from gnt.noded.storage.allowed import AllowedDirectories
from gnt.noded.storage.interface import IDiskTemplate
from gnt.noded.storage.links import DeviceLinks
from gnt.noded.storage.registry import template_of
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
from gnt.wire.disk_calls import (
    DiskDemote,
    DiskGrow,
    DiskGrowCheck,
    DiskLabel,
    DiskPromote,
    DiskRename,
    DiskSnapshot,
    DiskState,
    DiskStates,
)

POOL = "storage"


class Disks:
    """Takes the calls about disks. `templates` maps the names of disk templates to what serves them."""

    def __init__(
        self, place: Place, templates: Mapping[str, IDiskTemplate], *, links: DeviceLinks | None = None
    ) -> None:
        self._layout = place.layout
        self._pool = place.runtime.pools(POOL)
        self._templates = templates
        self._links = links or DeviceLinks(place.layout)
        self.on_release: list[Callable[[str], None]] = []
        """Called with the UUID of each disk that is released or removed."""

    def handlers(self) -> Handlers:
        """Give the calls that this part takes."""
        return {
            DiskCreate: self._create,
            DiskRemove: self._remove,
            DiskAssemble: self._assemble,
            DiskRelease: self._release,
            DiskFind: self._find,
            DiskStates: self._states,
            DiskGrow: self._grow,
            DiskGrowCheck: self._check_grow,
            DiskRename: self._rename,
            DiskSnapshot: self._snapshot,
            DiskLabel: self._label,
            DiskPromote: self._promote,
            DiskDemote: self._demote,
            StorageCheck: self._check,
        }

    async def devices(self, disks: Sequence[DiskSpec]) -> list[DiskDevice]:
        """Give the devices of assembled disks, with their links, in order.

        Raises `NodeFailure`: `not_found` if a disk is not there, `storage_error` if that cannot be told.
        """
        states = await self.states(disks)
        found = []
        for disk, state in zip(disks, states, strict=True):
            if state.problem:
                raise NodeFailure("storage_error", state.problem)
            if state.facts is None or not await self._pool.run(_can_be_opened, state.facts):
                raise NodeFailure(
                    "not_found",
                    f"Block device 'disk/{disk.index}' of {disk.instance_name} is not set up.",
                    hint="gnt-instance activate-disks",
                )
            link = await self._pool.run(self._links.find, disk)
            found.append(DiskDevice(path=state.facts.path, link=link, uri=state.facts.uri))
        return found

    async def states(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Find many disks, each template with one look for all of its own."""
        kinds = dict.fromkeys(str(disk.dev_type) for disk in disks)
        found: dict[int, DiskState] = {}
        for kind in kinds:
            mine = [(place, disk) for place, disk in enumerate(disks) if str(disk.dev_type) == kind]
            try:
                template = template_of(self._templates, mine[0][1])
                states = await template.find_many([disk for _, disk in mine], context)
            except NodeFailure as failure:
                states = [DiskState(problem=failure.text) for _ in mine]
            found |= {place: state for (place, _), state in zip(mine, states, strict=True)}
        return [found[place] for place in range(len(disks))]

    def template(self, disk: DiskSpec) -> IDiskTemplate:
        """Find the template that serves a disk; raises `unsupported`."""
        return template_of(self._templates, disk)

    async def _create(self, call: DiskCreate, context: CallContext) -> None:
        await self.template(call.disk).create(call.disk, context)

    async def _remove(self, call: DiskRemove, context: CallContext) -> None:
        template = self.template(call.disk)
        self._let_go(call.disk)
        await self._pool.run(self._links.remove, call.disk)
        await template.remove(call.disk, context)

    async def _assemble(self, call: DiskAssemble, context: CallContext) -> DiskDevice:
        device = await self.template(call.disk).assemble(call.disk, call.primary, context)
        if not call.primary or not device.path:
            return device
        link = await self._pool.run(self._links.make, call.disk, device.path)
        return DiskDevice(path=device.path, link=link, uri=device.uri)

    async def _release(self, call: DiskRelease, context: CallContext) -> None:
        template = self.template(call.disk)
        self._let_go(call.disk)
        await self._pool.run(self._links.remove, call.disk)
        await template.release(call.disk, context)

    async def _find(self, call: DiskFind, context: CallContext) -> DiskFacts | None:
        return await self.template(call.disk).find(call.disk, context)

    async def _states(self, call: DiskStates, context: CallContext) -> list[DiskState]:
        return await self.states(call.disks, context)

    async def _grow(self, call: DiskGrow, context: CallContext) -> None:
        await self.template(call.disk).grow(call.disk, call.size, call.backing, context)

    async def _check_grow(self, call: DiskGrowCheck, context: CallContext) -> None:
        await self.template(call.disk).check_grow(call.disk, call.size, context)

    async def _rename(self, call: DiskRename, context: CallContext) -> None:
        template = self.template(call.disk)
        if call.target.dev_type is not call.disk.dev_type:
            raise NodeFailure("wrong_input", f"Disk {call.target.uuid}: a new name changes no disk template")
        await template.rename(call.disk, call.target, context)

    async def _snapshot(self, call: DiskSnapshot, context: CallContext) -> None:
        await self.template(call.disk).snapshot(call.disk, call.target, context)

    async def _label(self, call: DiskLabel, context: CallContext) -> None:
        await self.template(call.disk).label(call.disk, call.text, context)

    async def _promote(self, call: DiskPromote, context: CallContext) -> None:
        template = self.template(call.disk)
        await template.promote(call.disk, call.shared, context)
        facts = await template.find(call.disk, context)
        if facts is not None and facts.path:
            await self._pool.run(self._links.make, call.disk, facts.path)

    async def _demote(self, call: DiskDemote, context: CallContext) -> None:
        template = self.template(call.disk)
        await self._pool.run(self._links.remove, call.disk)
        await template.demote(call.disk, context)

    def _let_go(self, disk: DiskSpec) -> None:
        """Let everybody know who still works with the disk's data."""
        for told in self.on_release:
            told(disk.uuid)

    async def _check(self, call: StorageCheck, _context: CallContext) -> None:
        if call.kind not in {"file", "sharedfile", "qcow2"}:
            raise NodeFailure("unsupported", f"Storage of the kind {call.kind!r} is not supported yet")
        await self._pool.run(AllowedDirectories(self._layout, call.kind).check, call.directory)


def _can_be_opened(facts: DiskFacts) -> bool:
    """Say whether a disk that is there is assembled too: by its device, or by QEMU itself. Blocks."""
    return Path(facts.path).exists() if facts.path else facts.uri is not None
