"""A world that goes on in another process, on its own copy of all machines' files.

At a point where a fault may fall the world is copied with everything that is under way: the process forks, and the new
one goes on with the fault while the old one goes on without. So nothing is told twice that happened before the fault.
What happens is what would happen in a run of its own, to the byte: a test sees to that.

Worlds that are to be copied live below `HERE`, which is another directory for each process.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import select
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from gnt.sim.content import copy_file
from gnt.sim.lives import MasterdLife, NodedLife
from gnt.sim.world import SimWorld

R = TypeVar("R")

HERE: Final = Path("/proc/self/cwd/world")
_PIECE: Final = 1 << 16
# Files that are changed where they are; all others are only ever replaced, so two worlds may share them.
_CHANGED: Final = (".db", ".db-wal")
# Whoever is the first to open a database makes its index of the log anew, whatever is there.
_MADE_ANEW: Final = ".db-shm"
# Most files are these, and small; each question that is not asked of them counts.
_SMALL: Final = "ssconf_"
# So are disks, and nothing else is as large.
_DISK: Final = 1 << 20


@contextmanager
def place_for_a_world() -> Iterator[Path]:
    """Have a directory in which a world may live that is to be copied; this process is in it meanwhile."""
    before = Path.cwd()
    directory = _fresh_directory()
    os.chdir(directory)
    try:
        yield HERE
    finally:
        os.chdir(before)
        shutil.rmtree(directory, ignore_errors=True)


class Forks(Generic[R]):
    """Processes that go on from here, at most so many at one time; `take` and `wait` give what each gives at its end.

    `child` says whether this process is one of them: then it has to end with `finish`.
    """

    def __init__(self, most: int) -> None:
        self.child = False
        self._results: list[R] = []
        self._most = most
        self._open: dict[int, tuple[int, Path, list[bytes]]] = {}
        self._pipe = -1
        self._directory = Path()

    def fork(self, world: SimWorld) -> bool:
        """Have a world go on twice; True in the new process. Waits while there are too many."""
        while len(self._open) >= self._most:
            self._collect()
        for life in _lives(world):
            life.vault.prepare_to_reopen()
            if isinstance(life, NodedLife) and life.call_table is not None:
                life.call_table.prepare_to_reopen()
        directory = _fresh_directory()
        _copy("world", f"{directory}/world")
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            self._open[reading] = (pid, directory, [])
            return False
        os.close(reading)
        self.child, self._pipe, self._open, self._directory = True, writing, {}, directory
        open_here(f"{Path.cwd()}/", f"{directory}/")
        os.chdir(directory)
        reopen(world)
        return True

    def finish(self, result: R) -> None:
        """End a process that goes on from elsewhere, and give its result."""
        try:
            with os.fdopen(self._pipe, "wb") as pipe:
                pickle.dump(result, pipe)
            _remove(str(self._directory))
        finally:
            # Not one word of the other process' is said twice.
            os._exit(0)

    def take(self) -> list[R]:
        """Give what those gave that have ended since this was asked last."""
        taken, self._results = self._results, []
        return taken

    def wait(self) -> list[R]:
        """Wait for all, and give what they gave, in the order in which they ended."""
        while self._open:
            self._collect()
        return self.take()

    def _collect(self) -> None:
        ready, _, _ = select.select(list(self._open), [], [])
        for reading in ready:
            pid, directory, pieces = self._open[reading]
            piece = os.read(reading, _PIECE)
            if piece:
                pieces.append(piece)
                continue
            os.close(reading)
            del self._open[reading]
            os.waitpid(pid, 0)
            shutil.rmtree(directory, ignore_errors=True)
            if not pieces:
                raise RuntimeError("a process has ended without a word")
            self._results.append(pickle.loads(b"".join(pieces)))  # noqa: S301  (our own words)


def open_here(theirs: str, ours: str) -> None:
    """Have what is open below another process' directory be open below this one's, by the same numbers.

    A node daemon may be at work on a disk: it has its file open, or the directory that it makes one in. Databases are
    opened anew (`reopen`).
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  (as `_copy`)
        try:
            where = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115  (as `_copy`)
        except FileNotFoundError:
            continue  # what the list itself was read from
        if not where.startswith(theirs) or where.endswith((*_CHANGED, _MADE_ANEW)):
            continue
        handle, there = int(name), ours + where.removeprefix(theirs)
        if os.path.exists(there):  # noqa: PTH110
            fresh = os.open(there, fcntl.fcntl(handle, fcntl.F_GETFL) & ~os.O_TRUNC)
            os.lseek(fresh, os.lseek(handle, 0, os.SEEK_CUR), os.SEEK_SET)
            os.dup2(fresh, handle, inheritable=False)
            os.close(fresh)


_left: list[Any] = []
"""Connections of the process that this one came from: closing one would change its files."""


def reopen(world: SimWorld) -> None:
    """Have all databases of a world be those of this process."""
    _left.extend(world.readers.forget())
    for life in _lives(world):
        _left.extend(life.vault.reopen())
        if isinstance(life, NodedLife) and life.call_table is not None:
            _left.extend(life.call_table.reopen())


def _lives(world: SimWorld) -> list[NodedLife | MasterdLife]:
    return [life for node in world.nodes.values() for life in node.lives if life.clock.alive]


def _fresh_directory() -> Path:
    memory = Path("/dev/shm")  # noqa: S108  (what is there is ours alone: mkdtemp)
    return Path(tempfile.mkdtemp(prefix="gnt-sim-", dir=memory if memory.is_dir() else None))


def _remove(directory: str) -> None:
    """Remove a tree that nobody else knows of."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _remove(entry.path)
            else:
                os.unlink(entry.path)  # noqa: PTH108  (as `_copy`)
    os.rmdir(directory)  # noqa: PTH106


def _copy(source: str, target: str) -> None:
    """Copy a tree; files that are never changed where they are become names of the same file."""
    os.mkdir(target)  # noqa: PTH102  (texts, not paths: there are hundreds of files each time)
    with os.scandir(source) as entries:
        for entry in entries:
            there = f"{target}/{entry.name}"
            if entry.name.startswith(_SMALL):
                os.link(entry.path, there)
            elif entry.is_symlink():
                os.symlink(os.readlink(entry.path), there)  # noqa: PTH115, PTH211
            elif entry.is_dir():
                _copy(entry.path, there)
            elif entry.name.endswith(_CHANGED):
                _copy_whole(entry.path, there)
            elif entry.name.endswith(_MADE_ANEW):
                continue
            elif entry.stat().st_size >= _DISK:
                copy_file(entry.path, there)
            else:
                os.link(entry.path, there)


def _copy_whole(source: str, target: str) -> None:
    """Copy a file that is in memory, byte for byte."""
    handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fresh = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while os.sendfile(fresh, handle, None, _PIECE << 8):
                pass
        finally:
            os.close(fresh)
    finally:
        os.close(handle)
