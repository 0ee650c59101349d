"""Disks of external storage providers: the template `ext`, spec/storage.md, section 9.

A provider is a directory of scripts; they get everything in their environment, and nothing else. What they print goes
to a log of its own, but for `attach`, whose answer it is. The provider knows what a volume is; the disk's name, fresh
for each disk, is what tells volumes apart.
"""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Place
from gnt.noded.processes import Finished, IProcesses
from gnt.noded.storage.answers import RENAMABLE, check_size, exists_otherwise, not_there, unsupported
from gnt.noded.storage.devices import MIB, device_size
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.noded.storage.programs import PATH, printable
from gnt.noded.storage.providers import OPTIONAL, find_provider
from gnt.wire.calls import FAST, NORMAL, DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState

KVM: Final = "kvm"
TAIL_LINES: Final = 20
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.+:@-]")
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Attached:
    """What `attach` said: a block device (may be empty), and URIs by hypervisor."""

    path: str
    uris: Mapping[str, str]


def read_attached(output: str) -> Attached:
    """Read the answer of `attach`. Raises `storage_error` for what is none."""
    lines = output.splitlines()
    path = lines[0].strip() if lines else ""
    if path and (not path.startswith("/") or "\0" in path):
        raise NodeFailure("storage_error", f"its first line is no path of a device: '{printable(path[:80])}'")
    uris = {}
    for line in lines[1:]:
        hypervisor, separator, uri = line.strip().partition(":")
        if not line.strip():
            continue
        if not separator or not hypervisor or not uri:
            raise NodeFailure("storage_error", f"a line is not HYPERVISOR:URI: '{printable(line[:80])}'")
        uris[hypervisor] = uri
    if not path and not uris:
        raise NodeFailure("storage_error", "it named neither a device nor a URI")
    return Attached(path=path, uris=uris)


@implementer(IDiskTemplate)
class ProvidedDisks:
    """Disks of the template `ext`: logical_id (provider, volume); its other parameters are the provider's.

    `limit`: the seconds that a script has.
    """

    def __init__(self, place: Place, processes: IProcesses, *, limit: float = NORMAL) -> None:
        self._layout = place.layout
        self._runtime = place.runtime
        self._pool = place.runtime.pools("storage")
        self._processes = processes
        self._limit = limit

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Let the provider make the volume; if it cannot, because it made it before, that is seen by its size."""
        check_size(disk)
        failure = await self._try("create", disk, {"VOL_SIZE": str(disk.size)}, context)
        if failure is None:
            return
        try:
            found = await self.find(disk, context)
        except NodeFailure:
            raise failure from None
        if found is None:
            raise failure
        if found.size not in {0, disk.size}:
            raise exists_otherwise(f"Volume {_volume(disk)}", f"{found.size} MiB", disk)

    async def remove(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Detach and remove; a volume that cannot be attached any more is gone: `IDiskTemplate.remove`."""
        await self._try("detach", disk, {}, context)
        failure = await self._try("remove", disk, {}, context)
        if failure is None:
            return
        if failure.code != "script_failed" or await self._attach(disk, context) is not None:
            raise failure

    async def assemble(self, disk: DiskSpec, primary: bool, context: CallContext | None = None) -> DiskDevice:
        """Attach the volume, and open it for writing: `IDiskTemplate.assemble`."""
        attached = await self._attached(disk, context)
        if primary:
            await self._optional("open", disk, {"VOL_OPEN_EXCLUSIVE": "True"}, context)
        return DiskDevice(path=attached.path, uri=self._uri(attached, disk))

    async def release(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Close and detach the volume; one that is not there is detached: `IDiskTemplate.release`."""
        await self._optional("close", disk, {}, context, tolerant=True)
        failure = await self._try("detach", disk, {}, context)
        if failure is not None and await self._attach(disk, context) is not None:
            raise failure

    async def find(self, disk: DiskSpec, context: CallContext | None = None) -> DiskFacts | None:
        """Attach the volume, which is the only way to ask for it: `IDiskTemplate.find`."""
        attached = await self._attach(disk, context)
        if attached is None:
            return None
        size = await self._pool.run(device_size, attached.path) if attached.path else None
        known = disk.size if size is None else size // MIB
        return DiskFacts(path=attached.path, size=known, uri=self._uri(attached, disk))

    async def find_many(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Attach each: `IDiskTemplate.find_many`."""
        states = []
        for disk in disks:
            try:
                states.append(DiskState(facts=await self.find(disk, context)))
            except NodeFailure as failure:
                states.append(DiskState(problem=failure.text))
        return states

    async def promote(self, disk: DiskSpec, shared: bool, context: CallContext | None = None) -> None:
        """Open the volume: `IDiskTemplate.promote`."""
        await self._attached(disk, context)
        await self._optional("open", disk, {"VOL_OPEN_EXCLUSIVE": str(not shared)}, context)

    async def demote(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Close the volume: `IDiskTemplate.demote`."""
        await self._optional("close", disk, {}, context, tolerant=True)

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Let the provider enlarge the volume: `IDiskTemplate.grow`."""
        if not backing:
            return
        found = await self.find(disk, context)
        if found is None:
            raise not_there(disk, f"volume {_volume(disk)}")
        if found.size < size:
            await self._run("grow", disk, {"VOL_SIZE": str(found.size), "VOL_NEW_SIZE": str(size)}, context)

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Check that the volume is there; what room its provider has nobody knows: `IDiskTemplate.check_grow`."""
        await self._attached(disk, context)

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Refuse: providers have no script for it: `IDiskTemplate.rename`."""
        raise unsupported(disk, "renamed", RENAMABLE)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Let the provider copy the volume as it is now: `IDiskTemplate.snapshot`."""
        provider = await self._provider(disk)
        if not (provider / "snapshot").exists():
            raise NodeFailure("unsupported", f"External storage provider {disk.logical_id[0]} makes no snapshots")
        if target.logical_id[:1] != disk.logical_id[:1]:
            raise NodeFailure("wrong_input", f"Disk {target.uuid}: a snapshot is of the provider of its disk")
        await self._attached(disk, context)
        more = {"VOL_SNAPSHOT_NAME": _volume(target), "VOL_SNAPSHOT_SIZE": str(target.size)}
        failure = await self._try("snapshot", disk, more, context)
        if failure is not None and await self._attach(target, context) is None:
            raise failure

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Let the provider write the text: `IDiskTemplate.label`."""
        await self._attached(disk, context)
        await self._run("setinfo", disk, {"VOL_METADATA": text}, context)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the device, else what QEMU opens: `IDiskTemplate.contents`."""
        attached = await self._attached(disk, context)
        place = attached.path or attached.uris.get(KVM)
        if not place:
            raise NodeFailure("unsupported", f"Volume {_volume(disk)} has no device here, and no URI for {KVM}")
        return Contents(place=place, size=disk.size)

    # Scripts

    async def _attached(self, disk: DiskSpec, context: CallContext | None) -> Attached:
        done = await self._script("attach", disk, {}, context, log=False)
        if not done.ok:
            raise not_there(disk, f"volume {_volume(disk)}: {_failed('attach', disk, done).text}")
        return await self._read(disk, done)

    async def _attach(self, disk: DiskSpec, context: CallContext | None) -> Attached | None:
        """Attach the volume; None if its provider says by its exit status that it cannot."""
        done = await self._script("attach", disk, {}, context, log=False)
        return await self._read(disk, done) if done.ok else None

    async def _read(self, disk: DiskSpec, done: Finished) -> Attached:
        """Read what `attach` said. A device that is not there is no volume, whatever the exit status says."""
        name = _script_name("attach", disk)
        try:
            attached = read_attached(done.output)
        except NodeFailure as failure:
            raise NodeFailure("storage_error", f"{name}: {failure.text}") from None
        if attached.path and not await self._pool.run(os.path.exists, attached.path):
            raise NodeFailure("storage_error", f"{name}: it named {attached.path}, which is not there")
        return attached

    def _uri(self, attached: Attached, disk: DiskSpec) -> str | None:
        """Give the URI for the hypervisor, where the disk is to be reached so or cannot be reached otherwise."""
        wanted = disk.params.get("access", "kernelspace") == "userspace" or not attached.path
        return attached.uris.get(KVM) if wanted else None

    async def _run(self, action: str, disk: DiskSpec, more: Mapping[str, str], context: CallContext | None) -> None:
        failure = await self._try(action, disk, more, context)
        if failure is not None:
            raise failure

    async def _try(
        self, action: str, disk: DiskSpec, more: Mapping[str, str], context: CallContext | None
    ) -> NodeFailure | None:
        """Run a script that may fail; gives its failure."""
        done = await self._script(action, disk, more, context, log=True)
        return None if done.ok else _failed(action, disk, done)

    async def _optional(
        self,
        action: str,
        disk: DiskSpec,
        more: Mapping[str, str],
        context: CallContext | None,
        *,
        tolerant: bool = False,
    ) -> None:
        """Run a script that a provider need not have; `tolerant`: a volume that is not there needs none either."""
        provider = await self._provider(disk)
        if not await self._pool.run((provider / action).exists):
            return
        failure = await self._try(action, disk, more, context)
        if failure is not None and not (tolerant and await self._attach(disk, context) is None):
            raise failure

    async def _script(
        self, action: str, disk: DiskSpec, more: Mapping[str, str], context: CallContext | None, *, log: bool
    ) -> Finished:
        """Run a script to its end. Raises `timeout` or `aborted` when it was ended, `not_found` without provider."""
        provider = await self._provider(disk)
        done = await self._processes.run(
            [str(provider / action)],
            env={"PATH": PATH, "LC_ALL": "C", **variables(disk), **more},
            cwd=provider,
            log=self._log(action, disk) if log else None,
            timeout=min(self._limit, FAST) if action == "attach" else self._limit,
            context=context,
        )
        if done.ended_by:
            code = "timeout" if done.ended_by == "timeout" else "aborted"
            raise NodeFailure(code, f"{_script_name(action, disk)} {done.how}")
        return done

    async def _provider(self, disk: DiskSpec) -> Path:
        """Find the directory of the disk's provider, or say what is wrong with it."""
        _volume(disk)
        name = str(disk.logical_id[0])
        facts = await self._pool.run(find_provider, self._layout.ext_storage_search_path(), name)
        if not facts.valid:
            raise NodeFailure(
                "not_found" if not facts.path else "storage_error",
                facts.diagnose,
                hint="gnt-storage diagnose shows what there is, on which node",
            )
        return Path(facts.path)

    def _log(self, action: str, disk: DiskSpec) -> Path:
        stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.localtime(self._runtime.now()))
        stem = _UNSAFE.sub("_", "-".join((action, *map(str, disk.logical_id))))[:225]
        return self._layout.log / "extstorage" / f"{stem}-{stamp}.log"


def variables(disk: DiskSpec) -> dict[str, str]:
    """Give the environment of every script about a disk: names, and `EXTP_` with each parameter."""
    told = {"VOL_NAME": _volume(disk), "VOL_UUID": disk.uuid}
    if disk.name:
        told["VOL_CNAME"] = disk.name
    for name, value in {"provider": disk.logical_id[0], **disk.params}.items():
        if not _PARAMETER.fullmatch(name):
            raise NodeFailure("wrong_input", f"{disk.shown}: {name!r} is no name of a provider's parameter")
        told[f"EXTP_{name.upper()}"] = str(value)
    return told


def _volume(disk: DiskSpec) -> str:
    """Give the volume's name, or refuse a logical_id that has none."""
    if len(disk.logical_id) != 2 or not all(disk.logical_id):
        raise NodeFailure("wrong_input", f"{disk.shown}: logical_id must be provider and volume")
    return str(disk.logical_id[1])


def _script_name(action: str, disk: DiskSpec) -> str:
    kind = "optional script" if action in OPTIONAL else "script"
    return f"{kind} {action} of the external storage provider {disk.logical_id[0]}"


def _failed(action: str, disk: DiskSpec, done: Finished) -> NodeFailure:
    """Say that a script failed, with the end of what it printed."""
    lines = (done.output + done.errors).splitlines()[-TAIL_LINES:]
    spoken = printable(" | ".join(line.strip() for line in lines)) or "it said nothing"
    return NodeFailure("script_failed", f"{_script_name(action, disk)} {done.how}: {spoken}")
