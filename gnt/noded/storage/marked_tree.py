"""Directories, files and marks, reached name by name without following symbolic links. Every function blocks.

From the allowed directory down everything is opened by handles: nobody can exchange a directory for a link between a
check and its use.
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

from gnt.model.errors import NodeFailure
from gnt.noded.storage.allowed import NOT_ALLOWED

MIB: Final = 1 << 20
DIRECTORY_MODE: Final = 0o750
FILE_MODE: Final = 0o600
NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | NO_LINK
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def mark_name(name: str) -> str:
    """Give the name of the mark that says whose a disk file is."""
    return f".{name}.gnt"


def draft_name(name: str) -> str:
    """Give the name under which a disk file is written before it becomes the disk."""
    return f".{name}.new"


@dataclass(frozen=True)
class Target:
    """Where a disk's file is: the allowed directory, the names of the directories below it, its own name."""

    base: Path
    directories: tuple[str, ...]
    name: str

    @property
    def path(self) -> str:
        """Give the path as the configuration has it, but with the allowed directory's real path."""
        return str(self.base.joinpath(*self.directories, self.name))


@contextlib.contextmanager
def failures(path: str) -> Iterator[None]:
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


def open_directory(target: Target, handles: contextlib.ExitStack) -> int | None:
    """Open the directory of the file; None where it does not exist."""
    handle = _open_base(target, handles)
    for name in target.directories:
        try:
            handle = os.open(name, _DIRECTORY, dir_fd=handle)
        except FileNotFoundError:
            return None
        handles.callback(os.close, handle)
    return handle


def make_directory(target: Target, handles: contextlib.ExitStack, made: list[tuple[int, str]]) -> int:
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


def _open_base(target: Target, handles: contextlib.ExitStack) -> int:
    """Open the allowed directory; it is the administrator's to make (or to mount)."""
    try:
        handle = os.open(target.base, _DIRECTORY)
    except FileNotFoundError:
        raise NodeFailure(
            "not_found", f"Directory '{target.base}' does not exist", hint="make it, or mount it, with mode 0750"
        ) from None
    handles.callback(os.close, handle)
    return handle


def unmake(made: list[tuple[int, str]]) -> None:
    """Remove directories that were made for nothing, the deepest first."""
    for parent, name in reversed(made):
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=parent)


def remove_if_empty(target: Target, handles: contextlib.ExitStack) -> None:
    """Remove the directory of a file, unless something is in it."""
    *above, name = target.directories
    parent = open_directory(Target(base=target.base, directories=tuple(above), name=name), handles)
    if parent is None:
        return
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
            raise


def look(directory: int, name: str) -> os.stat_result | None:
    """Look at a name without following it; None where there is nothing."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_file(directory: int, name: str) -> bool:
    """Say whether there is a regular file of this name."""
    found = look(directory, name)
    return found is not None and stat.S_ISREG(found.st_mode)


def owner(directory: int, name: str) -> str | None:
    """Read the mark of a file: the UUID of the disk that it is."""
    try:
        handle = os.open(mark_name(name), os.O_RDONLY | NO_LINK | os.O_NONBLOCK, dir_fd=directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.read(handle, 100).decode(errors="replace").strip()
    finally:
        os.close(handle)


def write_mark(directory: int, name: str, uuid: str) -> bool:
    """Mark a name durably; True: the mark is new. Raises `FileExistsError` if it bears another disk's."""
    if owner(directory, name) == uuid:
        return False
    handle = os.open(mark_name(name), _NEW, FILE_MODE, dir_fd=directory)
    try:
        os.write(handle, f"{uuid}\n".encode())
        os.fsync(handle)
    except BaseException:
        take_away(directory, [mark_name(name)])
        raise
    finally:
        os.close(handle)
    os.fsync(directory)
    return True


def change_mark(directory: int, name: str, uuid: str) -> None:
    """Give a file another disk's mark, or its first, in one."""
    fresh = f"{mark_name(name)}.new"
    take_away(directory, [fresh])
    handle = os.open(fresh, _NEW, FILE_MODE, dir_fd=directory)
    try:
        os.write(handle, f"{uuid}\n".encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(fresh, mark_name(name), src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def make_file(directory: int, name: str) -> int:
    """Make an empty private file, and give its handle. Raises `FileExistsError`."""
    return os.open(name, _NEW, FILE_MODE, dir_fd=directory)


def take_away(directory: int, names: list[str]) -> None:
    """Remove what was made, newest first."""
    for name in reversed(names):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
