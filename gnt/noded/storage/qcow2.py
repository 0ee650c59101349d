"""Disks as images of QEMU's own format: the template `qcow2`. They grow as they are written.

Marks, paths and names are those of file disks. The disk parameter `backing` names an image that a new disk begins as:
it is read and never written, and must lie in the allowed directories, since a guest sees all of it.
"""

# The signatures are those of the interface, used or not.
# ruff: noqa: ARG002

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace
from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.specs import DiskSpec
from gnt.noded.handler import CallContext, Place
from gnt.noded.storage.allowed import AllowedDirectories
from gnt.noded.storage.interface import Contents, IDiskTemplate
from gnt.noded.storage.marked_files import Draft, MarkedFiles
from gnt.noded.storage.marked_tree import MIB
from gnt.noded.storage.one_file import OneFile
from gnt.noded.storage.programs import Programs, said
from gnt.wire.calls import SLOW

FORMAT: Final = "qcow2"
# docs/interop/qcow2.txt of QEMU: magic, then at byte 24 the size of the disk, big endian.
_MAGIC: Final = b"QFI\xfb"
_HEADER: Final = 32


def image_size(handle: int) -> int:
    """Give the size in bytes of the disk in an open image; 0 for an empty file. Raises `storage_error` for others."""
    header = os.pread(handle, _HEADER, 0)
    if not header:
        return 0
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise NodeFailure("storage_error", "a file that should be a qcow2 image is none")
    return int.from_bytes(header[24:32], "big")


@implementer(IDiskTemplate)
class Images(OneFile):
    """Disks of the template `qcow2`: logical_id (driver, path); parameter `backing`."""

    def __init__(self, place: Place, programs: Programs) -> None:
        super().__init__(MarkedFiles(place.layout, FORMAT, image_size), place.runtime.pools("storage"))
        self._allowed = AllowedDirectories(place.layout, FORMAT)
        self._programs = programs

    async def create(self, disk: DiskSpec, context: CallContext | None = None) -> None:
        """Make an image, empty or on top of another: `IDiskTemplate.create`."""
        backing = str(disk.params.get("backing", ""))
        words = await self._pool.run(self._backing_words, backing, disk) if backing else []
        draft = await self._pool.run(self._files.begin, disk)
        if draft is None:
            return
        # Without flushes and preallocation: the draft is flushed as a whole before it becomes the disk.
        argv = ["qemu-img", "create", "-q", "-f", FORMAT, *words, f"./{draft.name}", f"{disk.size}M"]
        await self._fill(draft, argv, context)

    async def grow(self, disk: DiskSpec, size: int, backing: bool, context: CallContext | None = None) -> None:
        """Let QEMU enlarge the image; `busy` while a guest has it open: `IDiskTemplate.grow`."""
        if not backing:
            return
        await self.check_grow(disk, size, context)
        found = await self.find(disk, context)
        if found is not None and found.size < size:
            await self._images(["qemu-img", "resize", "-q", "-f", FORMAT, found.path, f"{size}M"], context)

    async def snapshot(self, disk: DiskSpec, target: DiskSpec, context: CallContext | None = None) -> None:
        """Share the data with a new image where the file system can; else copy it, which needs a guest that is down.

        `busy` while a guest has the image open: `IDiskTemplate.snapshot`.
        """
        try:
            await self._pool.run(self._files.clone, disk, target)
        except NodeFailure as failure:
            if failure.code != "unsupported":
                raise
        else:
            return
        path = await self._pool.run(self._files.path, disk)
        found = await self.find(disk, context)
        whole = target if found is None else replace(target, size=found.size)
        draft = await self._pool.run(self._files.begin, whole)
        if draft is not None:
            argv = ["qemu-img", "convert", "-q", "-f", FORMAT, "-O", FORMAT, path, f"./{draft.name}"]
            await self._fill(draft, argv, context)

    async def contents(self, disk: DiskSpec, context: CallContext | None = None) -> Contents:
        """Give the image: `IDiskTemplate.contents`."""
        return Contents(place=await self._pool.run(self._files.path, disk), size=disk.size, format=FORMAT)

    async def _fill(self, draft: Draft, argv: Sequence[str], context: CallContext | None) -> None:
        """Let a program write the draft; then it becomes the disk, or nothing stays."""
        try:
            await self._images(argv, context, cwd=Path(draft.directory))
            await self._pool.run(draft.flush)
            await self._pool.run(draft.end)
        except BaseException:
            await self._pool.run(draft.drop)
            raise

    async def _images(self, argv: Sequence[str], context: CallContext | None, **options: Path) -> None:
        """Run `qemu-img`; `busy` or `storage_error` where it does not end well."""
        done = await self._programs.try_run(argv, context, timeout=SLOW, **options)
        if done.ok:
            return
        if " lock" in done.errors:
            raise NodeFailure("busy", "A guest has the image open", hint="shut the instance down first", retry=True)
        if "No space left" in done.errors:
            raise NodeFailure("no_space", f"{argv[0]} {done.how}: {said(done)}")
        raise NodeFailure("storage_error", f"{argv[0]} {done.how}: {said(done)}")

    def _backing_words(self, path: str, disk: DiskSpec) -> list[str]:
        """Check the image that a disk is to begin as, and name it to `qemu-img`. Blocks."""
        base, names = self._allowed.find(path)
        real = str(base.joinpath(*names))
        try:
            handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise NodeFailure("not_found", f"Disk parameter backing: {path}: {error.strerror}") from error
        try:
            is_image = os.pread(handle, len(_MAGIC), 0) == _MAGIC
            size = image_size(handle) if is_image else os.fstat(handle).st_size
        finally:
            os.close(handle)
        if size > disk.size * MIB:
            text = f"{disk.shown} has {disk.size} MiB, the image {path} that it is to begin as {-(-size // MIB)}"
            raise NodeFailure("wrong_input", text, hint="make the disk larger")
        return ["-b", real, "-F", FORMAT if is_image else "raw"]
