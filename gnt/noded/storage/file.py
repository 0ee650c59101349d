"""Disks as sparse raw files: the templates `file` and `sharedfile`.

Whose file it is: beside each disk `NAME` stands a mark, `.NAME.gnt`, holding the UUID of the disk. It is made before
the file and removed after it, on the same file system, so that it also serves another node that shares the directory.
A file without the mark of this disk is not this disk: it is never overwritten, opened or removed. (An extended
attribute would be neater, but tmpfs and many network file systems have none.)

All access goes through directory handles opened name by name without following symbolic links, from the allowed
directory down: nobody can exchange a directory for a link between a check and its use.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twisted.logger import Logger
from zope.interface import implementer

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout
from gnt.model.specs import DiskSpec
from gnt.noded.storage.allowed import NOT_ALLOWED, AllowedDirectories
from gnt.noded.storage.interface import IDiskTemplate
from gnt.wire.calls import DiskDevice, DiskFacts

_log = Logger()

MIB: Final = 1 << 20
DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o600
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def mark_name(name: str) -> str:
    """Give the name of the mark that says whose a disk file is."""
    return f".{name}.gnt"


@dataclass(frozen=True)
class _Target:
    """Where a disk's file is: the allowed directory, the names of the directories below it, its own name."""

    base: Path
    directories: tuple[str, ...]
    name: str

    @property
    def path(self) -> str:
        """Give the path as the configuration has it, but with the allowed directory's real path."""
        return str(self.base.joinpath(*self.directories, self.name))


@implementer(IDiskTemplate)
class FileDisks:
    """Disks of the template `file` or `sharedfile` in the allowed directories of a node."""

    def __init__(self, layout: Layout, template: str = "file") -> None:
        self._allowed = AllowedDirectories(layout, template)

    def create(self, disk: DiskSpec) -> None:
        """Make a sparse file of exactly `disk.size` MiB: `IDiskTemplate.create`."""
        if disk.size < 1:
            raise NodeFailure("wrong_input", f"Disk {disk.uuid} has a size of {disk.size} MiB", hint="at least 1 MiB")
        target = self._target(disk)
        made: list[tuple[int, str]] = []
        with _failures(target.path), contextlib.ExitStack() as handles:
            try:
                directory = _open_or_make(target, handles, made)
                _refuse_larger_than_file_system(directory, disk)
                if not _complete_existing(directory, target, disk):
                    _make_file(directory, target, disk)
            except BaseException:
                for parent, name in reversed(made):
                    with contextlib.suppress(OSError):
                        os.rmdir(name, dir_fd=parent)
                raise

    def remove(self, disk: DiskSpec) -> None:
        """Remove the file, its mark, and the instance's directory when that is empty: `IDiskTemplate.remove`."""
        target = self._target(disk)
        with _failures(target.path), contextlib.ExitStack() as handles:
            directory = _open(target, handles)
            if directory is None:
                return
            if _owner(directory, target.name) == disk.uuid:
                # The mark goes last: a removal that was cut short is recognised and finished.
                for name in (target.name, mark_name(target.name)):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=directory)
                os.fsync(directory)
            elif _look(directory, target.name) is not None:
                _log.warn("{path} is not marked as disk {uuid} and stays", path=target.path, uuid=disk.uuid)
            if target.directories and target.directories[-1] == disk.instance_name:
                _remove_if_empty(target, handles)

    def assemble(self, disk: DiskSpec, primary: bool) -> DiskDevice:  # noqa: ARG002 - a file needs nothing
        """Check that the file is there: `IDiskTemplate.assemble`."""
        target = self._target(disk)
        with _failures(target.path), contextlib.ExitStack() as handles:
            directory = _open(target, handles)
            found = None if directory is None else _look(directory, target.name)
            if directory is None or found is None:
                raise NodeFailure("not_found", f"Disk {disk.uuid} is not there: no file {target.path}")
            if not stat.S_ISREG(found.st_mode) or _owner(directory, target.name) != disk.uuid:
                raise NodeFailure(
                    "foreign",
                    f"{target.path} is not marked as disk {disk.uuid}",
                    hint=f"if it is that disk, write this UUID into {mark_name(target.name)} beside it",
                )
        return DiskDevice(path=target.path)

    def release(self, disk: DiskSpec) -> None:
        """Nothing to do, since a file is not held: `IDiskTemplate.release`."""
        self._target(disk)

    def find(self, disk: DiskSpec) -> DiskFacts | None:
        """Find the file, if it is this disk's: `IDiskTemplate.find`."""
        target = self._target(disk)
        with _failures(target.path), contextlib.ExitStack() as handles:
            directory = _open(target, handles)
            if directory is None:
                return None
            found = _look(directory, target.name)
            if found is None or not stat.S_ISREG(found.st_mode) or _owner(directory, target.name) != disk.uuid:
                return None
            return DiskFacts(path=target.path, size=found.st_size // MIB)

    def _target(self, disk: DiskSpec) -> _Target:
        """Find where the disk belongs, or refuse its path."""
        if len(disk.logical_id) != 2:
            raise NodeFailure("wrong_input", f"Disk {disk.uuid}: logical_id must be driver and path")
        base, names = self._allowed.find(str(disk.logical_id[1]))
        return _Target(base=base, directories=names[:-1], name=names[-1])


@contextlib.contextmanager
def _failures(path: str) -> Iterator[None]:
    """Turn what the system says into a failure with a code."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise NodeFailure("no_space", f"No space for {path}: {reason}") from error
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise NodeFailure(
                NOT_ALLOWED, f"Path '{path}' is not acceptable for file storage", hint="a symbolic link is in the way"
            ) from error
        raise NodeFailure("storage_error", f"{path}: {reason}") from error


def _open_base(target: _Target, handles: contextlib.ExitStack) -> int:
    """Open the allowed directory; it is the administrator's to make (or to mount)."""
    try:
        handle = os.open(target.base, _DIRECTORY)
    except FileNotFoundError:
        raise NodeFailure(
            "not_found", f"Directory '{target.base}' does not exist", hint="make it, or mount it, with mode 0750"
        ) from None
    handles.callback(os.close, handle)
    return handle


def _open(target: _Target, handles: contextlib.ExitStack) -> int | None:
    """Open the directory of the file; None where it does not exist."""
    handle = _open_base(target, handles)
    for name in target.directories:
        try:
            handle = os.open(name, _DIRECTORY, dir_fd=handle)
        except FileNotFoundError:
            return None
        handles.callback(os.close, handle)
    return handle


def _open_or_make(target: _Target, handles: contextlib.ExitStack, made: list[tuple[int, str]]) -> int:
    """Open the directory of the file, making what is missing; `made` gets (handle of the parent, name)."""
    handle = _open_base(target, handles)
    for name in target.directories:
        try:
            os.mkdir(name, DIRECTORY_MODE, dir_fd=handle)
        except FileExistsError:
            pass
        else:
            made.append((handle, name))
            os.fsync(handle)
        handle = os.open(name, _DIRECTORY, dir_fd=handle)
        handles.callback(os.close, handle)
    return handle


def _look(directory: int, name: str) -> os.stat_result | None:
    """Look at a name without following it; None where there is nothing."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _owner(directory: int, name: str) -> str | None:
    """Read the mark of a file: the UUID of the disk that it is."""
    try:
        handle = os.open(mark_name(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.read(handle, 100).decode(errors="replace").strip()
    finally:
        os.close(handle)


def _refuse_larger_than_file_system(directory: int, disk: DiskSpec) -> None:
    """Refuse a disk that could never be filled; less than that may be promised more than once, as files are sparse."""
    facts = os.fstatvfs(directory)
    total = facts.f_blocks * facts.f_frsize // MIB
    if 0 < total < disk.size:
        raise NodeFailure("no_space", f"Disk {disk.uuid} wants {disk.size} MiB, the whole file system has {total} MiB")


def _complete_existing(directory: int, target: _Target, disk: DiskSpec) -> bool:
    """Take what is there already, if it is this disk in this size; finish one that a crash left without its size."""
    found = _look(directory, target.name)
    if found is None:
        return False
    if not stat.S_ISREG(found.st_mode) or _owner(directory, target.name) != disk.uuid:
        raise NodeFailure("exists", f"{target.path} exists and is not disk {disk.uuid}", hint="it was left alone")
    if found.st_size == 0:
        handle = os.open(target.name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        _give_size(handle, disk)
    elif found.st_size != disk.size * MIB:
        raise NodeFailure(
            "exists", f"{target.path} exists with {found.st_size} bytes, not {disk.size} MiB", hint="it was left alone"
        )
    return True


def _make_file(directory: int, target: _Target, disk: DiskSpec) -> None:
    """Make mark and file; take both away if that fails."""
    mark = mark_name(target.name)
    made: list[str] = []
    try:
        if _owner(directory, target.name) != disk.uuid:
            handle = os.open(mark, _NEW, FILE_MODE, dir_fd=directory)
            made.append(mark)
            try:
                os.write(handle, f"{disk.uuid}\n".encode())
                os.fsync(handle)
            finally:
                os.close(handle)
        else:
            made.append(mark)
        os.fsync(directory)
        handle = os.open(target.name, _NEW, FILE_MODE, dir_fd=directory)
        made.append(target.name)
        _give_size(handle, disk)
        os.fsync(directory)
    except FileExistsError as error:
        _take_away(directory, made)
        raise NodeFailure("exists", f"{target.path} or its mark exists already", hint="it was left alone") from error
    except BaseException:
        _take_away(directory, made)
        raise


def _give_size(handle: int, disk: DiskSpec) -> None:
    """Size an open file durably, and close it."""
    try:
        os.truncate(handle, disk.size * MIB)
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_away(directory: int, names: list[str]) -> None:
    """Remove what was made, newest first."""
    for name in reversed(names):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def _remove_if_empty(target: _Target, handles: contextlib.ExitStack) -> None:
    """Remove the instance's directory with its last disk."""
    *above, name = target.directories
    parent = _open(_Target(base=target.base, directories=tuple(above), name=name), handles)
    if parent is None:
        return
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
            raise
