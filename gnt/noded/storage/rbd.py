"""Disks as images of Ceph's RADOS block device: the template `rbd`, spec/storage.md, section 7.

Whose image it is, its metadata says (key `gnt.disk`): an image is made under a name of its own, marked, and only then
gets the disk's name. With `access` `kernelspace` the image is mapped to a device; with `userspace` QEMU opens it by
itself, and nothing is mapped.
"""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext
from gnt.noded.processes import Finished
from gnt.noded.storage.answers import check_size, exists, exists_otherwise, not_there
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.noded.storage.programs import Programs
from gnt.noded.storage.rbd_answers import UNREACHABLE, failure, is_missing, no_pool, read
from gnt.wire.calls import SLOW, DiskDevice, DiskFacts
from gnt.wire.disk_calls import DiskState

MIB: Final = 1 << 20
MARK: Final = "gnt.disk"
LABEL: Final = "gnt.label"
_NAME: Final = re.compile(r"[A-Za-z0-9_.+-]+")
_LARGEST: Final = 1 << 30
"""MiB; Ceph takes sizes of more, and fails later."""


class _Image(msgspec.Struct, frozen=True):
    """An image as Ceph has it; `size` in bytes."""

    size: int
    owner: str | None


class _Mapping(msgspec.Struct, frozen=True):
    """An image and the device that it is mapped to."""

    pool: str
    name: str
    device: str


class _Scan(msgspec.Struct):
    """What one look has found so far: sizes of images by pool, what is mapped, and why nobody answers."""

    sizes: dict[str, dict[str, int]] = {}
    mapped: list[_Mapping] | None = None
    away: str = ""


@implementer(IDiskTemplate)
class RadosImages:
    """Disks of the template `rbd`: logical_id (`rbd`, image); parameters `pool` and `access`."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Make an image, mark it, and give it the disk's name: `IDiskTemplate.create`."""
        check_size(disk)
        pool, name = _names(disk)
        if disk.size > _LARGEST:
            raise NodeFailure("no_space", f"{disk.shown} wants {disk.size} MiB, an image has {_LARGEST} at most")
        try:
            found = await self._image(pool, name, context)
        except NodeFailure as failure:
            code = "not_begun" if failure.code == UNREACHABLE else failure.code
            raise NodeFailure(code, failure.text, hint=failure.hint, retry=failure.retry) from failure
        if found is not None:
            if found.owner != disk.uuid:
                raise exists(f"Image {pool}/{name}", disk)
            if found.size != disk.size * MIB:
                raise exists_otherwise(f"Image {pool}/{name}", f"{found.size} bytes", disk)
            return
        draft = f"{name}.new"
        await self._discard(pool, draft, context)
        try:
            await self._run(["create", "-p", pool, draft, "--size", str(disk.size)], context)
            await self._mark(pool, draft, MARK, disk.uuid, context)
            await self._run(["mv", f"{pool}/{draft}", f"{pool}/{name}"], context)
        except NodeFailure:
            await self._discard(pool, draft, context)
            raise

    async def remove(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Unmap and remove the image that bears the disk's mark: `IDiskTemplate.remove`. It goes with its pool too."""
        pool, name = _names(disk)
        if not await self._discard(pool, f"{name}.new", context):
            return
        found = await self._image(pool, name, context)
        if found is not None and found.owner == disk.uuid:
            await self._unmap(pool, name, context)
            await self._run(["rm", "-p", pool, name, "--no-progress"], context, timeout=SLOW)

    async def assemble(self, disk: DiskSpec, primary: bool, context: CallContext | None = None) -> DiskDevice:
        """Map the image, unless QEMU opens it by itself: `IDiskTemplate.assemble`."""
        await self._own(disk, context)
        pool, name = _names(disk)
        if _userspace(disk):
            return DiskDevice(path="", uri=self._uri(pool, name))
        device = await self._mapped(pool, name, context)
        if device is None:
            await self._run(["map", "-p", pool, name], context)
            device = await self._mapped(pool, name, context)
        if device is None:
            raise NodeFailure("storage_error", f"Image {pool}/{name} was mapped, and no device is there for it")
        return DiskDevice(path=device)

    async def release(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Unmap the image: `IDiskTemplate.release`."""
        pool, name = _names(disk)
        if not _userspace(disk):
            await self._unmap(pool, name, context)

    async def find(self, disk: DiskSpec, context: CallContext | None = None) -> DiskFacts | None:
        """Find the image without mapping it: `IDiskTemplate.find`."""
        pool, name = _names(disk)
        image = await self._image(pool, name, context)
        mapped = [] if image is None or _userspace(disk) else await self._mappings(context)
        return _facts(disk, image, mapped, self._uri(pool, name))

    async def find_many(self, disks: Sequence[DiskSpec], context: CallContext | None = None) -> list[DiskState]:
        """Find all with one listing of each pool and one of what is mapped; marks are asked for: `find_many`."""
        seen = _Scan()
        return [await self._look(disk, disks, seen, context) for disk in disks]

    async def _look(
        self, disk: DiskSpec, disks: Sequence[DiskSpec], seen: _Scan, context: CallContext | None
    ) -> DiskState:
        if seen.away:
            return DiskState(problem=seen.away)
        try:
            pool, name = _names(disk)
            if pool not in seen.sizes:
                wanted = sum(other.params.get("pool") == disk.params.get("pool") for other in disks)
                # Listing opens every image of the pool, also those of others: for one disk it is not worth it.
                seen.sizes[pool] = await self._listed(pool, context) if wanted > 1 else {}
            size = seen.sizes[pool].get(name)
            image = await self._image(pool, name, context, size=size)
            if seen.mapped is None and image is not None and not _userspace(disk):
                seen.mapped = await self._mappings(context)
            return DiskState(facts=_facts(disk, image, seen.mapped or [], self._uri(pool, name)))
        except NodeFailure as problem:
            # Each question to a cluster that is away lasts until Ceph's patience is over: one is enough.
            seen.away = problem.text if problem.code == UNREACHABLE else ""
            return DiskState(problem=problem.text)

    async def _listed(self, pool: str, context: CallContext | None) -> dict[str, int]:
        """Give the sizes (bytes) of a pool's images. What it leaves out, such as a damaged one, may be there still."""
        done = await self._run(["ls", "-l", pool, "--format", "json"], context, timeout=SLOW)
        return {row["image"]: int(row["size"]) for row in read(done, "ls") if "snapshot" not in row}

    async def promote(self, disk: DiskSpec, shared: bool, context: CallContext | None = None) -> None:
        """Check that the image is there: `IDiskTemplate.promote`."""
        await self._own(disk, context)

    async def demote(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Nothing to do: an image is not held: `IDiskTemplate.demote`."""
        _names(disk)

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Resize the image, if it is smaller: `IDiskTemplate.grow`."""
        if not backing:
            return
        await self.check_grow(disk, size, context)
        found = await self._own(disk, context)
        if found.size < size * MIB:
            pool, name = _names(disk)
            await self._run(["resize", "-p", pool, name, "--size", str(size), "--no-progress"], context)

    async def check_grow(self, disk: DiskSpec, size: int, context: CallContext | None = None) -> None:
        """Check that the image is there; its pool gives room when it is written: `IDiskTemplate.check_grow`."""
        await self._own(disk, context)
        if size > _LARGEST:
            raise NodeFailure("no_space", f"{disk.shown} is to have {size} MiB, an image has {_LARGEST} at most")

    async def rename(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Give the image another mark, then another name in its pool: `IDiskTemplate.rename`."""
        pool, old = _names(disk)
        into, new = _names(target)
        if pool != into:
            raise NodeFailure("wrong_input", f"{disk.shown}: an image stays in its pool {pool}")
        source, taken = await self._image(pool, old, context), await self._image(pool, new, context)
        if taken is not None and (new != old or taken.owner == target.uuid):
            half = source is None and bool(disk.uuid) and taken.owner == disk.uuid
            twice = new != old and source is not None and bool(disk.uuid) and source.owner == disk.uuid
            if twice or not (half or taken.owner == target.uuid):
                raise exists(f"Image {pool}/{new}", target)
            await self._mark(pool, new, MARK, target.uuid, context)
            return
        if source is None:
            raise not_there(disk, f"image {pool}/{old}")
        if source.owner not in {disk.uuid or None, target.uuid}:
            raise NodeFailure("foreign", f"Image {pool}/{old} is not disk {disk.uuid or 'of nobody'}")
        await self._unmap(pool, old, context)
        await self._mark(pool, old, MARK, target.uuid, context)
        if new != old:
            await self._run(["mv", f"{pool}/{old}", f"{pool}/{new}"], context)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Make an image of its own of a snapshot, which is forgotten again: `IDiskTemplate.snapshot`."""
        await self._own(disk, context)
        pool, name = _names(disk)
        into, copy = _names(target)
        found = await self._image(into, copy, context)
        if found is not None:
            if found.owner != target.uuid:
                raise exists(f"Image {into}/{copy}", target)
            return
        snapshot, draft = f"{pool}/{name}@gnt-{target.uuid}", f"{copy}.new"
        await self._discard(into, draft, context)
        await self._try(["snap", "rm", snapshot, "--no-progress"], context)
        await self._run(["snap", "create", snapshot, "--no-progress"], context)
        try:
            await self._run(["cp", snapshot, f"{into}/{draft}", "--no-progress"], context, timeout=SLOW)
            await self._mark(into, draft, MARK, target.uuid, context)
            await self._run(["mv", f"{into}/{draft}", f"{into}/{copy}"], context)
        except NodeFailure:
            await self._discard(into, draft, context)
            raise
        finally:
            await self._try(["snap", "rm", snapshot, "--no-progress"], context)

    async def label(self, disk: DiskSpec, text: str, context: CallContext | None = None) -> None:
        """Write the text into the image's metadata: `IDiskTemplate.label`."""
        await self._own(disk, context)
        await self._mark(*_names(disk), LABEL, text, context)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the device, or what QEMU opens: `IDiskTemplate.contents`."""
        await self._own(disk, context)
        pool, name = _names(disk)
        device = None if _userspace(disk) else await self._mapped(pool, name, context)
        if device is None and not _userspace(disk):
            raise NodeFailure("not_found", f"Image {pool}/{name} is not mapped", hint="gnt-instance activate-disks")
        return Contents(place=device or self._uri(pool, name), size=disk.size)

    # What Ceph says

    async def _own(self, disk: DiskSpec, context: CallContext | None) -> _Image:
        """Give the disk's image; raises `not_found`, or `foreign` if another has its name."""
        pool, name = _names(disk)
        found = await self._image(pool, name, context)
        if found is None:
            raise not_there(disk, f"image {pool}/{name}")
        if found.owner != disk.uuid:
            raise NodeFailure(
                "foreign",
                f"Image {pool}/{name} is not marked as disk {disk.uuid}",
                hint=f"if it is that disk: rbd image-meta set {pool}/{name} {MARK} {disk.uuid}",
            )
        return found

    async def _image(
        self, pool: str, name: str, context: CallContext | None, *, size: int | None = None
    ) -> _Image | None:
        """Give an image; `size` (bytes) if it is known already."""
        if size is None:
            done = await self._programs.try_run(["rbd", "info", f"{pool}/{name}", "--format", "json"], context)
            if not done.ok:
                if is_missing(done):
                    return None
                raise failure("info", done)
            size = read(done, "info")["size"]
        meta = await self._run(["image-meta", "list", f"{pool}/{name}", "--format", "json"], context)
        marks = read(meta, "image-meta list") if meta.output.strip() else {}
        return _Image(size=int(size), owner=marks.get(MARK))

    async def _mapped(self, pool: str, name: str, context: CallContext | None) -> str | None:
        """Give the device that an image is mapped to."""
        return _device(await self._mappings(context), pool, name)

    async def _mappings(self, context: CallContext | None) -> list[_Mapping]:
        """Give all that is mapped on this node."""
        done = await self._run(["showmapped", "--format", "json"], context)
        rows = read(done, "showmapped")
        entries = rows.values() if isinstance(rows, dict) else rows
        return [_Mapping(pool=row["pool"], name=row["name"], device=str(row["device"])) for row in entries]

    async def _unmap(self, pool: str, name: str, context: CallContext | None) -> None:
        device = await self._mapped(pool, name, context)
        if device is not None:
            await self._run(["unmap", device], context)

    async def _mark(self, pool: str, name: str, key: str, text: str, context: CallContext | None) -> None:
        await self._run(["image-meta", "set", f"{pool}/{name}", key, text], context)

    async def _discard(self, pool: str, name: str, context: CallContext | None) -> bool:
        """Remove what an image that was never finished left behind; False if there is no such pool."""
        done = await self._programs.try_run(["rbd", "rm", "-p", pool, name, "--no-progress"], context, timeout=SLOW)
        if not done.ok and not is_missing(done) and no_pool(done) is None:
            raise failure("rm", done)
        return no_pool(done) is None

    async def _try(self, words: Sequence[str], context: CallContext | None) -> None:
        """Run a command whose failure matters to nobody: what it removes may not be there."""
        await self._programs.try_run(["rbd", *words], context)

    async def _run(self, words: Sequence[str], context: CallContext | None, **options: Any) -> Finished:
        done = await self._programs.try_run(["rbd", *words], context, **options)
        if not done.ok:
            raise failure(words[0], done)
        return done

    def _uri(self, pool: str, name: str) -> str:
        """Name an image to QEMU; with the administrator's own ceph.conf and user, where there are any."""
        conf, user = self._programs.setting("CEPH_CONF"), user_of(self._programs.setting("CEPH_ARGS"))
        return f"rbd:{pool}/{name}" + (f":id={user}" if user else "") + (f":conf={conf}" if conf else "")


def _facts(disk: DiskSpec, image: _Image | None, mapped: Sequence[_Mapping], uri: str) -> DiskFacts | None:
    if image is None or image.owner != disk.uuid:
        return None
    if _userspace(disk):
        return DiskFacts(path="", size=image.size // MIB, uri=uri)
    return DiskFacts(path=_device(mapped, *_names(disk)) or "", size=image.size // MIB)


def _device(mapped: Sequence[_Mapping], pool: str, name: str) -> str | None:
    """Give the device of an image; twice is an error, since writes would go two ways."""
    found = [one.device for one in mapped if (one.pool, one.name) == (pool, name)]
    if len(found) > 1:
        raise NodeFailure("storage_error", f"Image {pool}/{name} is mapped more than once: {', '.join(found)}")
    return found[0] if found else None


def _names(disk: DiskSpec) -> tuple[str, str]:
    """Give pool and image of a disk, or refuse them."""
    if len(disk.logical_id) != 2:
        raise NodeFailure("wrong_input", f"{disk.shown}: logical_id must be rbd and image")
    pool, name = str(disk.params.get("pool", "rbd")), str(disk.logical_id[1])
    for what, text in (("a pool", pool), ("an image", name)):
        if not _NAME.fullmatch(text) or text.startswith("-"):
            raise NodeFailure("wrong_input", f"{text!r} is no name for {what}")
    return pool, name


def user_of(arguments: str) -> str:
    """Give the name of Ceph's user in CEPH_ARGS, without `client.`; empty for the usual one."""
    words = arguments.split()
    for option, prefix in (("--id", ""), ("--user", ""), ("-n", "client."), ("--name", "client.")):
        for index, word in enumerate(words):
            if word == option and index + 1 < len(words):
                return words[index + 1].removeprefix(prefix)
            if word.startswith(f"{option}="):
                return word.removeprefix(f"{option}=").removeprefix(prefix)
    return ""


def _userspace(disk: DiskSpec) -> bool:
    return bool(disk.params.get("access", "kernelspace") == "userspace")
