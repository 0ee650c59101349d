"""Files that must be whole after a crash, and the directories that every daemon expects.

Everything here blocks: call it from a pool, or before the reactor runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

from gnt.model.errors import ENVIRONMENT, Refused
from gnt.model.layout import Layout

# What `write_atomically` writes to before the file is whole.
_UNFINISHED: Final = re.compile(r"\..+\.[a-z0-9_]{8}\.new")

# spec/daemons.md, section 7. The socket directory is open to the group that may talk to the master.
_MODES: Final = {
    "data": 0o755,
    "run": 0o755,
    "socket": 0o750,
    "links": 0o755,
    "log": 0o750,
    "os_log": 0o750,
    "storage": 0o750,
}


def write_atomically(path: Path, data: bytes | str, mode: int) -> None:
    """Put a whole file in place of `path`: after a crash there is either the old one or the new one.

    The file never has a wider mode than `mode`, not even for a moment. Raises OSError; nothing is left behind then.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = f"{path.parent}/.{path.name}.{secrets.token_hex(4)}.new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105  (a text already; this is done for each change)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_directory(path.parent)


def remove_unfinished(directory: Path) -> None:
    """Remove what `write_atomically` left in a directory when its process was killed in between.

    Only for whoever alone writes there: it would take away what another process is about to put in place.
    """
    for path in directory.glob(".*.new"):
        if _UNFINISHED.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def remove_durably(path: Path) -> bool:
    """Remove a file, and have its absence on disk; say whether there was one."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_directory(path.parent)
    return True


def sync_directory(path: Path) -> None:
    """Have the names in a directory on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directories(layout: Layout) -> None:
    """Make the directories that a node's daemons expect, with their modes; existing ones keep theirs.

    Raises `Refused` (environment_error) naming the directory that cannot be made.
    """
    wanted = (
        (layout.data, _MODES["data"]),
        (layout.run, _MODES["run"]),
        (layout.socket_directory, _MODES["socket"]),
        (layout.run / "instance-disks", _MODES["links"]),
        (layout.log, _MODES["log"]),
        (layout.os_log, _MODES["os_log"]),
        (layout.default_file_storage(), _MODES["storage"]),
        (layout.default_shared_file_storage(), _MODES["storage"]),
    )
    for directory, mode in wanted:
        _make_directory(directory, mode)


def _make_directory(directory: Path, mode: int) -> None:
    """Make one directory with exactly this mode, whatever the umask; its parents are 0755."""
    try:
        directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory.mkdir(mode=mode)
    except FileExistsError:
        if not directory.is_dir():
            raise Refused(ENVIRONMENT, f"{directory} is not a directory", hint="move it away") from None
    except OSError as error:
        raise Refused(ENVIRONMENT, f"Cannot make the directory {directory}: {error.strerror}") from error
    else:
        directory.chmod(mode)
