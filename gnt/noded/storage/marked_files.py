"""Files that are disks, each with a mark beside it that says which: what `file`, `sharedfile` and `qcow2` build on.

Whose file it is: beside each disk `NAME` stands a mark, `.NAME.gnt`, holding the UUID of the disk. It is made before
the file and removed after it, on the same file system, so that it also serves another node that shares the directory.
A file without the mark of this disk is not this disk: it is never overwritten, opened or removed. (An extended
attribute would be neater, but tmpfs and many network file systems have none.) An empty file with our mark is one whose
making was cut short.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from twisted.logger import Logger

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.model.specs import DiskSpec
from gnt.noded.storage.allowed import AllowedDirectories
from gnt.noded.storage.answers import check_size, exists, exists_otherwise, not_there
from gnt.noded.storage.marked_tree import (
    FILE_MODE,
    MIB,
    NO_LINK,
    Target,
    change_mark,
    draft_name,
    failures,
    is_file,
    look,
    make_directory,
    make_file,
    mark_name,
    open_directory,
    owner,
    remove_if_empty,
    take_away,
    unmake,
    write_mark,
)
from gnt.wire.calls import DiskFacts

_log = Logger()

# linux/fs.h: share all data of one file with another, as xfs and btrfs can.
_FICLONE: Final = 0x40049409
_NO_CLONES: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS})

SizeOf = Callable[[int], int]


def raw_size(handle: int) -> int:
    """Give the size in bytes of an open raw file."""
    return os.fstat(handle).st_size


class Draft:
    """A disk file under way: marked, its name taken by an empty file; the data is written under `name`.

    `directory` can be used as a working directory by programs, as long as the draft is open.
    """

    def __init__(self, target: Target, disk: DiskSpec) -> None:
        self.target = target
        self.disk = disk
        self.handles = contextlib.ExitStack()
        self.made: list[tuple[int, str]] = []
        self.names: list[str] = []
        self.handle = -1

    @property
    def name(self) -> str:
        """Give the name below `directory` under which the data is to be written."""
        return draft_name(self.target.name)

    @property
    def directory(self) -> str:
        """Give a path to the open directory, whatever happens to its names meanwhile."""
        return f"/proc/{os.getpid()}/fd/{self.handle}"

    def open(self) -> None:
        """Take mark and name; raises `FileExistsError` if they are somebody else's."""
        self.handle = make_directory(self.target, self.handles, self.made)
        name = self.target.name
        write_mark(self.handle, name, self.disk.uuid)
        self.names.append(mark_name(name))
        found = look(self.handle, name)
        if found is None:
            os.close(make_file(self.handle, name))
        self.names.append(name)
        take_away(self.handle, [self.name])
        self.names.append(self.name)

    def flush(self) -> None:
        """Have what somebody else wrote on disk, and keep it private."""
        with failures(self.target.path):
            handle = os.open(self.name, os.O_RDONLY | NO_LINK, dir_fd=self.handle)
            try:
                os.fchmod(handle, FILE_MODE)
                os.fsync(handle)
            finally:
                os.close(handle)

    def end(self) -> None:
        """Let what was written become the disk."""
        with failures(self.target.path), self.handles:
            os.replace(self.name, self.target.name, src_dir_fd=self.handle, dst_dir_fd=self.handle)
            os.fsync(self.handle)

    def drop(self) -> None:
        """Leave nothing behind."""
        with self.handles:
            if self.handle >= 0:
                take_away(self.handle, self.names)
            unmake(self.made)


class MarkedFiles:
    """The marked files of one template in the allowed directories of a node. Every method blocks.

    `size_of` reads the size in bytes of an open file's disk; 0: it is none yet.
    """

    def __init__(self, layout: Layout, template: str, size_of: SizeOf = raw_size) -> None:
        self._allowed = AllowedDirectories(layout, template)
        self._size_of = size_of

    def begin(self, disk: DiskSpec) -> Draft | None:
        """Make room, mark and name for a disk; None if it is there with its size already.

        Who gets a draft ends it or drops it. Raises `exists`, `no_space`, `not_allowed`.
        """
        check_size(disk)
        target = self._target(disk)
        with failures(target.path):
            size = self._taken(target, disk)
        if size == disk.size * MIB:
            return None
        if size:
            raise exists_otherwise(target.path, f"{size} bytes", disk)
        draft = self._open_draft(target, disk)
        try:
            _refuse_larger_than_file_system(draft.handle, disk)
        except BaseException:
            draft.drop()
            raise
        return draft

    def make_raw(self, disk: DiskSpec) -> None:
        """Make a sparse file of exactly `disk.size` MiB, unless it is there."""
        draft = self.begin(disk)
        if draft is None:
            return
        try:
            with failures(draft.target.path):
                handle = os.open(draft.target.name, os.O_RDWR | NO_LINK, dir_fd=draft.handle)
                try:
                    os.truncate(handle, disk.size * MIB)
                    os.fsync(handle)
                finally:
                    os.close(handle)
                os.fsync(draft.handle)
            draft.handles.close()
        except BaseException:
            draft.drop()
            raise

    def remove(self, disk: DiskSpec) -> None:
        """Remove the file, its mark, and the instance's directory when that is empty: `IDiskTemplate.remove`."""
        target = self._target(disk)
        with failures(target.path), contextlib.ExitStack() as handles:
            directory = open_directory(target, handles)
            if directory is None:
                return
            if owner(directory, target.name) == disk.uuid:
                # The mark goes last: a removal that was cut short is recognised and finished.
                take_away(directory, [mark_name(target.name), target.name, draft_name(target.name)])
                os.fsync(directory)
            elif look(directory, target.name) is not None:
                _log.warn("{path} is not marked as disk {uuid} and stays", path=target.path, uuid=disk.uuid)
            _tidy(target, disk, handles)

    def path(self, disk: DiskSpec) -> str:
        """Give the path of a disk's file; raises `not_found`, or `foreign` if something else is there."""
        with self.opened(disk):
            return self._target(disk).path

    def check_path(self, disk: DiskSpec) -> None:
        """Refuse a path where no disk may be."""
        self._target(disk)

    def find(self, disk: DiskSpec) -> DiskFacts | None:
        """Find the file, if it is this disk's: `IDiskTemplate.find`."""
        target = self._target(disk)
        with failures(target.path), contextlib.ExitStack() as handles:
            directory = open_directory(target, handles)
            size = self._size(directory, target, disk) if directory is not None else 0
            return DiskFacts(path=target.path, size=size // MIB) if size else None

    def grow(self, disk: DiskSpec, size: int) -> None:
        """Make a raw file `size` MiB large, if it is smaller."""
        self.check_grow(disk, size)
        with self.opened(disk, os.O_RDWR) as handle:
            if os.fstat(handle).st_size < size * MIB:
                os.truncate(handle, size * MIB)
                os.fsync(handle)

    def check_grow(self, disk: DiskSpec, size: int) -> None:
        """Check that the disk is there, and the file system not smaller than it would become."""
        with self.opened(disk) as handle:
            _refuse_larger_than_file_system(handle, msgspec.structs.replace(disk, size=size))

    def rename(self, disk: DiskSpec, target: DiskSpec) -> None:
        """Give a file another name, another mark, or both: `IDiskTemplate.rename`."""
        old, new = self._target(disk), self._target(target)
        with failures(old.path), contextlib.ExitStack() as handles:
            there = open_directory(old, handles)
            mark = owner(there, old.name) if there is not None else None
            if there is None or look(there, old.name) is None or (old == new and mark == target.uuid):
                if not self._taken(new, target):
                    raise not_there(disk, f"file {old.path}")
                return
            if not is_file(there, old.name) or mark != (disk.uuid or None):
                raise NodeFailure("foreign", f"{old.path} is not {_described(disk)}", hint="it was left alone")
            if old == new:
                change_mark(there, old.name, target.uuid)
                return
            self._move(there, old, target)
            take_away(there, [mark_name(old.name)])
            os.fsync(there)
            _tidy(old, disk, handles)

    def clone(self, disk: DiskSpec, target: DiskSpec) -> None:
        """Make `target` a copy at this moment, sharing the data, where the file system can; else `unsupported`."""
        new = self._target(target)
        with failures(new.path):
            if self._taken(new, target):
                return
        with self.opened(disk) as handle:
            draft = self._open_draft(new, target)
            try:
                with failures(new.path):
                    copy = make_file(draft.handle, draft.name)
                    try:
                        _share_data(handle, copy, new.path)
                        os.fsync(copy)
                    finally:
                        os.close(copy)
                draft.end()
            except BaseException:
                draft.drop()
                raise

    @contextlib.contextmanager
    def opened(self, disk: DiskSpec, mode: int = os.O_RDONLY) -> Iterator[int]:
        """Open a disk's file; raises `not_found`, or `foreign` if something else is there."""
        target = self._target(disk)
        with failures(target.path), contextlib.ExitStack() as handles:
            directory = open_directory(target, handles)
            if directory is None or look(directory, target.name) is None:
                raise not_there(disk, f"file {target.path}")
            if not is_file(directory, target.name) or owner(directory, target.name) != disk.uuid:
                raise NodeFailure(
                    "foreign",
                    f"{target.path} is not marked as disk {disk.uuid}",
                    hint=f"if it is that disk, write this UUID into {mark_name(target.name)} beside it",
                )
            handle = os.open(target.name, mode | NO_LINK, dir_fd=directory)
            handles.callback(os.close, handle)
            yield handle

    def _open_draft(self, target: Target, disk: DiskSpec) -> Draft:
        """Take mark and name for a disk; what goes wrong leaves nothing behind."""
        draft = Draft(target, disk)
        with failures(target.path):
            try:
                draft.open()
            except FileExistsError as error:
                draft.drop()
                raise exists(f"{target.path} or its mark", disk) from error
            except BaseException:
                draft.drop()
                raise
        return draft

    def _move(self, there: int, old: Target, target: DiskSpec) -> None:
        """Let a file take the place of an empty one that bears the target's mark."""
        new = self._target(target)
        if self._taken(new, target):
            raise exists(new.path, target)
        draft = self._open_draft(new, target)
        with failures(new.path):
            try:
                os.rename(old.name, new.name, src_dir_fd=there, dst_dir_fd=draft.handle)
            except BaseException:
                draft.drop()
                raise
            with draft.handles:
                os.fsync(draft.handle)

    def _taken(self, target: Target, disk: DiskSpec) -> int:
        """Give the size in bytes of what is there of a disk, 0 for nothing; raises `exists` if it is something else."""
        with contextlib.ExitStack() as handles:
            directory = open_directory(target, handles)
            if directory is None or look(directory, target.name) is None:
                return 0
            if not is_file(directory, target.name) or owner(directory, target.name) != disk.uuid:
                raise exists(target.path, disk)
            return self._size(directory, target, disk)

    def _size(self, directory: int, target: Target, disk: DiskSpec) -> int:
        """Give the size in bytes of a disk's file; 0 if there is none, or it is not this disk's."""
        if not is_file(directory, target.name) or owner(directory, target.name) != disk.uuid:
            return 0
        handle = os.open(target.name, os.O_RDONLY | NO_LINK, dir_fd=directory)
        try:
            return self._size_of(handle)
        finally:
            os.close(handle)

    def _target(self, disk: DiskSpec) -> Target:
        """Find where the disk belongs, or refuse its path."""
        if len(disk.logical_id) != 2:
            raise NodeFailure("wrong_input", f"{disk.shown}: logical_id must be driver and path")
        base, names = self._allowed.find(str(disk.logical_id[1]))
        return Target(base=base, directories=names[:-1], name=names[-1])


def _described(disk: DiskSpec) -> str:
    return f"marked as disk {disk.uuid}" if disk.uuid else "free: it bears the mark of a disk"


def _tidy(target: Target, disk: DiskSpec, handles: contextlib.ExitStack) -> None:
    """Remove the instance's directory with its last disk."""
    if target.directories and target.directories[-1] == disk.instance_name:
        remove_if_empty(target, handles)


def _refuse_larger_than_file_system(handle: int, disk: DiskSpec) -> None:
    """Refuse a disk that could never be filled; less than that may be promised more than once, as files are sparse."""
    facts = os.fstatvfs(handle)
    total = facts.f_blocks * facts.f_frsize // MIB
    if 0 < total < disk.size:
        raise NodeFailure("no_space", f"{disk.shown} wants {disk.size} MiB, the whole file system has {total} MiB")


def _share_data(source: int, copy: int, path: str) -> None:
    """Let a new file share all data of another, or say that this file system cannot."""
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError as error:
        if error.errno not in _NO_CLONES:
            raise
        raise NodeFailure(
            "unsupported",
            f"The file system of {path} cannot make snapshots of files",
            hint="xfs and btrfs can; or use the template qcow2",
        ) from error
