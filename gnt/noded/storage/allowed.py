"""Where file disks may live: spec/storage.md, section 5.

The administrator's list (`etc/ganeti/file-storage-paths`, local to the node) decides where it exists; an empty list
allows nothing. Without the file the rule is the older one: below the cluster's own directory for the template, as the
node's ssconf has it, or the built-in default before there is a cluster. Some places are forbidden whatever is listed.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

from gnt.model.errors import NodeFailure
from gnt.model.layout import Layout

NOT_ALLOWED: Final = "not_allowed"
SHARED: Final = "sharedfile"

_TREES: Final = ("boot", "dev", "etc", "home", "proc", "root", "sys")
_PROGRAMS: Final = ("bin", "lib", "lib32", "lib64", "sbin")

# The directory of each template in ssconf.
_SSCONF: Final = {
    "file": "file_storage_dir",
    "qcow2": "file_storage_dir",
    "sharedfile": "shared_file_storage_dir",
}


def forbidden_directories(root: Path) -> tuple[Path, ...]:
    """Give the directories that may hold no disks, of the machine and of a moved root.

    A place that holds the moved root itself (a trial cluster in somebody's home) is no longer forbidden.
    """
    found: list[Path] = []
    for top in dict.fromkeys((Path("/"), root)):
        found += [top / name for name in _TREES]
        found += [top / below / name for below in ("", "usr", "usr/local") for name in _PROGRAMS]
    return tuple(place for place in found if root == Path("/") or not root.is_relative_to(place))


@cache
def _forbidden_beginnings(root: Path) -> tuple[str, ...]:
    """Give them as the beginnings of the paths that lie in them; a process has one root, or few."""
    return tuple(f"{place}/" for place in forbidden_directories(root))


class AllowedDirectories:
    """The directories in which this node keeps the disks of one template (`file` or `sharedfile`)."""

    def __init__(self, layout: Layout, template: str) -> None:
        self._layout = layout
        self._template = template
        self._forbidden = _forbidden_beginnings(layout.root)

    def find(self, path: str) -> tuple[Path, tuple[str, ...]]:
        """Split a path into the real allowed directory that it is strictly below and the names from there on.

        Raises `NodeFailure` (not_allowed).
        """
        wanted = self._here(path)
        for base in self._bases(path):
            if wanted != base and wanted.is_relative_to(base):
                return self._real(base), wanted.relative_to(base).parts
        raise _not_acceptable(path, self._remedy())

    def check(self, directory: str) -> Path:
        """Check that disks may live in a directory: listed or below one listed, existing, writable; gives where it is.

        Raises `NodeFailure` (not_allowed, not_found).
        """
        wanted = self._here(directory)
        if not any(wanted.is_relative_to(base) for base in self._bases(directory)):
            raise _not_acceptable(directory, self._remedy())
        real = self._real(wanted)
        if not real.exists():
            raise NodeFailure(
                "not_found", f"Directory '{directory}' does not exist", hint="make it, or mount it, with mode 0750"
            )
        if not real.is_dir():
            raise NodeFailure(NOT_ALLOWED, f"'{directory}' is not a directory")
        if not os.access(real, os.W_OK | os.X_OK):
            raise NodeFailure(NOT_ALLOWED, f"Directory '{directory}' is not writable")
        if not any(real.is_relative_to(self._real(base)) for base in self._bases(directory)):
            raise _not_acceptable(directory, "it leads out of the allowed directories by a symbolic link")
        return real

    def _here(self, path: str) -> Path:
        """Give where a path is: what nodes have for themselves lies below the node's root, what they share does not."""
        wanted = _absolute(path)
        return wanted if self._template == SHARED else self._layout.here(str(wanted))

    def listed_but_forbidden(self) -> list[str]:
        """Give the lines of the administrator's list that cannot be used."""
        lines = self._listed()
        return [] if lines is None else [line for line in lines if not self._usable(line)]

    def _usable(self, line: str) -> bool:
        """Say whether disks could live below this line of the list."""
        try:
            self._refuse_forbidden(self._here(line))
        except NodeFailure:
            return False
        return True

    def _bases(self, path: str) -> list[Path]:
        """Give the allowed directories; refuse a path below a forbidden one, and a list that allows nothing."""
        self._refuse_forbidden(self._here(path))
        lines = self._listed()
        if lines is None:
            return [self._here(self._cluster_directory())]
        bases = [self._here(line) for line in lines if self._usable(line)]
        if not bases:
            raise NodeFailure(
                NOT_ALLOWED,
                f"No paths are valid or path file '{self._layout.file_storage_paths}' was not accessible.",
                hint="write one directory in each line of that file, on every node",
            )
        return bases

    def _refuse_forbidden(self, path: Path) -> None:
        """Refuse a path that is one of the forbidden directories, or below one."""
        if f"{path}/".startswith(self._forbidden):
            raise NodeFailure(NOT_ALLOWED, f"Path '{path}' uses a forbidden prefix")

    def _real(self, directory: Path) -> Path:
        """Follow the symbolic links that the administrator made, but not to a forbidden place."""
        real = Path(os.path.realpath(directory)) if self._layout.FOLLOWS_LINKS else directory
        self._refuse_forbidden(real)
        return real

    def _listed(self) -> list[str] | None:
        """Read the administrator's list; None where there is no such file."""
        try:
            text = self._layout.file_storage_paths.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return []
        lines = (line.strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    def _cluster_directory(self) -> str:
        """Give the cluster's directory for this template, as this node knows it."""
        try:
            told = self._layout.ssconf(_SSCONF[self._template]).read_text().strip()
        except FileNotFoundError:
            told = ""
        if told:
            return told
        built_in = {
            "file": self._layout.default_file_storage(),
            "qcow2": self._layout.default_file_storage(),
            "sharedfile": self._layout.default_shared_file_storage(),
        }
        return str(built_in[self._template])

    def _remedy(self) -> str:
        """Say where the rule that refused a path stands."""
        if self._listed() is None:
            return f"disks of this template live below {self._cluster_directory()}"
        return f"allowed directories are listed in {self._layout.file_storage_paths}"


def _absolute(path: str) -> Path:
    """Take a path as it stands: absolute, and without steps back up."""
    if not path.startswith("/"):
        raise NodeFailure(NOT_ALLOWED, f"File storage path must be absolute, got '{path}'")
    if "\0" in path or ".." in path.split("/"):
        raise NodeFailure(NOT_ALLOWED, f"Path {path!r} is not acceptable for file storage", hint="no '..' in it")
    # Two leading slashes mean something else to POSIX, and pathlib keeps them.
    return Path("/" + path.lstrip("/"))


def _not_acceptable(path: str, hint: str) -> NodeFailure:
    return NodeFailure(NOT_ALLOWED, f"Path '{path}' is not acceptable for file storage", hint=hint)
